package otp_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

// told is one call of a Sending's Done.
type told struct {
	id        otp.ID
	messageID string
	err       error
}

func TestEngineDone(t *testing.T) {
	refused := &connexus.Error{Kind: connexus.KindFunds}
	for _, c := range []struct {
		name   string
		err    error
		status otp.Status
	}{
		{"sent", nil, otp.Accepted},
		{"refused", refused, otp.Failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			withEngine(t, nil, func(e *engineBench) {
				e.outbox.reply = func(context.Context, connexus.OTP) (connexus.Receipt, error) {
					return connexus.Receipt{MessageID: "MSG7"}, c.err
				}
				var calls []told
				done := func(id otp.ID, messageID string, err error) {
					calls = append(calls, told{id, messageID, err})
					if got := e.get(id).Status; got != c.status { // the status is set before Done is called
						t.Errorf("%v when Done is told, want %v", got, c.status)
					}
				}
				challenge := e.issue(otp.Sending{Done: done})
				e.resend(challenge.ID, otp.Sending{Done: done})
				if len(calls) != 2 {
					t.Fatalf("Done was told %d times of two sendings", len(calls))
				}
				for _, call := range calls {
					if call.id != challenge.ID || call.messageID != "MSG7" || !errors.Is(call.err, c.err) || (call.err == nil) != (c.err == nil) {
						t.Errorf("Done was told %+v", call)
					}
				}
			})
		})
	}
}

// TestEngineReturn: a sending is given back only if WebSMS certainly sent nothing, and
// only on a gate that is not restricted. On a restricted gate it would tell which numbers
// are listed.
func TestEngineReturn(t *testing.T) {
	for _, c := range []struct {
		name       string
		err        error
		restricted bool
		back       bool
	}{
		{"sent", nil, false, false},
		{"refused", &connexus.Error{Kind: connexus.KindFunds}, false, true},
		{"refused, wrapped", fmt.Errorf("sending: %w", &connexus.Error{Kind: connexus.KindThrottled}), false, true},
		{"perhaps sent", &connexus.Error{Kind: connexus.KindTimeout, MaybeAccepted: true}, false, false},
		{"refused, restricted", &connexus.Error{Kind: connexus.KindFunds}, true, false},
		{"another error", errors.New("something else"), false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			withEngine(t, nil, func(e *engineBench) {
				e.policy.PerNumber = []otp.Rate{{Count: 2, Window: time.Hour}}
				e.policy.Budget = []otp.Rate{{Count: 2, Window: time.Hour}}
				e.outbox.reply = func(context.Context, connexus.OTP) (connexus.Receipt, error) {
					time.Sleep(time.Second)
					return connexus.Receipt{}, c.err
				}
				s := otp.Sending{Number: someNumber, Restricted: c.restricted}
				challenge := e.issue(s)
				time.Sleep(2 * time.Second)
				e.resend(challenge.ID, s)
				time.Sleep(2 * time.Second)
				if got := e.get(challenge.ID).Status; (got == otp.Failed) != (c.err != nil) {
					t.Errorf("%v after %v", got, c.err)
				}
				for _, number := range []string{someNumber, "+6421999999"} { // the second number counts for the budget alone
					for i := range 2 {
						_, err := e.Issue(context.Background(), &e.policy, otp.Sending{Number: number, Unlisted: true}, otp.ID{})
						if want := c.back && number == someNumber; (err == nil) != want {
							t.Errorf("sending %d to %s: %v, want it allowed: %v", i+3, number, err, want)
						}
					}
				}
				var want error // the message may have arrived all the same
				if strings.HasPrefix(c.name, "refused") {
					want = otp.ErrWrongCode
				}
				e.verify(challenge.ID, e.lastCode(), want)
			})
		})
	}
}

// TestEngineUnlisted: a challenge of an unlisted number is answered, counted and settled
// as any other. No code is right for it.
func TestEngineUnlisted(t *testing.T) {
	for _, remote := range []bool{false, true} {
		withEngine(t, nil, func(e *engineBench) {
			e.policy.Remote = remote
			e.policy.Attempts = 10
			e.policy.PerNumber = []otp.Rate{{Count: 2, Window: time.Hour}}
			done := func(otp.ID, string, error) { t.Error("Done was called for an unlisted number") }
			unlisted := otp.Sending{Number: someNumber, Unlisted: true, Done: done}
			began := time.Now()
			challenge := e.issue(unlisted)
			want := otp.Challenge{
				ID: challenge.ID, Status: otp.Queued, CodeLength: 6, AttemptsLeft: 10,
				ExpiresAt: began.Add(5 * time.Minute), ResendAt: began.Add(30 * time.Second),
			}
			if challenge != want || e.get(challenge.ID) != want {
				t.Errorf("an unlisted number is %+v, want %+v", challenge, want)
			}
			changed, stop := e.Watch(challenge.ID)
			<-changed
			stop()
			if took := time.Since(began); took < 100*time.Millisecond || took > time.Second {
				t.Errorf("accepted after %v, which no network does", took)
			}
			want.Status, want.Settled = otp.Accepted, true
			if got := e.get(challenge.ID); got != want {
				t.Errorf("an unlisted number is settled as %+v, want %+v", got, want)
			}
			if !remote {
				rec, err := e.store.Get(context.Background(), "", challenge.ID, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				e.verify(challenge.ID, e.opened(rec), otp.ErrWrongCode)
			}
			e.verify(challenge.ID, "000000", otp.ErrWrongCode)
			e.resend(challenge.ID, unlisted)
			if got := e.get(challenge.ID).Status; got != otp.Queued {
				t.Errorf("an unlisted number, resent, is %v, want %v", got, otp.Queued)
			}
			time.Sleep(time.Second)
			if got := e.get(challenge.ID).Status; got != otp.Accepted {
				t.Errorf("an unlisted number, resent, is %v, want %v", got, otp.Accepted)
			}
			if _, err := e.Issue(context.Background(), &e.policy, unlisted, otp.ID{}); !errors.As(err, new(*otp.LimitError)) {
				t.Errorf("the third sending to an unlisted number, of 2 an hour: %v", err)
			}
			if sent := e.outbox.all(); len(sent) != 0 {
				t.Errorf("%d messages sent, want none", len(sent))
			}
		})
	}
}

// opened returns the code that is sealed in a record.
func (e *engineBench) opened(rec otp.Record) string {
	e.t.Helper()
	code, err := e.ring.Open(session.ForCode, string(rec.ID[:]), string(rec.Sealed))
	if err != nil {
		e.t.Fatalf("opening the code: %v", err)
	}
	return string(code)
}

// TestEngineVeil: on a restricted gate, the time until a challenge is accepted tells
// neither whether a code was sent nor how WebSMS answered: at once, late, never or with a
// refusal.
func TestEngineVeil(t *testing.T) {
	withEngine(t, nil, func(e *engineBench) {
		accepted := func(s otp.Sending) time.Duration {
			t.Helper()
			challenge, began := e.issue(s), time.Now()
			for {
				changed, stop := e.Watch(challenge.ID)
				if e.get(challenge.ID).Status != otp.Queued { // a restricted gate does not show later states
					stop()
					return time.Since(began)
				}
				<-changed
				stop()
			}
		}
		for _, takes := range []time.Duration{0, 100 * time.Millisecond, 9 * time.Second} {
			for _, fails := range []error{nil, &connexus.Error{}, errors.New("lost")} {
				e.outbox.reply = func(context.Context, connexus.OTP) (connexus.Receipt, error) {
					time.Sleep(takes)
					return connexus.Receipt{}, fails
				}
				for _, s := range []otp.Sending{{Restricted: true}, {Restricted: true, Unlisted: true}} {
					var most, least time.Duration = 0, time.Hour
					for range 40 {
						took := accepted(s)
						most, least = max(most, took), min(least, took)
						time.Sleep(20 * time.Second)
					}
					if least < 205*time.Millisecond || least > 280*time.Millisecond || most > 525*time.Millisecond || most < 450*time.Millisecond {
						t.Errorf("where a sending takes %s and fails with %v, unlisted %t: accepted after %s to %s", takes, fails, s.Unlisted, least, most)
					}
				}
			}
		}
	})
}

// TestEngineSettled: a report of an older sending does not settle the latest one. A
// restricted gate shows only whether the latest sending is settled.
func TestEngineSettled(t *testing.T) {
	withEngine(t, nil, func(e *engineBench) {
		s := otp.Sending{Restricted: true}
		challenge := e.issue(s)
		time.Sleep(time.Second)
		if !e.get(challenge.ID).Settled {
			t.Error("not settled after a second")
		}
		e.resend(challenge.ID, s)
		if _, moved, err := e.Report(context.Background(), "MSG1", connexus.StateDelivered); err != nil || !moved {
			t.Errorf("the report: moved %t, %v", moved, err)
		}
		if e.get(challenge.ID).Settled {
			t.Error("settled by the report of an older sending")
		}
	})
}

// inFlight is how many sendings may be under way at once.
const inFlight = 512

// TestEngineInFlight: with inFlight sendings under way, the engine refuses another one and
// counts nothing for it. Verification still works.
func TestEngineInFlight(t *testing.T) {
	withEngine(t, nil, func(e *engineBench) {
		e.policy.Budget = []otp.Rate{{Count: inFlight + 2, Window: time.Hour}}
		answer := make(chan struct{})
		e.outbox.reply = func(context.Context, connexus.OTP) (connexus.Receipt, error) {
			<-answer
			return connexus.Receipt{}, nil
		}
		first := e.issue(otp.Sending{})
		code := e.lastCode()
		for range inFlight - 1 {
			e.issue(otp.Sending{})
		}
		time.Sleep(30 * time.Second)
		for range 10 {
			for _, unlisted := range []bool{false, true} {
				s := otp.Sending{Number: someNumber, Unlisted: unlisted}
				_, issue := e.Issue(context.Background(), &e.policy, s, first.ID)
				_, resend := e.Resend(context.Background(), &e.policy, s, first.ID)
				for _, err := range []error{issue, resend} {
					var unavailable *otp.UnavailableError
					if !errors.As(err, &unavailable) || unavailable.RetryAfter <= 0 {
						t.Fatalf("one more than %d in flight: %v", inFlight, err)
					}
				}
			}
		}
		if sent := len(e.outbox.all()); sent != inFlight {
			t.Errorf("%d sent, want %d", sent, inFlight)
		}
		if rec, err := e.store.Get(context.Background(), "", first.ID, time.Now()); err != nil || rec.Sending != 1 {
			t.Errorf("sending %d, %v; want the first still", rec.Sending, err)
		}
		e.verify(first.ID, code, nil)

		answer <- struct{}{}
		synctest.Wait()
		e.issue(otp.Sending{}) // takes the free place
		_, err := e.Issue(context.Background(), &e.policy, otp.Sending{Number: someNumber}, otp.ID{})
		if !errors.As(err, new(*otp.UnavailableError)) {
			t.Errorf("one more than %d in flight: %v", inFlight, err)
		}
		close(answer)
		synctest.Wait()
		e.issue(otp.Sending{}) // the last one in the budget, because refused sendings took none of it
		if _, err := e.Issue(context.Background(), &e.policy, otp.Sending{Number: someNumber}, otp.ID{}); !errors.As(err, new(*otp.LimitError)) {
			t.Errorf("over the budget: %v", err)
		}
	})
}

// TestEngineClose: Close waits for sendings in flight, refuses new ones, and cancels those
// that take too long.
func TestEngineClose(t *testing.T) {
	for _, c := range []struct {
		name   string
		takes  time.Duration
		closed time.Duration
		status otp.Status
	}{
		{"in time", 2 * time.Second, 2 * time.Second, otp.Accepted},
		{"too long", time.Hour, 5 * time.Second, otp.Failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			withEngine(t, nil, func(e *engineBench) {
				e.outbox.reply = func(ctx context.Context, _ connexus.OTP) (connexus.Receipt, error) {
					select {
					case <-time.After(c.takes):
						return connexus.Receipt{}, nil
					case <-ctx.Done():
						return connexus.Receipt{}, &connexus.Error{Kind: connexus.KindCanceled, MaybeAccepted: true, Err: ctx.Err()}
					}
				}
				dones := 0
				challenge := e.issue(otp.Sending{Done: func(_ otp.ID, _ string, err error) {
					dones++
					if (err != nil) != (c.status == otp.Failed) {
						t.Errorf("Done was told %v", err)
					}
				}})
				began := time.Now()
				patience, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				defer cancel()
				closed := make(chan struct{})
				go func() {
					e.Close(patience)
					close(closed)
				}()
				synctest.Wait()
				for range 2 { // once while it closes, and once when it is closed
					_, issue := e.Issue(context.Background(), &e.policy, otp.Sending{Number: someNumber}, otp.ID{})
					_, resend := e.Resend(context.Background(), &e.policy, otp.Sending{Number: someNumber}, challenge.ID)
					for _, err := range []error{issue, resend} {
						var unavailable *otp.UnavailableError
						if !errors.As(err, &unavailable) || !strings.Contains(err.Error(), "shutting down") {
							t.Errorf("a sending after Close began: %v", err)
						}
					}
					<-closed
				}
				if took := time.Since(began); took != c.closed {
					t.Errorf("Close took %v, want %v", took, c.closed)
				}
				if got := e.get(challenge.ID).Status; got != c.status || dones != 1 {
					t.Errorf("%v when Close returns, Done told %d times; want %v and once", got, dones, c.status)
				}
				if sent := len(e.outbox.all()); sent != 1 {
					t.Errorf("%d sent, want 1", sent)
				}
			})
		})
	}
}

// TestEngineCloseUnlisted: Close does not wait for sendings to unlisted numbers, which are
// only pretended.
func TestEngineCloseUnlisted(t *testing.T) {
	withEngine(t, nil, func(e *engineBench) {
		challenge := e.issue(otp.Sending{Unlisted: true})
		over, cancel := context.WithCancel(context.Background())
		cancel()
		began := time.Now()
		e.Close(over)
		if took := time.Since(began); took != 0 {
			t.Errorf("Close took %v", took)
		}
		if got := e.get(challenge.ID).Status; got != otp.Accepted {
			t.Errorf("%v, want %v", got, otp.Accepted)
		}
	})
}
