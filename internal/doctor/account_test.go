package doctor

import (
	"strings"
	"testing"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/websmstest"
)

// The doctor tells the balance, warns of a low one, and finds no fault where WebSMS does
// not tell it.
func TestBalanceFinding(t *testing.T) {
	sim := websmstest.NewServer(t, websmstest.Options{})
	file := &configFile{Config: &Config{Gates: []Gate{{}}, Account: Account{Resolve: func() (connexus.Config, error) {
		return connexus.Config{BaseURL: sim.URL, ClientID: "cid_demo", ClientSecret: "csk_demo"}, nil
	}}}}
	for name, c := range map[string]struct {
		balance float64
		fault   websmstest.Fault
		sandbox bool
		state   state
		found   string
	}{
		"enough":            {12.34, websmstest.Fault{}, false, stateOK, "12.34 NZD, enough for about 107 messages"},
		"just enough":       {11.5, websmstest.Fault{}, false, stateOK, "11.50 NZD, enough for about 100 messages"},
		"low":               {11.49, websmstest.Fault{}, false, stateRisk, "11.49 NZD, enough for about 99 messages"},
		"none":              {0, websmstest.Fault{}, false, stateRisk, "0.00 NZD, enough for about 0 messages"},
		"low in sandbox":    {1, websmstest.Fault{}, true, stateOK, "1.00 NZD, enough for about 8 messages"},
		"dollars of others": {0, websmstest.Fault{Body: `{"balance":3,"currency":"AUD"}`}, false, stateOK, "3.00 AUD"},
		"no such endpoint":  {0, websmstest.Fault{Status: 404, Body: `{"error":"not_found"}`}, false, stateSkipped, "WebSMS did not tell it"},
		"nonsense":          {0, websmstest.Fault{Body: `{}`}, false, stateSkipped, "WebSMS did not tell it"},
	} {
		sim.SetBalance(c.balance)
		sim.NextBalance(c.fault)
		file.Account.Sandbox = c.sandbox
		var told []finding
		for _, f := range file.checkAccount(t.Context()) {
			if f.State == stateFailed {
				t.Errorf("%s: %v", name, f)
			}
			if f.Check == "balance" {
				told = append(told, f)
			}
		}
		if len(told) != 1 || told[0].State != c.state || !strings.Contains(told[0].Found, c.found) ||
			(c.state == stateRisk) != strings.Contains(told[0].Do, "top the account up") {
			t.Errorf("%s: %q", name, told)
		}
	}
	sim.NextToken(websmstest.ServerError())
	for _, f := range file.checkAccount(t.Context()) {
		if f.Check == "balance" {
			t.Errorf("without a token: %v", f)
		}
	}
}
