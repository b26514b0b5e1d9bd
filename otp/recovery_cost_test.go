package otp_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

// refusingStore refuses every try. Any other call of it panics.
type refusingStore struct {
	otp.Store
	tries []otp.Counter
}

func (s *refusingStore) Try(_ context.Context, _ string, c otp.Counter, _ time.Time) error {
	s.tries = append(s.tries, c)
	return &otp.LimitError{Limit: c.Limit, RetryAfter: time.Minute}
}

// A refused recovery calls the store once, with ten tries in ten minutes.
func TestRefusedRecoveryAsksOnce(t *testing.T) {
	ring, err := session.NewRing(session.NewKeys(time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	store := new(refusingStore)
	e := otp.NewEngine(otp.Config{Store: store, Ring: ring})
	defer e.Close(t.Context())
	for _, code := range []string{"0000-0000-0000-0", "", "1234-5678-9ABC-D"} {
		err := e.Recover(t.Context(), "staff", "192.0.2.1", code, func(string) bool { return true })
		var limit *otp.LimitError
		if !errors.As(err, &limit) || limit.Limit != "recovery_tries" {
			t.Errorf("%q: %v", code, err)
		}
	}
	_ = e.Recover(t.Context(), "guests", "192.0.2.1", "", nil)
	_ = e.Recover(t.Context(), "staff", "192.0.2.2", "", nil)
	keys := make(map[otp.Digest]int)
	for _, c := range store.tries {
		keys[c.Key]++
		if len(c.Rates) != 1 || c.Rates[0] != (otp.Rate{Count: 10, Window: 10 * time.Minute}) {
			t.Errorf("the rates are %v", c.Rates)
		}
	}
	if len(store.tries) != 5 || len(keys) != 3 {
		t.Errorf("%d calls for %d addresses and realms, want 5 for 3", len(store.tries), len(keys))
	}
}
