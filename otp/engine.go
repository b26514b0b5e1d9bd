package otp

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"time"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/session"
)

// Engine makes, resends and verifies challenges. It is safe for concurrent use. Make
// one with NewEngine.
type Engine struct {
	store    Store
	ring     *session.Ring
	dispatch *dispatcher
	now      func() time.Time // in whole microseconds, as a Store asks
	exact    func() time.Time
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
		now: func() time.Time { return c.Now().Truncate(time.Microsecond) }, exact: c.Now,
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
		Failures: e.failures(p, s.Number, s.Device),
	}
	code := ""
	if !p.Remote {
		if code, err = e.newCode(p.Length); err == nil {
			r.Proof = e.proof(r.ID, code)
			r.Sealed, err = e.seal(r.ID, code)
		}
	}
	if err == nil {
		r.Envelope, err = e.sealEnvelope(p, &s, r.ID)
	}
	if (p.Remote || s.Unlisted) && err == nil { // a random proof, which no code has
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
		Scope: p.Scope, Now: now, TTL: p.TTL, Cooldown: p.Cooldown, Counters: e.counters(p, &s), Failures: e.failures(p, s.Number, s.Device),
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
			if !s.Restricted {
				unsent.Return = e.counters(p, &s)
			}
			err = errors.Join(err, e.store.Settle(ctx, id, &unsent))
			return Challenge{}, &UnavailableError{Reason: "the code does not open with today's keys", RetryAfter: time.Minute, Err: err}
		}
	}
	e.send(ctx, p, s, id, rec.Sending, code, now, release)
	return rec.Challenge, nil
}

// Wait returns how long the limits of a sending would refuse a resend now, and 0 if they
// would not. It does not know the cooldown of a challenge: see Challenge.ResendAt. The
// error is an *UnavailableError.
func (e *Engine) Wait(ctx context.Context, p *Policy, s Sending) (time.Duration, error) {
	if err := e.ready(); err != nil {
		return 0, err
	}
	return e.store.Wait(ctx, &Renewal{
		Scope: p.Scope, Now: e.now(), Counters: e.counters(p, &s), Failures: e.failures(p, s.Number, s.Device),
	})
}

// Verification is one answer to a challenge.
type Verification struct {
	ID     ID
	Code   string // as typed: see ReadCode
	Number string // the number of the challenge, E.164
	Device string // the device that answers, if it has verified the number before; "" for any other
	Again  bool   // see Answer.Again
}

// Verify checks the answer to a challenge. If the code is right, Verify returns nil
// and the challenge with VerifiedAt, and the challenge ends. Of several right answers at
// the same moment, one wins. Until ReuseTime later, the others that ask with Again get
// ErrUsed and the VerifiedAt of the winner.
//
// For a wrong code, Verify returns ErrWrongCode and the challenge with the attempts
// that are left. If the failure has locked the number, the error is joined with a
// *LimitError. For a text that cannot be the code, it returns ErrIncomplete and the
// challenge. Other errors are ErrNoChallenge, ErrExpired, ErrTooManyAttempts, a
// *LimitError while the number is locked, and an *UnavailableError.
func (e *Engine) Verify(ctx context.Context, p *Policy, v Verification) (Challenge, error) {
	if err := e.ready(); err != nil {
		return Challenge{}, err
	}
	found, err := e.store.Get(ctx, p.Scope, v.ID, e.now())
	length := found.CodeLength
	switch {
	case errors.Is(err, ErrNoChallenge): // it may have been used
		length = p.Length
	case err != nil:
		return found.Challenge, err
	}
	code, complete := ReadCode(v.Code, length, p.Remote)
	if !complete {
		return found.Challenge, cmp.Or(err, ErrIncomplete)
	}
	exact := e.exact()
	rec, err := e.store.Attempt(ctx, v.ID, &Answer{
		Scope: p.Scope, Proof: e.proof(v.ID, code), Failures: e.failures(p, v.Number, v.Device),
		Now: exact.Truncate(time.Microsecond), Exact: exact, Again: v.Again,
	})
	if err == nil {
		rec.VerifiedAt = exact
	}
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
