package otp_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

// Without keys, the calls that need them return an UnavailableError, and the store is
// not called.
func TestEngineWithoutKeys(t *testing.T) {
	e := otp.NewEngine(otp.Config{Ring: new(session.Ring)}) // no store: a call to it panics
	defer e.Close(t.Context())
	ctx, p := context.Background(), &otp.Policy{Length: 6, TTL: time.Minute, Attempts: 5}
	for name, call := range map[string]func() error{
		"Issue": func() error { _, err := e.Issue(ctx, p, otp.Sending{Number: "+6421234567"}, otp.ID{}); return err },
		"Resend": func() error {
			_, err := e.Resend(ctx, p, otp.Sending{Number: "+6421234567"}, session.NewID())
			return err
		},
		"Verify": func() error {
			_, err := e.Verify(ctx, p, otp.Verification{ID: session.NewID(), Code: "123456"})
			return err
		},
		"Unlock":      func() error { _, err := e.Unlock(ctx, "", "+6421234567"); return err },
		"NewRecovery": func() error { _, _, err := e.NewRecovery(ctx, "", "x"); return err },
		"Recover": func() error {
			return e.Recover(ctx, "", "", "0000-0000-0000-0", func(string) bool { return true })
		},
		"Of":          func() error { _, err := e.Of(ctx, "", "+6421234567"); return err },
		"Sent":        func() error { _, err := e.Sent(ctx, p, "+6421234567"); return err },
		"Spent":       func() error { _, err := e.Spent(ctx, p); return err },
		"ClearBudget": func() error { _, err := e.ClearBudget(ctx, "", nil); return err },
		"First":       func() error { _, err := e.First(ctx, time.Minute, "x"); return err },
		"Begin":       func() error { _, err := e.Begin(ctx, time.Minute, "x"); return err },
	} {
		var down *otp.UnavailableError
		if err := call(); !errors.As(err, &down) || down.Reason != "the keys are not known yet" || down.RetryAfter != otp.UnreadyRetry {
			t.Errorf("%s: %v", name, err)
		}
	}
}
