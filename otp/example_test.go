package otp_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

// phone is a Sender that hands over the code of each message.
type phone chan string

func (p phone) SendOTP(_ context.Context, m connexus.OTP) (connexus.Receipt, error) {
	p <- m.Code
	return connexus.Receipt{MessageID: "MSG123"}, nil
}

// oneChallenge is a store with room for one challenge and without limits. A real store
// implements all of otp.Store and passes the tests of package storetest.
type oneChallenge struct {
	otp.Store
	mu sync.Mutex
	r  *otp.Reservation
}

func (s *oneChallenge) Reserve(_ context.Context, r *otp.Reservation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.r = r
	return nil
}

func (s *oneChallenge) Get(_ context.Context, _ string, id otp.ID, _ time.Time) (otp.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.r == nil || s.r.ID != id {
		return otp.Record{}, otp.ErrNoChallenge
	}
	return otp.Record{Challenge: otp.Challenge{ID: id, CodeLength: s.r.Length, AttemptsLeft: s.r.Attempts}}, nil
}

func (s *oneChallenge) Settle(context.Context, otp.ID, *otp.Settlement) error { return nil }

func (s *oneChallenge) Attempt(_ context.Context, id otp.ID, a *otp.Answer) (otp.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.r == nil || s.r.ID != id {
		return otp.Record{}, otp.ErrNoChallenge
	}
	if a.Proof != s.r.Proof { // a real store compares in constant time
		s.r.Attempts--
		return otp.Record{Challenge: otp.Challenge{ID: id, AttemptsLeft: s.r.Attempts}}, otp.ErrWrongCode
	}
	s.r = nil
	return otp.Record{}, nil
}

// An engine sends a code and checks the answer. The right code works once.
func ExampleEngine() {
	ctx := context.Background()
	ring, err := session.NewRing(session.NewKeys(time.Now()))
	if err != nil {
		fmt.Println(err)
		return
	}
	sent := make(phone, 1)
	engine := otp.NewEngine(otp.Config{Store: new(oneChallenge), Sender: sent, Ring: ring})
	defer engine.Close(ctx)

	policy := &otp.Policy{Scope: "app.example.com", Length: 6, TTL: 5 * time.Minute, Attempts: 5, Company: "Example"}
	challenge, err := engine.Issue(ctx, policy, otp.Sending{Number: "+6421234567"}, otp.ID{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(challenge.Status, challenge.CodeLength, "digits")

	answer := otp.Verification{ID: challenge.ID, Number: "+6421234567", Code: "12345"} // too short to be right
	left, err := engine.Verify(ctx, policy, answer)
	fmt.Println(errors.Is(err, otp.ErrIncomplete), left.AttemptsLeft, "attempts left")

	answer.Code = <-sent
	_, err = engine.Verify(ctx, policy, answer)
	fmt.Println("right code:", err)
	_, err = engine.Verify(ctx, policy, answer)
	fmt.Println("once more:", err)
	// Output:
	// queued 6 digits
	// true 5 attempts left
	// right code: <nil>
	// once more: no challenge
}

// An error says which limit was reached, and when to try again.
func ExampleLimitError() {
	err := fmt.Errorf("sending a code: %w", &otp.LimitError{Limit: "per_number", RetryAfter: 10 * time.Minute})
	if limit := (*otp.LimitError)(nil); errors.As(err, &limit) {
		fmt.Println(limit.Limit, limit.RetryAfter, limit.Locked())
	}
	// Output: per_number 10m0s false
}

// A window says how long to wait until one more hit is within every rate.
func ExampleWindow() {
	rates := []otp.Rate{{Count: 2, Window: 10 * time.Minute}}
	now := time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC)
	var w otp.Window
	for range 3 {
		if wait := w.Wait(rates, now); wait > 0 {
			fmt.Println(now.Format(time.TimeOnly), "wait", wait)
		} else {
			w.Add(now, 2)
			fmt.Println(now.Format(time.TimeOnly), "allowed")
		}
		now = now.Add(time.Minute)
	}
	// Output:
	// 09:00:00 allowed
	// 09:01:00 allowed
	// 09:02:00 wait 8m0s
}

// Watch before reading the state, so that no change is missed.
func ExampleWakes() {
	var wakes otp.Wakes
	id := session.NewID()
	changed, stop := wakes.Watch(id)
	defer stop()
	go wakes.Wake(id)
	<-changed
	fmt.Println("changed")
	// Output: changed
}
