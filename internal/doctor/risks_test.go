package doctor

import (
	"slices"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/internal/risk"
	"github.com/caddy-websms/websms/internal/routes"
)

const openAdmin = "listens for other machines too: anybody who reaches it can read and change everything"

// The admin endpoint is a risk where other machines reach it.
func TestAdminRisks(t *testing.T) {
	for listen, risks := range map[string]int{
		"": 0, "localhost:2019": 0, "127.0.0.1:2019": 0, "[::1]:2019": 0, "unix//run/caddy/admin.sock": 0,
		":2019": 1, "0.0.0.0:2019": 1, "10.0.0.1:2019": 1,
	} {
		list := adminRisks(&caddy.AdminConfig{Listen: listen})
		if len(list) != risks || risks == 1 && list[0].Text != openAdmin {
			t.Errorf("%q: %v; want %d", listen, list, risks)
		}
		if list := adminRisks(&caddy.AdminConfig{Disabled: true, Listen: listen}); list != nil {
			t.Errorf("%q, disabled: %v", listen, list)
		}
	}
}

// Each risk is a finding that names its part of the configuration.
func TestRisksAreNamed(t *testing.T) {
	say := func(texts ...string) func() []risk.Risk {
		return func() (list []risk.Risk) {
			for _, text := range texts {
				list = append(list, risk.Risk{Text: text, Do: "mend " + text})
			}
			return list
		}
	}
	config := Config{Account: Account{Risks: say()}, Store: Store{Risks: say()}, Gates: []Gate{{Risks: say()}}}
	file := &configFile{Config: &config}
	if found := file.risks(); !slices.Equal(found, []finding{{"risks", stateOK, "none found", ""}}) {
		t.Errorf("without a risk: %q", found)
	}
	config = Config{
		Account: Account{Risks: say("a", "b")}, Store: Store{Risks: say("c")}, Admin: caddy.AdminConfig{Listen: ":2019"},
		Webhooks: []Webhook{{Risks: say("d")}}, Gates: []Gate{{At: routes.Place{Hosts: []string{"one.example"}}, Risks: say("e")}},
	}
	want := []finding{
		{"account", stateRisk, "a", "mend a"}, {"account", stateRisk, "b", "mend b"}, {"store", stateRisk, "c", "mend c"},
		{"admin endpoint", stateRisk, openAdmin, "listen on localhost, or on a Unix socket"},
		{"webhook", stateRisk, "d", "mend d"}, {"gate", stateRisk, "e", "mend e"},
	}
	if found := file.risks(); !slices.Equal(found, want) {
		t.Errorf("%q; want %q", found, want)
	}
	config.Gates = append(config.Gates, Gate{Risks: say("f")})
	if found := file.risks(); len(found) != 7 || found[5].Check != "gate of one.example" || found[6].Check != "gate" {
		t.Errorf("of two gates: %q", found)
	}
}
