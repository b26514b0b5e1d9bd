package websms_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/operator"
	"github.com/caddy-websms/websms/websmstest"
)

// The balance is in the status and in a metric. It is absent while WebSMS does not tell
// it, and that hides no error of a send.
func TestAccountBalance(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	w.Sim.SetWebhook("", "")
	admin := harness.StartAdmin(w, harness.Plenty)
	gauge := func() string {
		t.Helper()
		a := (&harness.World{T: t, URL: admin}).Browser().Get("/metrics")
		if a.StatusCode != http.StatusOK {
			t.Fatalf("metrics: %s", a.Status)
		}
		for line := range strings.Lines(a.Text) {
			if strings.HasPrefix(line, "caddy_websms_account_balance") {
				return strings.TrimSpace(line)
			}
		}
		return ""
	}
	w.Sim.NextBalance(websmstest.Fault{Status: 404, Body: `{"error":"not_found"}`})
	if got := gauge(); got != "" {
		t.Errorf("of an unknown balance: %s", got)
	}
	if s := adminStatus(t, admin)[0]; s.Account != nil || s.LastError != nil {
		t.Errorf("of an unknown balance: %+v, %+v", s.Account, s.LastError)
	}
	w.Sim.SetBalance(20)
	if got := gauge(); got != "" || w.Sim.Counts().Balances != 1 {
		t.Errorf("right after a failure: %q and %d asks", got, w.Sim.Counts().Balances)
	}
	now.Advance(5 * time.Minute)
	if got := gauge(); got != "caddy_websms_account_balance 20" {
		t.Errorf("the balance: %q", got)
	}
	w.Browser().Ask("+6421000001")
	if got := gauge(); got != "caddy_websms_account_balance 20" || w.Sim.Counts().Balances != 2 {
		t.Errorf("after a message: %q and %d asks", got, w.Sim.Counts().Balances)
	}
	now.Advance(5 * time.Second)
	want := operator.AccountStatus{Balance: 19.885, Currency: "NZD", At: now.Now()}
	if got := adminStatus(t, admin)[0].Account; got == nil || *got != want {
		t.Errorf("in the status: %+v", got)
	}
	if got := gauge(); got != "caddy_websms_account_balance 19.885" {
		t.Errorf("after the status: %q", got)
	}
	w.Sim.Next(websmstest.InsufficientFunds200())
	w.Browser().Request("+6421000002")
	harness.Eventually(t, "the error of the send", func() bool {
		now.Advance(5 * time.Second)
		w.Sim.NextBalance(websmstest.ServerError())
		e := adminStatus(t, admin)[0].LastError
		return e != nil && e.Endpoint == "otp"
	})
	w.WantNoSecrets()
}
