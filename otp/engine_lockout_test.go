package otp_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-websms/websms/otp"
)

// limited checks that err is a refusal by this limit, with this wait.
func (e *engineBench) limited(err error, limit string, wait time.Duration) {
	e.t.Helper()
	var refusal *otp.LimitError
	if !errors.As(err, &refusal) || refusal.Limit != limit || refusal.RetryAfter != wait {
		e.t.Fatalf("%v, want limit %q and %v", err, limit, wait)
	}
}

// guess gives a wrong code for a challenge that is sent now.
func (e *engineBench) guess(device string) error {
	e.t.Helper()
	challenge := e.issue(otp.Sending{Device: device})
	_, err := e.Verify(context.Background(), &e.policy, otp.Verification{
		ID: challenge.ID, Code: otherCode(e.lastCode()), Number: someNumber, Device: device,
	})
	if !errors.Is(err, otp.ErrWrongCode) {
		e.t.Fatalf("a wrong code: %v", err)
	}
	return err
}

// TestEngineLockout: a lockout holds for all challenges of a number, until its time is
// over or an operator ends it. It does not hold for the owner's device, nor in another
// scope.
func TestEngineLockout(t *testing.T) {
	var years atomic.Int64 // how many have passed
	clock := func(c *otp.Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(years.Load()) * otp.FailuresLife) }
	}
	withEngine(t, clock, func(e *engineBench) {
		ctx := context.Background()
		const span = 15 * time.Minute
		e.policy.Lockout = otp.Lockout{Count: 3, For: span, Max: 6}
		e.policy.Cooldown = time.Second
		elsewhere := e.policy
		elsewhere.Scope = "elsewhere.example.com"
		refused := func(limit string, wait time.Duration) {
			t.Helper()
			owned := e.issue(otp.Sending{Device: "laptop"})
			time.Sleep(time.Second) // the cooldown
			sent := len(e.outbox.all())
			_, err := e.Issue(ctx, &e.policy, otp.Sending{Number: someNumber}, otp.ID{})
			e.limited(err, limit, wait)
			_, err = e.Resend(ctx, &e.policy, otp.Sending{Number: someNumber}, owned.ID)
			e.limited(err, limit, wait)
			for _, code := range []string{e.lastCode(), otherCode(e.lastCode())} {
				_, err = e.Verify(ctx, &e.policy, otp.Verification{ID: owned.ID, Code: code, Number: someNumber})
				if e.limited(err, limit, wait); errors.Is(err, otp.ErrWrongCode) {
					t.Errorf("locked, and still compared: %v", err)
				}
			}
			if _, err := e.Issue(ctx, &elsewhere, otp.Sending{Number: someNumber, Unlisted: true}, otp.ID{}); err != nil {
				t.Errorf("another scope: %v", err)
			}
			synctest.Wait()
			if more := len(e.outbox.all()) - sent; more != 0 {
				t.Errorf("%d messages sent to a number that is locked", more)
			}
			answer := otp.Verification{ID: owned.ID, Code: e.lastCode(), Number: someNumber, Device: "laptop"}
			if left, err := e.Verify(ctx, &e.policy, answer); err != nil || left.AttemptsLeft != 4 {
				t.Errorf("the owner's device: %v, %d attempts left", err, left.AttemptsLeft)
			}
		}
		twoThen := func(limit string, wait time.Duration) {
			t.Helper()
			for range 2 {
				if err := e.guess(""); errors.As(err, new(*otp.LimitError)) {
					t.Fatalf("it locks too soon: %v", err)
				}
			}
			e.limited(e.guess(""), limit, wait)
		}

		twoThen("lockout", span)
		refused("lockout", span-time.Second)
		time.Sleep(span - time.Second - time.Microsecond)
		_, err := e.Issue(ctx, &e.policy, otp.Sending{Number: someNumber}, otp.ID{})
		e.limited(err, "lockout", time.Microsecond)
		time.Sleep(time.Microsecond)
		twoThen("max_failures", 0)
		for range 3 {
			refused("max_failures", 0)
			years.Add(1)
		}
		for _, c := range []struct {
			scope, number string
			had           bool
		}{
			{elsewhere.Scope, someNumber, false},
			{e.policy.Scope, "+6421999999", false},
			{e.policy.Scope, someNumber, true},
			{e.policy.Scope, someNumber, false},
		} {
			if had, err := e.Unlock(ctx, c.scope, c.number); had != c.had || err != nil {
				t.Errorf("Unlock %s at %s: %v, %v; want %v", c.number, c.scope, had, err, c.had)
			}
		}
		e.verify(e.issue(otp.Sending{}).ID, e.lastCode(), nil)
		twoThen("lockout", span)
	})
}

// failuresStore keeps the failures that the engine names in its calls.
type failuresStore struct {
	otp.Store
	reserved, resent, answered, waited []otp.Failures
	unlocked                           []otp.Digest
}

func (s *failuresStore) Reserve(ctx context.Context, r *otp.Reservation) error {
	s.reserved = append(s.reserved, r.Failures)
	return s.Store.Reserve(ctx, r)
}

func (s *failuresStore) Resend(ctx context.Context, id otp.ID, r *otp.Renewal) (otp.Record, error) {
	s.resent = append(s.resent, r.Failures)
	return s.Store.Resend(ctx, id, r)
}

func (s *failuresStore) Attempt(ctx context.Context, id otp.ID, a *otp.Answer) (otp.Record, error) {
	s.answered = append(s.answered, a.Failures)
	return s.Store.Attempt(ctx, id, a)
}

func (s *failuresStore) Wait(ctx context.Context, r *otp.Renewal) (time.Duration, error) {
	s.waited = append(s.waited, r.Failures)
	return s.Store.Wait(ctx, r)
}

func (s *failuresStore) Unlock(ctx context.Context, scope string, number otp.Digest) (bool, error) {
	s.unlocked = append(s.unlocked, number)
	return s.Store.Unlock(ctx, scope, number)
}

// TestEngineFailures: all steps name the failures of a number and a device in the same
// way. The name differs for any other number, device or scope.
func TestEngineFailures(t *testing.T) {
	spy := new(failuresStore)
	withEngine(t, func(c *otp.Config) { spy.Store, c.Store = c.Store, spy }, func(e *engineBench) {
		ctx := context.Background()
		e.policy.Lockout = otp.Lockout{Count: 7, For: time.Minute, Max: 70}
		numbers := make(map[otp.Digest]string)
		devices := make(map[otp.Digest]string)
		for _, scope := range []string{"a", "ab"} {
			for _, number := range []string{"+6421234567", "+6421234568", "b+6421234567"} {
				for _, device := range []string{"", "d", "e"} {
					p := e.policy
					p.Scope = scope
					*spy = failuresStore{Store: spy.Store}
					s := otp.Sending{Number: number, Device: device}
					challenge, err := e.Issue(ctx, &p, s, otp.ID{})
					if err != nil {
						t.Fatal(err)
					}
					_, _ = e.Resend(ctx, &p, s, challenge.ID)
					_, _ = e.Verify(ctx, &p, otp.Verification{ID: challenge.ID, Code: "000000", Number: number, Device: device})
					_, _ = e.Wait(ctx, &p, s)
					_, _ = e.Unlock(ctx, scope, number)
					synctest.Wait()
					f := spy.reserved[0]
					same := []otp.Failures{f}
					if !slices.Equal(spy.reserved, same) || !slices.Equal(spy.resent, same) || !slices.Equal(spy.answered, same) ||
						!slices.Equal(spy.waited, same) ||
						!slices.Equal(spy.unlocked, []otp.Digest{f.Number}) {
						t.Errorf("%s, %s, %q: its steps name different failures", scope, number, device)
					}
					if f.Lockout != p.Lockout {
						t.Errorf("lockout %v, want %v", f.Lockout, p.Lockout)
					}
					if (f.Device == otp.Digest{}) != (device == "") || f.Number == (otp.Digest{}) || f.Device == f.Number {
						t.Errorf("%s, %s, %q: number %x, device %x", scope, number, device, f.Number[:4], f.Device[:4])
					}
					whose := fmt.Sprint(scope, " ", number)
					if was, known := numbers[f.Number]; known != (device != "") || known && was != whose {
						t.Errorf("%s and %s: the same failures", was, whose)
					}
					numbers[f.Number] = whose
					if was, known := devices[f.Device]; known && device != "" {
						t.Errorf("%s and %s %s: the same failures", was, whose, device)
					}
					devices[f.Device] = whose + " " + device
				}
			}
		}
	})
}
