package otp_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
)

func TestEngineIssue(t *testing.T) {
	withEngine(t, nil, func(e *engineBench) {
		e.outbox.reply = func(context.Context, connexus.OTP) (connexus.Receipt, error) {
			time.Sleep(3 * time.Second)
			return connexus.Receipt{MessageID: "MSG1"}, nil
		}
		began := time.Now()
		challenge := e.issue(otp.Sending{Number: someNumber, Host: "app.example.com"})
		if waited := time.Since(began); waited != 0 {
			t.Errorf("Issue waited %v for the network", waited)
		}
		want := otp.Challenge{
			ID: challenge.ID, Status: otp.Queued, CodeLength: 6, AttemptsLeft: 5,
			ExpiresAt: began.Add(5 * time.Minute), ResendAt: began.Add(30 * time.Second),
		}
		if challenge != want || challenge.ID == (otp.ID{}) {
			t.Errorf("Issue: %+v, want %+v", challenge, want)
		}
		if got := e.get(challenge.ID); got != want {
			t.Errorf("Get: %+v, want %+v", got, want)
		}
		if n, err := e.Live(context.Background()); n != 1 || err != nil {
			t.Errorf("Live: %d, %v; want 1", n, err)
		}
		changed, stop := e.Watch(challenge.ID)
		defer stop()
		<-changed
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("settled after %v, want when it was sent", took)
		}
		if got := e.get(challenge.ID).Status; got != otp.Accepted {
			t.Errorf("%v, want %v", got, otp.Accepted)
		}
		wantSent := connexus.OTP{
			To: someNumber, Company: "Example", Comment: "Welcome.", WebOTPDomain: "app.example.com", Code: e.lastCode(),
		}
		if sent := e.outbox.all(); len(sent) != 1 || sent[0] != wantSent {
			t.Errorf("sent %+v, want %+v", sent, wantSent)
		}
		e.verify(challenge.ID, otherCode(e.lastCode()), otp.ErrWrongCode)
		if left := e.get(challenge.ID).AttemptsLeft; left != 4 {
			t.Errorf("%d attempts left after one of 5", left)
		}
		e.verify(challenge.ID, e.lastCode(), nil)
		e.verify(challenge.ID, e.lastCode(), otp.ErrNoChallenge)
	})
}

func TestEngineExpiry(t *testing.T) {
	withEngine(t, nil, func(e *engineBench) {
		challenge := e.issue(otp.Sending{})
		time.Sleep(5*time.Minute - 1)
		e.get(challenge.ID)
		time.Sleep(time.Nanosecond)
		e.verify(challenge.ID, e.lastCode(), otp.ErrExpired)
	})
}

// TestEngineReplaces: a new challenge ends the former one of the browser, unless the new
// one is refused.
func TestEngineReplaces(t *testing.T) {
	withEngine(t, nil, func(e *engineBench) {
		e.policy.PerNumber = []otp.Rate{{Count: 2, Window: time.Hour}}
		former := e.issue(otp.Sending{})
		s := otp.Sending{Number: someNumber}
		next, err := e.Issue(context.Background(), &e.policy, s, former.ID)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := e.Get(context.Background(), "", former.ID); !errors.Is(err, otp.ErrNoChallenge) {
			t.Errorf("the replaced: %v, want %v", err, otp.ErrNoChallenge)
		}
		_, err = e.Issue(context.Background(), &e.policy, s, next.ID)
		var limit *otp.LimitError
		if !errors.As(err, &limit) || limit.Limit != "per_number" || limit.RetryAfter != time.Hour {
			t.Errorf("over the limit: %v", err)
		}
		e.verify(next.ID, e.lastCode(), nil)
		if sent := len(e.outbox.all()); sent != 2 {
			t.Errorf("%d messages sent, want 2", sent)
		}
	})
}

// spyStore keeps the arguments that the engine gives to its store.
type spyStore struct {
	otp.Store
	given []byte
}

func (s *spyStore) Reserve(ctx context.Context, r *otp.Reservation) error {
	s.given = append(append(s.given, r.Sealed...), r.Proof[:]...)
	s.counters(r.Counters)
	return s.Store.Reserve(ctx, r)
}

func (s *spyStore) Resend(ctx context.Context, id otp.ID, r *otp.Renewal) (otp.Record, error) {
	s.counters(r.Counters)
	return s.Store.Resend(ctx, id, r)
}

func (s *spyStore) Attempt(ctx context.Context, id otp.ID, a *otp.Answer) (otp.Record, error) {
	s.given = append(append(append(s.given, a.Proof[:]...), a.Failures.Number[:]...), a.Failures.Device[:]...)
	return s.Store.Attempt(ctx, id, a)
}

func (s *spyStore) Settle(ctx context.Context, id otp.ID, settled *otp.Settlement) error {
	s.counters(settled.Return)
	if settled.Made != nil {
		s.given = append(append(s.given, settled.Made.Sealed...), settled.Made.Proof[:]...)
	}
	return s.Store.Settle(ctx, id, settled)
}

func (s *spyStore) counters(list []otp.Counter) {
	for _, c := range list {
		s.given = append(append(s.given, c.Key[:]...), c.Limit...)
	}
}

// TestEngineStoreSeesNothing: neither code nor number reaches the store in clear, with
// codes of the engine and of WebSMS.
func TestEngineStoreSeesNothing(t *testing.T) {
	spy := new(spyStore)
	withEngine(t, func(c *otp.Config) { spy.Store, c.Store = c.Store, spy }, func(e *engineBench) {
		e.policy.Length = 8
		e.policy.PerNumber = []otp.Rate{{Count: 10, Window: time.Hour}}
		e.policy.Budget = []otp.Rate{{Count: 10, Window: time.Hour}}
		e.outbox.reply = func(_ context.Context, m connexus.OTP) (connexus.Receipt, error) {
			if m.Code == "" {
				return connexus.Receipt{Code: "31415926"}, nil
			}
			return connexus.Receipt{}, &connexus.Error{Kind: connexus.KindTimeout, MaybeAccepted: true}
		}
		local := e.issue(otp.Sending{})
		code := e.lastCode()
		e.resend(local.ID, otp.Sending{})
		e.verify(local.ID, code, nil)
		e.policy.Remote = true
		remote := e.issue(otp.Sending{})
		e.verify(remote.ID, "31415926", nil)
		for _, secret := range []string{code, "31415926", someNumber, someNumber[1:]} {
			if bytes.Contains(spy.given, []byte(secret)) {
				t.Error("the store was given a code or a number in clear")
			}
		}
		if len(spy.given) < 200 {
			t.Errorf("the store was given %d bytes: too few to say anything of", len(spy.given))
		}
	})
}

// TestEngineCounters: each number has its own limit, and gates share limits by scope.
func TestEngineCounters(t *testing.T) {
	withEngine(t, nil, func(e *engineBench) {
		e.policy.PerNumber = []otp.Rate{{Count: 1, Window: time.Hour}}
		e.policy.Budget = []otp.Rate{{Count: 2, Window: 2 * time.Hour}}
		other := e.policy
		other.Scope = "other.example.com"
		for _, step := range []struct {
			policy *otp.Policy
			number string
			limit  string
			wait   time.Duration
		}{
			{&e.policy, "+6421000001", "", 0},
			{&e.policy, "+6421000001", "per_number", time.Hour},
			{&other, "+6421000001", "", 0},
			{&e.policy, "+6421000002", "", 0},
			{&e.policy, "+6421000003", "budget", 2 * time.Hour},
			{&e.policy, "+6421000001", "budget", 2 * time.Hour},
			{&other, "+6421000003", "", 0},
		} {
			_, err := e.Issue(context.Background(), step.policy, otp.Sending{Number: step.number}, otp.ID{})
			var limit *otp.LimitError
			if errors.As(err, &limit) {
				if limit.Limit != step.limit || limit.RetryAfter != step.wait {
					t.Errorf("%s at %s: %v, want limit %q and %v", step.number, step.policy.Scope, err, step.limit, step.wait)
				}
			} else if err != nil || step.limit != "" {
				t.Errorf("%s at %s: %v, want limit %q", step.number, step.policy.Scope, err, step.limit)
			}
		}
		synctest.Wait()
		if sent := len(e.outbox.all()); sent != 4 {
			t.Errorf("%d messages sent, want 4", sent)
		}
	})
}

// TestEngineUsedCode: the right code once more gets ErrUsed with the time of the first, but
// only for ReuseTime, and only for the same code.
func TestEngineUsedCode(t *testing.T) {
	withEngine(t, nil, func(e *engineBench) {
		challenge := e.issue(otp.Sending{})
		code := e.lastCode()
		answer := otp.Verification{ID: challenge.ID, Code: code[:3] + " " + code[3:], Number: someNumber, Again: true}
		first, err := e.Verify(context.Background(), &e.policy, answer)
		if err != nil || first.VerifiedAt.IsZero() {
			t.Fatalf("the right code: %v, verified at %s", err, first.VerifiedAt)
		}
		time.Sleep(otp.ReuseTime - time.Millisecond)
		again, err := e.Verify(context.Background(), &e.policy, answer)
		if !errors.Is(err, otp.ErrUsed) || !again.VerifiedAt.Equal(first.VerifiedAt) {
			t.Errorf("once more: %v, verified at %s; want %v and %s", err, again.VerifiedAt, otp.ErrUsed, first.VerifiedAt)
		}
		answer.Code = otherCode(code)
		if _, err = e.Verify(context.Background(), &e.policy, answer); !errors.Is(err, otp.ErrNoChallenge) || errors.Is(err, otp.ErrUsed) {
			t.Errorf("another code: %v, want %v", err, otp.ErrNoChallenge)
		}
		time.Sleep(time.Millisecond)
		answer.Code = code
		if _, err = e.Verify(context.Background(), &e.policy, answer); !errors.Is(err, otp.ErrNoChallenge) || errors.Is(err, otp.ErrUsed) {
			t.Errorf("after %s: %v, want %v", otp.ReuseTime, err, otp.ErrNoChallenge)
		}
	})
}
