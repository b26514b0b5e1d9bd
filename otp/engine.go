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

// Sender sends messages, as *connexus.Client does. An error that is a
// *connexus.Error with MaybeAccepted false says that nothing was sent.
type Sender interface {
	SendOTP(ctx context.Context, m connexus.OTP) (connexus.Receipt, error)
}

// Engine makes, resends and verifies challenges. It is safe for concurrent use. Make
// one with NewEngine.
type Engine struct {
	store    Store
	ring     *session.Ring
	dispatch *dispatcher
	now      func() time.Time
	random   io.Reader
}

// Config holds the parts of an engine.
type Config struct {
	Store  Store            // required
	Sender Sender           // required by Issue and Resend
	Ring   *session.Ring    // required; it may get its keys later
	Now    func() time.Time // the clock; default time.Now
	Random io.Reader        // the source of codes; default crypto/rand
}

// NewEngine returns an engine. The caller must Close it.
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

// ready returns an *UnavailableError while the ring has no keys, because nothing
// could be sealed or found again.
func (e *Engine) ready() error {
	if e.ring.Ready() {
		return nil
	}
	return &UnavailableError{Reason: session.ErrNotReady.Error(), RetryAfter: UnreadyRetry}
}

// UnreadyRetry is the RetryAfter of an UnavailableError while the ring has no keys.
const UnreadyRetry = 5 * time.Second

// Close refuses new sendings and waits for those in flight. If ctx ends first, Close
// cancels them. The engine must not be used afterwards.
func (e *Engine) Close(ctx context.Context) { e.dispatch.close(ctx) }

// Sending is one request for a code.
type Sending struct {
	Number string // E.164
	// Device names the device that asks, if it has verified the number before. It
	// is "" for any other device.
	Device string
	// Client is the IP address that asks, in the form that PerClient counts. The
	// address "" is not counted.
	Client string
	// Host is the host that the message is bound to (WebOTP), or "".
	Host string
	// Decoy marks an unlisted number. The sending is counted, answered and timed
	// like any other, but no message is sent.
	Decoy bool
	// Guarded marks a restricted gate, which must answer listed and unlisted
	// numbers alike. The outcome of the sending then changes no counter.
	Guarded bool
	// Done, if set, is called from another goroutine with the outcome of the
	// sending. It is not called for an unlisted number.
	Done func(id ID, messageID string, err error)
	// Strained, if set, is called from another goroutine when this sending has
	// used four fifths of a rate of the budget. It is called once in each window.
	Strained func(used int, of Rate)
}

// Issue creates a challenge and returns it. It sends the code in the background. If
// replaces is not zero, that challenge ends.
//
// The error is a *LimitError or an *UnavailableError. Then nothing is sent, and
// replaces stays valid.
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
		Run:      e.failures(p, s.Number, s.Device),
	}
	code := ""
	if !p.Remote {
		if code, err = e.newCode(p.Length); err == nil {
			r.Proof = e.proof(r.ID, code)
			r.Sealed, err = e.seal(r.ID, code)
		}
	}
	if (p.Remote || s.Decoy) && err == nil { // a random proof, which no code has
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

// Resend sends the code of the challenge id again, in the background, and returns
// the challenge. The error is a *LimitError, an *UnavailableError, ErrNoChallenge,
// ErrExpired or ErrTooManyAttempts. Then nothing is sent.
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
		Scope: p.Scope, Now: now, TTL: p.TTL, Cooldown: p.Cooldown, Counters: e.counters(p, &s), Run: e.failures(p, s.Number, s.Device),
	})
	if err != nil {
		release()
		return Challenge{}, err
	}
	code := ""
	if len(rec.Sealed) > 0 { // otherwise WebSMS was to make the code, and did not return it
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
	Code   string // as typed; spaces and hyphens are ignored
	Number string // the number of the challenge, E.164
	Device string // the device that answers, if it has verified the number before; "" for any other
}

// Verify checks the answer to a challenge. If the code is right, Verify returns nil
// and the challenge ends. Of several right answers at the same moment, one wins.
//
// For a wrong code, Verify returns ErrWrongCode and the challenge with the attempts
// that are left. If the failure has locked the number, the error is joined with a
// *LimitError. Other errors are ErrNoChallenge, ErrExpired, ErrTooManyAttempts, a
// *LimitError while the number is locked, and an *UnavailableError.
func (e *Engine) Verify(ctx context.Context, p *Policy, v Verification) (Challenge, error) {
	if err := e.ready(); err != nil {
		return Challenge{}, err
	}
	rec, err := e.store.Attempt(ctx, v.ID, &Answer{
		Scope: p.Scope, Proof: e.proof(v.ID, digits(v.Code)), Run: e.failures(p, v.Number, v.Device), Now: e.now(),
	})
	return rec.Challenge, err
}

// Unlock forgets the failures of a number in a scope, and so ends its lock. It
// reports whether there were any failures.
func (e *Engine) Unlock(ctx context.Context, scope, number string) (bool, error) {
	if err := e.ready(); err != nil {
		return false, err
	}
	return e.store.Unlock(ctx, scope, e.failuresKey(scope, number))
}

// Get returns the challenge id of a scope. The error is ErrNoChallenge, ErrExpired,
// ErrTooManyAttempts or an *UnavailableError. ErrTooManyAttempts comes with the
// challenge.
func (e *Engine) Get(ctx context.Context, scope string, id ID) (Challenge, error) {
	rec, err := e.store.Get(ctx, scope, id, e.now())
	return rec.Challenge, err
}

// Watch returns a channel that is closed at the next change of the challenge id, and
// a function to stop watching. Call Watch before Get, so that no change is missed.
func (e *Engine) Watch(id ID) (<-chan struct{}, func()) { return e.store.Watch(id) }

// Report applies a delivery report of WebSMS to the challenge that was sent as
// messageID. If the report changed a challenge, Report returns the time since the
// sending and true. The error is an *UnavailableError.
func (e *Engine) Report(ctx context.Context, messageID string, state connexus.State) (time.Duration, bool, error) {
	if messageID == "" || state == connexus.StateUnknown {
		return 0, false, nil
	}
	return e.store.Report(ctx, messageID, state, e.now())
}

// First reports whether the thing that parts name is new within ttl. Of all callers
// on all nodes, exactly one is told true.
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

// proof returns the keyed hash of a code, which a store compares. Without the key it
// does not reveal the code.
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

// digits returns a typed code without the spaces and hyphens that phones and people
// put between digits.
func digits(code string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case ' ', '\t', '\r', '\n', '-', '\u00a0', '\u2009', '\u202f':
			return -1
		}
		return r
	}, code)
}

// errNoCode is the outcome of a sending if WebSMS was to make the code, and its reply
// holds none of a usable length.
var errNoCode = errors.New("the reply holds no code of 4 to 8 digits; the message cannot be verified")

// send hands one sending to the dispatcher. The function release frees its place.
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

// veil hides whether a restricted gate really sends the message. It does two things.
// First it waits until the HTTP response has left: work beside the response would
// slow it by some 0.1 ms on a machine of 2 cores. Then it sets the challenge to
// accepted after a random time, for listed and unlisted numbers alike. It closes
// shown when the challenge is accepted. The gate does not show later changes.
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
		// While the store is down, the challenges of all numbers stay queued.
		_ = e.store.Settle(context.Background(), id, &Settlement{
			Scope: scope, Sending: sending, Status: Accepted, Taken: taken, Now: e.now(),
		})
	}()
	return done
}

// made seals a code that WebSMS made, for the store.
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
