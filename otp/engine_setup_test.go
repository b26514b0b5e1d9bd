package otp_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/memorystore"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

// outbox is an otp.Sender that sends nothing and keeps the messages.
type outbox struct {
	// reply answers a message; nil: the outbox accepts it at once.
	reply func(ctx context.Context, m connexus.OTP) (connexus.Receipt, error)

	mu   sync.Mutex
	sent []connexus.OTP
}

func (o *outbox) SendOTP(ctx context.Context, m connexus.OTP) (connexus.Receipt, error) {
	o.mu.Lock()
	o.sent = append(o.sent, m)
	n := len(o.sent)
	o.mu.Unlock()
	if o.reply == nil {
		return connexus.Receipt{MessageID: fmt.Sprint("MSG", n), Code: m.Code}, nil
	}
	return o.reply(ctx, m)
}

func (o *outbox) all() []connexus.OTP {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]connexus.OTP(nil), o.sent...)
}

// engineBench is an engine with its store and its outbox. It runs on the clock of a
// synctest bubble.
type engineBench struct {
	*otp.Engine
	t      *testing.T
	store  otp.Store
	outbox *outbox
	ring   *session.Ring
	policy otp.Policy
}

// withEngine runs body in a bubble with an engine. change may change its configuration.
func withEngine(t *testing.T, change func(*otp.Config), body func(*engineBench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ring, err := session.NewRing(session.NewKeys(time.Now()))
		if err != nil {
			t.Fatal(err)
		}
		e := &engineBench{
			t: t, store: openStore(t, 20_000), outbox: new(outbox), ring: ring,
			policy: otp.Policy{
				Scope: "app.example.com", Length: 6, TTL: 5 * time.Minute, Attempts: 5,
				Company: "Example", Comment: "Welcome.", Cooldown: 30 * time.Second,
			},
		}
		config := otp.Config{Store: e.store, Sender: e.outbox, Ring: ring}
		if change != nil {
			change(&config)
		}
		e.Engine = otp.NewEngine(config)
		body(e)
		e.Close(context.Background())
	})
}

// openStore returns a memory store without a file. It is closed with the test.
// Two stores that are open at the same time are one.
func openStore(t *testing.T, capacity int) otp.Store {
	t.Helper()
	store, release, err := (&memorystore.Store{Capacity: capacity}).Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := release(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	return store
}

// otherCode returns a code other than the right one.
func otherCode(code string) string {
	wrong := []byte(code)
	wrong[0] = '0' + (wrong[0]-'0'+1)%10
	return string(wrong)
}

const someNumber = "+6421234567"

// issue sends a code to a number, which must succeed. It waits until nothing more happens
// at this moment.
func (e *engineBench) issue(s otp.Sending) otp.Challenge {
	e.t.Helper()
	if s.Number == "" {
		s.Number = someNumber
	}
	challenge, err := e.Issue(context.Background(), &e.policy, s, otp.ID{})
	if err != nil {
		e.t.Fatalf("Issue: %v", err)
	}
	synctest.Wait()
	return challenge
}

// resend waits for the cooldown and sends the code of a challenge again.
func (e *engineBench) resend(id otp.ID, s otp.Sending) otp.Challenge {
	e.t.Helper()
	time.Sleep(time.Until(e.get(id).ResendAt))
	s.Number = someNumber
	challenge, err := e.Resend(context.Background(), &e.policy, s, id)
	if err != nil {
		e.t.Fatalf("Resend: %v", err)
	}
	synctest.Wait()
	return challenge
}

func (e *engineBench) get(id otp.ID) otp.Challenge {
	e.t.Helper()
	challenge, err := e.Get(context.Background(), "", id)
	if err != nil {
		e.t.Fatalf("Get: %v", err)
	}
	return challenge
}

// verify answers the challenge id, and checks the error.
func (e *engineBench) verify(id otp.ID, code string, want error) {
	e.t.Helper()
	answer := otp.Verification{ID: id, Code: code, Number: someNumber}
	if _, err := e.Verify(context.Background(), &e.policy, answer); !errors.Is(err, want) {
		e.t.Fatalf("Verify: %v, want %v", err, want)
	}
}

// lastCode returns the code of the latest message.
func (e *engineBench) lastCode() string {
	e.t.Helper()
	sent := e.outbox.all()
	if len(sent) == 0 {
		e.t.Fatal("nothing was sent")
	}
	return sent[len(sent)-1].Code
}
