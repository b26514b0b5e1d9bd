package otp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"time"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/session"
)

// Sender sends a code; a *connexus.Client is one.
type Sender interface {
	SendOTP(ctx context.Context, m connexus.OTP) (connexus.Receipt, error)
}

// Engine issues, resends and verifies challenges. It is safe for concurrent use.
type Engine struct {
	store    Store
	ring     *session.Ring
	dispatch *dispatcher
	now      func() time.Time
	random   io.Reader
}

// Config is what an engine is made of.
type Config struct {
	Store  Store            // required
	Sender Sender           // required by Issue and Resend
	Ring   *session.Ring    // required; while it is empty, what needs its keys is unavailable
	Now    func() time.Time // nil: time.Now
	Random io.Reader        // nil: crypto/rand
}

// NewEngine returns an engine. Close ends it.
func NewEngine(c Config) *Engine {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	return &Engine{
		store: c.Store, ring: c.Ring, random: c.Random,
		now:      func() time.Time { return c.Now().Truncate(time.Microsecond) }, // as a Store asks
		dispatch: newDispatcher(c.Sender),
	}
}

// ready returns an *UnavailableError while the ring has no keys: nothing could
// be sealed, and nothing found again.
func (e *Engine) ready() error {
	if e.ring.Ready() {
		return nil
	}
	return &UnavailableError{Reason: session.ErrNotReady.Error(), RetryAfter: UnreadyRetry}
}

// UnreadyRetry is after how long to ask again while the keys are not known.
const UnreadyRetry = 5 * time.Second

// Close refuses new sendings and waits for those in flight; when ctx ends it
// breaks them off. Nobody may use the engine afterwards.
func (e *Engine) Close(ctx context.Context) { e.dispatch.close(ctx) }

// Sending is one ask for a code.
type Sending struct {
	Number string // E.164
	// Device that asks, if it has verified the number before; "" for any other.
	Device string
	// Client is the network address that it asks from, as PerClient counts it;
	// "" is not counted.
	Client string
	// Host that the message is bound to (WebOTP), "" for none.
	Host string
	// Decoy is counted, answered and timed like any other, and not sent.
	Decoy bool
	// Guarded forbids that how the sending went shows in what is counted:
	// the gate answers listed and unlisted numbers alike.
	Guarded bool
	// Done is told, later and from another goroutine, how it went. It is not
	// called for a decoy.
	Done func(id ID, messageID string, err error)
	// Strained is told, from another goroutine, that this sending has taken
	// one of the budget's rates to four fifths or more: once in a window.
	Strained func(used int, of Rate)
}

// Issue creates a challenge and sends its code, behind the caller's back. It
// ends the challenge replaces, unless that is zero. It returns a *LimitError
// or an *UnavailableError; then nothing is sent and replaces lives on.
func (e *Engine) Issue(ctx context.Context, p *Policy, s Sending, replaces ID) (Challenge, error) {
	if err := e.ready(); err != nil {
		return Challenge{}, err
	}
	release, err := e.dispatch.acquire()
	if err != nil {
		return Challenge{}, err
	}
	now := e.now()
	r := Reservation{
		Scope:    p.Scope,
		ID:       session.NewID(),
		Replaces: replaces,
		Length:   p.Length,
		Attempts: p.Attempts,
		Now:      now,
		TTL:      p.TTL,
		Cooldown: p.Cooldown,
		Counters: e.counters(p, &s),
		Run:      e.run(p, s.Number, s.Device),
	}
	code := ""
	if !p.Remote {
		if code, err = e.newCode(p.Length); err == nil {
			r.Proof = e.proof(r.ID, code)
			r.Sealed, err = e.seal(r.ID, code)
		}
	}
	if (p.Remote || s.Decoy) && err == nil { // no code of ours is the right one
		_, err = io.ReadFull(e.random, r.Proof[:])
	}
	if err == nil {
		err = e.store.Reserve(ctx, &r)
	}
	if err != nil {
		release()
		return Challenge{}, err
	}
	e.send(ctx, p, s, r.ID, 1, code, now, release)
	return Challenge{
		ID: r.ID, Status: Queued, CodeLength: r.Length, AttemptsLeft: r.Attempts,
		ExpiresAt: now.Add(r.TTL), ResendAt: now.Add(r.Cooldown),
	}, nil
}

// Resend sends the code of the challenge id again. It returns a *LimitError,
// an *UnavailableError, ErrNoChallenge, ErrExpired or ErrTooManyAttempts;
// then nothing is sent.
func (e *Engine) Resend(ctx context.Context, p *Policy, s Sending, id ID) (Challenge, error) {
	if err := e.ready(); err != nil {
		return Challenge{}, err
	}
	release, err := e.dispatch.acquire()
	if err != nil {
		return Challenge{}, err
	}
	now := e.now()
	rec, err := e.store.Resend(ctx, id, &Renewal{
		Scope: p.Scope, Now: now, TTL: p.TTL, Cooldown: p.Cooldown, Counters: e.counters(p, &s), Run: e.run(p, s.Number, s.Device),
	})
	if err != nil {
		release()
		return Challenge{}, err
	}
	code := ""
	if len(rec.Sealed) > 0 { // else WebSMS was to make it, and never said
		if code, err = e.open(id, rec.Sealed); err != nil {
			release()
			unsent := Settlement{Scope: p.Scope, Sending: rec.Sending, Status: Failed, Taken: now, Now: now, Refused: true}
			if !s.Guarded {
				unsent.Return = e.counters(p, &s)
			}
			err = errors.Join(err, e.store.Settle(ctx, id, &unsent))
			return Challenge{}, &UnavailableError{Reason: "the code does not open with today's keys", RetryAfter: time.Minute, Err: err}
		}
	}
	e.send(ctx, p, s, id, rec.Sending, code, now, release)
	return rec.Challenge, nil
}

// Verification is one answer to a challenge.
type Verification struct {
	ID     ID
	Code   string // as it was typed
	Number string // that the code was asked for, E.164
	Device string // that answers, if it has verified the number before; "" for any other
}

// Verify answers a challenge, and ends it if the code is right; the first of
// many wins. It returns ErrWrongCode, with what is left of the challenge and
// joined with the *LimitError of the lock that it led to, if it did; or
// ErrNoChallenge, ErrExpired, ErrTooManyAttempts, a *LimitError while the
// number is locked, or an *UnavailableError.
func (e *Engine) Verify(ctx context.Context, p *Policy, v Verification) (Challenge, error) {
	if err := e.ready(); err != nil {
		return Challenge{}, err
	}
	rec, err := e.store.Attempt(ctx, v.ID, &Answer{
		Scope: p.Scope, Proof: e.proof(v.ID, digits(v.Code)), Run: e.run(p, v.Number, v.Device), Now: e.now(),
	})
	return rec.Challenge, err
}

// Unlock forgets the wrong codes that count for a number in a scope, and
// reports whether there were any.
func (e *Engine) Unlock(ctx context.Context, scope, number string) (bool, error) {
	if err := e.ready(); err != nil {
		return false, err
	}
	return e.store.Unlock(ctx, scope, e.failures(scope, number))
}

// Get returns the challenge id of a scope, or ErrNoChallenge, ErrExpired or, with the
// challenge, ErrTooManyAttempts, or an *UnavailableError.
func (e *Engine) Get(ctx context.Context, scope string, id ID) (Challenge, error) {
	rec, err := e.store.Get(ctx, scope, id, e.now())
	return rec.Challenge, err
}

// Watch returns a channel that is closed at the next change of the challenge
// id, and a function to stop watching. Watch first, then Get, misses nothing.
func (e *Engine) Watch(id ID) (<-chan struct{}, func()) { return e.store.Watch(id) }

// Report applies a delivery report of WebSMS. It returns how long after its
// sending the report came, and whether it moved a challenge.
func (e *Engine) Report(ctx context.Context, messageID string, state connexus.State) (time.Duration, bool, error) {
	if messageID == "" || state == connexus.StateUnknown {
		return 0, false, nil
	}
	return e.store.Report(ctx, messageID, state, e.now())
}

// First reports whether a thing named by parts is new within ttl: of all who
// ask, one is the first.
func (e *Engine) First(ctx context.Context, ttl time.Duration, parts ...string) (bool, error) {
	if err := e.ready(); err != nil {
		return false, err
	}
	return e.store.First(ctx, e.ring.Digest("seen", parts...), ttl, e.now())
}

// newCode returns length digits, each as likely as any other.
func (e *Engine) newCode(length int) (string, error) {
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(length)), nil)
	n, err := rand.Int(e.random, limit)
	if err != nil {
		return "", fmt.Errorf("making a code: %w", err)
	}
	return fmt.Sprintf("%0*d", length, n), nil
}

// proof is what a store compares: it says nothing of the code to who has no key.
func (e *Engine) proof(id ID, code string) Digest {
	return e.ring.Digest("code", string(id[:]), code)
}

func (e *Engine) seal(id ID, code string) ([]byte, error) {
	sealed, err := e.ring.Seal(session.ForCode, string(id[:]), []byte(code))
	return []byte(sealed), err
}

func (e *Engine) open(id ID, sealed []byte) (string, error) {
	code, err := e.ring.Open(session.ForCode, string(id[:]), string(sealed))
	return string(code), err
}

// digits returns code as it was meant: without the spaces and hyphens that
// phones and people put between its digits.
func digits(code string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case ' ', '\t', '\r', '\n', '-', '\u00a0', '\u2009', '\u202f':
			return -1
		}
		return r
	}, code)
}

// errNoCode is what a sending failed with when WebSMS was to make the code
// and its reply holds none that a person could type.
var errNoCode = errors.New("the reply holds no code of 4 to 8 digits; the message cannot be verified")

// send hands one sending to the dispatcher. release frees its place.
func (e *Engine) send(ctx context.Context, p *Policy, s Sending, id ID, sending int, code string, taken time.Time, release func()) {
	go func() {
		defer release()
		e.strained(p, &s)
		shown := e.veil(p.Scope, &s, id, sending, taken)
		if s.Decoy {
			<-shown
			return
		}
		settled := Settlement{Scope: p.Scope, Sending: sending, Status: Accepted, Taken: taken}
		receipt, err := e.dispatch.send(ctx, connexus.OTP{
			To: s.Number, Company: p.Company, Comment: p.Comment, Code: code, WebOTPDomain: s.Host,
		})
		settled.MessageID = receipt.MessageID
		if err == nil && code == "" {
			settled.Made, err = e.made(id, receipt.Code)
		}
		if err != nil {
			settled.Status = Failed
			var failure *connexus.Error
			settled.Refused = errors.As(err, &failure) && !failure.MaybeAccepted
			if settled.Refused && !s.Guarded {
				settled.Return = e.counters(p, &s)
			}
		}
		<-shown
		settled.Now = e.now()
		if lost := e.store.Settle(context.Background(), id, &settled); lost != nil {
			err = errors.Join(err, fmt.Errorf("recording the sending: %w", lost))
		}
		if s.Done != nil {
			s.Done(id, settled.MessageID, err)
		}
	}()
}

// veil hides, of a sending on a gate with a list, whether it is one. It lets
// the answer to who asked leave first, which work beside it would slow by some
// 0.1 ms on a machine of 2 cores; and it has the challenge accepted after a
// time that depends on nothing. It closes shown when that is done; what is
// settled afterwards, the gate does not show.
func (e *Engine) veil(scope string, s *Sending, id ID, sending int, taken time.Time) (shown <-chan struct{}) {
	done := make(chan struct{})
	if !s.Guarded && !s.Decoy {
		close(done)
		return done
	}
	e.dispatch.pause(5*time.Millisecond, 25*time.Millisecond)
	go func() {
		defer close(done)
		e.dispatch.pause(200*time.Millisecond, 500*time.Millisecond) // as long as WebSMS usually takes
		// A store that is down keeps the challenge queued, for all alike.
		_ = e.store.Settle(context.Background(), id, &Settlement{Scope: scope, Sending: sending, Status: Accepted, Taken: taken, Now: e.now()})
	}()
	return done
}

// made returns what a store keeps of a code that WebSMS made.
func (e *Engine) made(id ID, code string) (*Made, error) {
	if len(code) < 4 || len(code) > 8 || strings.Trim(code, "0123456789") != "" {
		return nil, errNoCode
	}
	sealed, err := e.seal(id, code)
	if err != nil {
		return nil, err
	}
	return &Made{Sealed: sealed, Proof: e.proof(id, code), Length: len(code)}, nil
}
