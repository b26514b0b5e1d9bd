package websms_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/operator"
	"github.com/caddy-websms/websms/websmstest"
)

// adminStatus returns the status that the admin endpoint reports.
func adminStatus(t *testing.T, admin string) (engines []operator.EngineStatus) {
	t.Helper()
	a := (&harness.World{T: t, URL: admin}).Browser().Get("/websms/status")
	var status struct{ Engines []operator.EngineStatus }
	if err := json.Unmarshal([]byte(a.Text), &status); err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("/websms/status: %s %s", a.Status, a.Text)
	}
	return status.Engines
}

// The status has the facts that an operator needs in an outage.
func TestAdminStatus(t *testing.T) {
	now := harness.UseClock(t)
	const gate = "realm staff\nlimits {\n per_number 100/1h\n budget 50/1h 500/24h\n cooldown 0s\n}"
	w := harness.Start(t, harness.Setup{Gate: gate, App: "timeout 1s\nstore memory {\n capacity 1000\n}"})
	w.Sim.SetWebhook("", "")
	admin := harness.StartAdmin(w, gate)
	first := adminStatus(t, admin)[0]
	if first.Token != nil || first.LastError != nil || first.Challenges != 0 || first.Capacity != 1000 || !first.KeysReady ||
		first.Store != (operator.StoreStatus{Kind: "memory", Up: true}) || first.BaseURL != w.Sim.URL || first.Sandbox {
		t.Errorf("at first: %+v", first)
	}
	b := w.Browser()
	b.Ask("+6421000001")
	w.Browser().Ask("+6421000002")
	harness.Eventually(t, "both are sent", func() bool { return adminStatus(t, admin)[0].SendsInFlight == 0 })
	now.Advance(90 * time.Second)
	s := adminStatus(t, admin)[0]
	if s.Token == nil || !s.Token.Held || s.Token.AgeSeconds != 90 || !s.Token.ExpiresAt.After(now.Now()) {
		t.Errorf("the token: %+v", s.Token)
	}
	if s.Challenges != 2 || s.SendsInFlight != 0 || len(s.Gates) != 1 || s.Gates[0].Realm != "staff" || s.Gates[0].Mode != "number" ||
		fmt.Sprint(s.Gates[0].Budget) != fmt.Sprint([]operator.RateStatus{{Rate: "50/1h", Used: 2}, {Rate: "500/24h", Used: 2}}) {
		t.Errorf("after two codes: %+v", s)
	}
	w.Sim.Next(websmstest.InsufficientFunds200())
	w.Browser().Request("+6421000003")
	harness.Eventually(t, "the last error", func() bool { s = adminStatus(t, admin)[0]; return s.LastError != nil })
	if s.LastError.Endpoint != "otp" || !strings.Contains(s.LastError.Message, "funds") || !s.LastError.At.Equal(now.Now()) {
		t.Errorf("the last error: %+v", s.LastError)
	}
	blocked := make(chan struct{})
	w.Sim.Next(websmstest.Fault{Hang: true})
	go func() { defer close(blocked); w.Browser().Request("+6421000004") }()
	harness.Eventually(t, "a sending in flight", func() bool { return adminStatus(t, admin)[0].SendsInFlight == 1 })
	<-blocked
	a := (&harness.World{T: t, URL: admin}).Browser().Post("/websms/status", nil)
	if a.StatusCode != http.StatusMethodNotAllowed || a.Header.Get("Allow") != http.MethodGet {
		t.Errorf("a POST: %s, Allow %q", a.Status, a.Header.Get("Allow"))
	}
}

// An operator lists the challenges of a number. The answer covers one realm only.
func TestAdminChallenges(t *testing.T) {
	for _, realm := range []string{"", "staff"} {
		t.Run("realm "+realm, func(t *testing.T) {
			gate := "code {\n attempts 2\n}\n" + harness.Plenty
			if realm != "" {
				gate += "\nrealm " + realm
			}
			w := harness.Start(t, harness.Setup{Gate: gate})
			w.Sim.SetWebhook("", "")
			admin := harness.StartAdmin(w, gate)
			b := w.Browser()
			code := b.Ask("+6421000001")
			b.AnswerWith(harness.OtherCode(code))
			w.Browser().Ask("+6421000001")
			w.Browser().Ask("+6421000002")
			body := fmt.Sprintf(`{"number":"+6421000001","realm":%q}`, realm)
			var got struct {
				Challenges []operator.ChallengeStatus
				Sends      []operator.RateStatus
			}
			harness.Eventually(t, "both accepted", func() bool {
				a := harness.AdminPost(t, admin, "/websms/challenges", body)
				if err := json.Unmarshal([]byte(a.Text), &got); err != nil || a.StatusCode != http.StatusOK {
					t.Fatalf("challenges: %s %s", a.Status, a.Text)
				}
				return len(got.Challenges) == 2 && got.Challenges[0].Status == "accepted" && got.Challenges[1].Status == "accepted"
			})
			if got.Challenges[0].AttemptsLeft != 2 || got.Challenges[1].AttemptsLeft != 1 || len(got.Challenges[0].ID) != 32 {
				t.Errorf("realm %q: %+v", realm, got.Challenges)
			}
			if fmt.Sprint(got.Sends) != fmt.Sprint([]operator.RateStatus{{Rate: "100000/1h", Used: 2}}) {
				t.Errorf("realm %q: sends %+v", realm, got.Sends)
			}
			for body, status := range map[string]int{
				`{"number":"021 000 001"}`: http.StatusBadRequest, `{"user":"alice"}`: http.StatusBadRequest, `{}`: http.StatusBadRequest,
			} {
				harness.WantStatus(t, body, harness.AdminPost(t, admin, "/websms/challenges", body), status)
			}
			if a := harness.AdminPost(t, admin, "/websms/challenges",
				`{"number":"+6421000001","realm":"another"}`); a.Text != `{"challenges":[],"sends":[]}`+"\n" {
				t.Errorf("realm %q: another has %s", realm, a.Text)
			}
			harness.Restart(w, gate) // pending challenges survive it, with their realm and number
			if a := harness.AdminPost(t, admin, "/websms/challenges", body); strings.Count(a.Text, `"id"`) != 2 {
				t.Errorf("realm %q: after a restart %s", realm, a.Text)
			}
			w.WantNoSecrets()
		})
	}
}
