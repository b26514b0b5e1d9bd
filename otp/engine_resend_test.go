package otp_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

func TestEngineResend(t *testing.T) {
	withEngine(t, nil, func(e *engineBench) {
		challenge := e.issue(otp.Sending{})
		code := e.lastCode()
		e.verify(challenge.ID, otherCode(code), otp.ErrWrongCode)
		for sending := 2; sending <= 4; sending++ {
			resent := e.resend(challenge.ID, otp.Sending{Host: "app.example.com"})
			if resent.Status != otp.Queued || resent.AttemptsLeft != 4 || resent.ID != challenge.ID {
				t.Errorf("sending %d: %+v", sending, resent)
			}
			sent := e.outbox.all()
			want := connexus.OTP{
				To: someNumber, Company: "Example", Comment: "Welcome.", WebOTPDomain: "app.example.com", Code: code,
			}
			if len(sent) != sending || sent[sending-1] != want {
				t.Fatalf("sending %d is %+v, want the same code", sending, sent[len(sent)-1])
			}
			if got := e.get(challenge.ID); got.Status != otp.Accepted || !got.ExpiresAt.After(challenge.ExpiresAt) {
				t.Errorf("sending %d: %+v", sending, got)
			}
		}
		e.verify(challenge.ID, code, nil)
	})
}

// TestEngineResendRefused: nothing is sent if the store refuses, or if the sealed code
// does not open any more.
func TestEngineResendRefused(t *testing.T) {
	withEngine(t, nil, func(e *engineBench) {
		e.policy.PerNumber = []otp.Rate{{Count: 3, Window: time.Hour}}
		s := otp.Sending{Number: someNumber}
		refused := func(id otp.ID, is func(error) bool) {
			t.Helper()
			before := len(e.outbox.all())
			for range 600 { // each of them gives its place back
				if _, err := e.Resend(context.Background(), &e.policy, s, id); !is(err) {
					t.Fatalf("Resend: %v", err)
				}
			}
			synctest.Wait()
			if sent := len(e.outbox.all()); sent != before {
				t.Fatalf("%d messages were sent for all that", sent-before)
			}
		}
		is := func(want error) func(error) bool { return func(err error) bool { return errors.Is(err, want) } }
		limit := func(name string) func(error) bool {
			return func(err error) bool {
				var limit *otp.LimitError
				return errors.As(err, &limit) && limit.Limit == name
			}
		}
		refused(session.NewID(), is(otp.ErrNoChallenge))
		met := e.issue(otp.Sending{})
		refused(met.ID, limit("cooldown"))
		e.verify(met.ID, e.lastCode(), nil)
		refused(met.ID, is(otp.ErrNoChallenge))

		late := e.issue(otp.Sending{})
		e.resend(late.ID, otp.Sending{})
		time.Sleep(time.Minute)
		refused(late.ID, limit("per_number"))
		time.Sleep(4 * time.Minute)
		refused(late.ID, is(otp.ErrExpired))

		e.policy.PerNumber = nil
		dead := e.issue(otp.Sending{})
		for range e.policy.Attempts {
			e.verify(dead.ID, otherCode(e.lastCode()), otp.ErrWrongCode)
		}
		refused(dead.ID, is(otp.ErrTooManyAttempts))

		sealed := e.issue(otp.Sending{})
		if err := e.ring.Replace(session.NewKeys(time.Now())); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		e.policy.Cooldown = 0
		before := len(e.outbox.all())
		if _, err := e.Resend(context.Background(), &e.policy, s, sealed.ID); !errors.As(err, new(*otp.UnavailableError)) {
			t.Errorf("a code whose key is gone: %v", err)
		}
		synctest.Wait()
		if sent := len(e.outbox.all()); sent != before {
			t.Errorf("%d messages were sent with a code that does not open", sent-before)
		}
		e.outbox.reply = func(context.Context, connexus.OTP) (connexus.Receipt, error) {
			time.Sleep(time.Minute)
			return connexus.Receipt{}, nil
		}
		for range inFlight { // the resend has given its place back
			e.issue(otp.Sending{})
		}
	})
}

// TestEngineRemote: the engine reads the code from the reply of WebSMS, and a resend sends
// the same code.
func TestEngineRemote(t *testing.T) {
	for _, theirs := range []string{"048217", "4821", "00000000"} {
		withEngine(t, nil, func(e *engineBench) {
			e.policy.Remote = true
			e.outbox.reply = func(_ context.Context, m connexus.OTP) (connexus.Receipt, error) {
				time.Sleep(time.Second)
				if m.Code != "" {
					return connexus.Receipt{Code: m.Code}, nil
				}
				return connexus.Receipt{MessageID: "MSG1", Code: theirs}, nil
			}
			challenge := e.issue(otp.Sending{})
			if challenge.CodeLength != 6 {
				t.Errorf("a code of %d digits before it is known, want 6", challenge.CodeLength)
			}
			e.verify(challenge.ID, "", otp.ErrIncomplete)
			for range 2 { // there is no code yet
				e.verify(challenge.ID, theirs, otp.ErrWrongCode)
			}
			time.Sleep(2 * time.Second)
			if got := e.get(challenge.ID); got.Status != otp.Accepted || got.CodeLength != len(theirs) {
				t.Errorf("settled: %+v, want %d digits", got, len(theirs))
			}
			e.verify(challenge.ID, otherCode(theirs), otp.ErrWrongCode)
			e.resend(challenge.ID, otp.Sending{})
			time.Sleep(2 * time.Second)
			sent := e.outbox.all()
			if len(sent) != 2 || sent[0].Code != "" || sent[1].Code != theirs {
				t.Errorf("sent %+v, want a message without a code and one with theirs", sent)
			}
			e.verify(challenge.ID, theirs[:3], otp.ErrIncomplete)
			e.verify(challenge.ID, theirs[:2]+" "+theirs[2:], nil)
		})
	}
}

// TestEngineRemoteWithout: after a reply without a code, nothing can be verified. The
// message was sent and counts all the same.
func TestEngineRemoteWithout(t *testing.T) {
	for _, theirs := range []string{"", "123", "123456789", "12345a", "１２３４", "-12345", "12 345"} {
		withEngine(t, nil, func(e *engineBench) {
			e.policy.Remote = true
			e.policy.PerNumber = []otp.Rate{{Count: 1, Window: time.Hour}}
			e.outbox.reply = func(context.Context, connexus.OTP) (connexus.Receipt, error) {
				return connexus.Receipt{MessageID: "MSG1", Code: theirs}, nil
			}
			var calls []told
			challenge := e.issue(otp.Sending{Done: func(id otp.ID, messageID string, err error) {
				calls = append(calls, told{id, messageID, err})
			}})
			if got := e.get(challenge.ID); got.Status != otp.Failed || got.CodeLength != 6 {
				t.Errorf("without a code: %+v", got)
			}
			if len(calls) != 1 || calls[0].err == nil || calls[0].messageID != "MSG1" {
				t.Errorf("Done was told %+v", calls)
			}
			want := otp.ErrWrongCode
			if _, complete := otp.ReadCode(theirs, 6, true); !complete {
				want = otp.ErrIncomplete
			}
			e.verify(challenge.ID, theirs, want)
			_, err := e.Issue(context.Background(), &e.policy, otp.Sending{Number: someNumber}, otp.ID{})
			if !errors.As(err, new(*otp.LimitError)) {
				t.Errorf("the next sending: %v, want the limit: the first was sent", err)
			}
		})
	}
}

// TestEngineRemoteOverlap resends before the first reply. There is no code to send yet, so
// WebSMS makes another one. The reply to the latest sending counts.
func TestEngineRemoteOverlap(t *testing.T) {
	withEngine(t, nil, func(e *engineBench) {
		e.policy.Remote = true
		e.policy.Cooldown = time.Second
		codes := []string{"111111", "222222"}
		e.outbox.reply = func(context.Context, connexus.OTP) (connexus.Receipt, error) {
			code := codes[0]
			codes = codes[1:]
			time.Sleep(5 * time.Second)
			return connexus.Receipt{Code: code}, nil
		}
		challenge := e.issue(otp.Sending{})
		e.resend(challenge.ID, otp.Sending{})
		time.Sleep(10 * time.Second)
		for i, m := range e.outbox.all() {
			if m.Code != "" {
				t.Errorf("message %d holds a code of ours", i+1)
			}
		}
		e.verify(challenge.ID, "111111", otp.ErrWrongCode)
		e.verify(challenge.ID, "222222", nil)
	})
}

// brokenStore fails in the methods that fails names.
type brokenStore struct {
	otp.Store
	fails map[string]bool
}

var errBroken = &otp.UnavailableError{Reason: "the store is down", RetryAfter: time.Second}

func (s *brokenStore) Reserve(ctx context.Context, r *otp.Reservation) error {
	if s.fails["Reserve"] {
		return errBroken
	}
	return s.Store.Reserve(ctx, r)
}

func (s *brokenStore) Resend(ctx context.Context, id otp.ID, r *otp.Renewal) (otp.Record, error) {
	if s.fails["Resend"] {
		return otp.Record{}, errBroken
	}
	return s.Store.Resend(ctx, id, r)
}

func (s *brokenStore) Settle(ctx context.Context, id otp.ID, settled *otp.Settlement) error {
	if s.fails["Settle"] {
		return errBroken
	}
	return s.Store.Settle(ctx, id, settled)
}

func (s *brokenStore) Report(ctx context.Context, messageID string, state connexus.State, now time.Time) (time.Duration, bool, error) {
	if s.fails["Report"] {
		return 0, false, errBroken
	}
	return s.Store.Report(ctx, messageID, state, now)
}

// TestEngineStoreDown: the engine sends nothing that the store has not recorded first.
func TestEngineStoreDown(t *testing.T) {
	broken := &brokenStore{fails: make(map[string]bool)}
	withEngine(t, func(c *otp.Config) { broken.Store, c.Store = c.Store, broken }, func(e *engineBench) {
		s := otp.Sending{Number: someNumber}
		broken.fails["Reserve"] = true
		for range 600 { // each of them gives its place back
			if _, err := e.Issue(context.Background(), &e.policy, s, otp.ID{}); !errors.Is(err, errBroken) {
				t.Fatalf("Issue: %v, want %v", err, errBroken)
			}
		}
		broken.fails["Reserve"] = false
		challenge := e.issue(otp.Sending{})
		code := e.lastCode()
		time.Sleep(30 * time.Second)
		broken.fails["Resend"] = true
		for range 600 {
			if _, err := e.Resend(context.Background(), &e.policy, s, challenge.ID); !errors.Is(err, errBroken) {
				t.Fatalf("Resend: %v, want %v", err, errBroken)
			}
		}
		synctest.Wait()
		if sent := len(e.outbox.all()); sent != 1 {
			t.Fatalf("%d messages sent while the store was down", sent-1)
		}
		broken.fails["Resend"] = false

		broken.fails["Settle"] = true // Done is called even if the store cannot settle
		var calls []told
		done := func(id otp.ID, messageID string, err error) { calls = append(calls, told{id, messageID, err}) }
		e.resend(challenge.ID, otp.Sending{Done: done})
		refusal := &connexus.Error{Kind: connexus.KindFunds}
		e.outbox.reply = func(context.Context, connexus.OTP) (connexus.Receipt, error) { return connexus.Receipt{}, refusal }
		e.resend(challenge.ID, otp.Sending{Done: done})
		if len(calls) != 2 || calls[0].messageID != "MSG2" || !errors.Is(calls[0].err, errBroken) ||
			!errors.Is(calls[1].err, errBroken) || !errors.Is(calls[1].err, refusal) {
			t.Errorf("Done was told %+v", calls)
		}
		e.verify(challenge.ID, code, nil)
	})
}

// TestEngineReport: the engine applies reports. It does not ask the store about events
// without a message id or a state.
func TestEngineReport(t *testing.T) {
	broken := &brokenStore{fails: make(map[string]bool)}
	withEngine(t, func(c *otp.Config) { broken.Store, c.Store = c.Store, broken }, func(e *engineBench) {
		challenge := e.issue(otp.Sending{})
		changed, stop := e.Watch(challenge.ID)
		defer stop()
		time.Sleep(4 * time.Second)
		age, moved, err := e.Report(context.Background(), "MSG1", connexus.StateDelivered)
		if age != 4*time.Second || !moved || err != nil {
			t.Errorf("Report: %v, %v, %v; want it to move after 4s", age, moved, err)
		}
		<-changed
		if got := e.get(challenge.ID).Status; got != otp.Delivered {
			t.Errorf("%v, want %v", got, otp.Delivered)
		}
		broken.fails["Report"] = true
		for messageID, state := range map[string]connexus.State{"": connexus.StateDelivered, "MSG1": connexus.StateUnknown} {
			if age, moved, err := e.Report(context.Background(), messageID, state); age != 0 || moved || err != nil {
				t.Errorf("Report of %v for %q: %v, %v, %v", state, messageID, age, moved, err)
			}
		}
		if _, _, err := e.Report(context.Background(), "MSG1", connexus.StateDelivered); !errors.Is(err, errBroken) {
			t.Errorf("Report to a store that is down: %v, want %v", err, errBroken)
		}
	})
}

func TestEngineFirst(t *testing.T) {
	withEngine(t, nil, func(e *engineBench) {
		first := func(want bool, parts ...string) {
			t.Helper()
			if got, err := e.First(context.Background(), time.Hour, parts...); got != want || err != nil {
				t.Errorf("First of %q: %v, %v; want %v", parts, got, err, want)
			}
		}
		first(true, "dlr", "MSG1", "1")
		first(false, "dlr", "MSG1", "1")
		first(true, "dlr", "MSG11", "") // each part of the key counts apart
		first(true, "dlr", "MSG1", "2")
		first(false, "dlr", "MSG1", "2")
		time.Sleep(time.Hour)
		first(true, "dlr", "MSG1", "2")
	})
}
