package otp

import (
	"context"
	"time"

	"github.com/caddy-websms/websms/connexus"
)

// Store keeps challenges and counters. Every method is atomic: it happens wholly
// or not at all, and no two calls interleave, also if they run on different nodes.
// A store that cannot answer returns an *UnavailableError.
//
// The caller gives the time, in whole microseconds. All stores can compute with
// those exactly: a number in a Redis script is a float of 53 bits, which holds the
// microseconds since 1970 exactly until the year 2255.
//
// The time may leap in both directions. If a stored time is more than Skew in the
// future, it was written by a clock that was ahead. The first call that meets such
// a time treats it as now: a window, a lock or a life ends as if it had begun with
// that call. So a clock that was ahead locks nobody out for longer. If all callers
// of a store share one clock, the bound is Disorder instead of Skew.
//
// A challenge or a counter belongs to one scope (Policy.Scope), and is found in
// that scope only. One call changes one scope, so a store may keep each scope on
// another machine.
//
// A store never sees a code or a number. A code arrives sealed and as a proof (a
// keyed hash). The key of a counter is a keyed hash too.
type Store interface {
	// Reserve creates a challenge and counts its sending in every counter of r.
	// It returns a *LimitError if a counter is exhausted or the failures are
	// locked, and an *UnavailableError if the store is full. After an error,
	// nothing has changed.
	Reserve(ctx context.Context, r *Reservation) error

	// Resend counts another sending of the challenge id and extends its life. It
	// returns the record with the sealed code. The error is ErrNoChallenge,
	// ErrExpired, ErrTooManyAttempts or a *LimitError; then nothing has changed.
	Resend(ctx context.Context, id ID, r *Renewal) (Record, error)

	// Wait returns how long the counters and the failures of r would refuse a
	// Resend, and 0 if they would not. It does not look at the challenge, and counts
	// nothing. While only an operator can unlock the number, it returns LongWait.
	Wait(ctx context.Context, r *Renewal) (time.Duration, error)

	// Settle records the outcome of a sending, and gives it back to the counters
	// in s.Return. If it is called again for one sending, the latest outcome
	// counts. If the challenge is gone, Settle only keeps the message id.
	Settle(ctx context.Context, id ID, s *Settlement) error

	// Attempt does three things in one step. It counts an attempt at the
	// challenge. It compares the proof with that of the challenge, in constant
	// time. It counts a wrong proof as a failure. While every sending was refused,
	// no attempt is right.
	//
	// For the one right attempt, Attempt returns nil and counts no failure. It
	// deletes the challenge and its failures. It keeps the failures that the
	// devices beyond MaxDevices share.
	//
	// For a wrong attempt it returns ErrWrongCode and the record after the
	// attempt. If the attempt has led to a lock, the error is joined with the
	// *LimitError of that lock.
	//
	// For the right proof of a challenge that another attempt has met, no longer
	// than ReuseTime ago, it returns ErrUsed and a record with VerifiedAt, if the
	// answer has Again. From then on the challenge stays met. A wrong proof in
	// between ends that: no attempt is counted there, so nobody may guess.
	//
	// It returns ErrNoChallenge, ErrExpired, ErrTooManyAttempts or, during a lock,
	// a *LimitError. Then it has neither counted nor compared.
	Attempt(ctx context.Context, id ID, a *Answer) (Record, error)

	// Unlock forgets the failures of a number, from all devices, and reports
	// whether there were any.
	Unlock(ctx context.Context, scope string, number Digest) (bool, error)

	// Get returns the record of a challenge. The error is ErrNoChallenge,
	// ErrExpired or ErrTooManyAttempts; the last one comes with the record.
	Get(ctx context.Context, scope string, id ID, now time.Time) (Record, error)

	// Of returns the challenges of a number for an operator, newest first, at most
	// MaxOf. It returns those that wait for their answer and those that ended by
	// too many attempts, until they expire. It leaves out the sealed code.
	Of(ctx context.Context, scope string, number Digest, now time.Time) ([]Record, error)

	// Report applies a delivery report to the challenge that was sent as
	// messageID. A report that arrives before Settle is kept until then. If the
	// report changed the status of a challenge, Report returns the time since the
	// sending began and true. After an *UnavailableError, the report is applied as
	// soon as the store is back.
	Report(ctx context.Context, messageID string, state connexus.State, now time.Time) (time.Duration, bool, error)

	// Second claims the second try of the challenge that was sent as messageID. It asks
	// renewal what to count, with a record that has the sealed code and the envelope,
	// and then claims and counts in one step. It changes nothing else.
	//
	// The error is ErrNoChallenge if the message id is unknown, ErrDone if the
	// challenge has no envelope, had its second try, or its latest sending is not this
	// one with a report of StateUndelivered or StateRejected. Otherwise it is
	// ErrExpired, ErrTooManyAttempts, a *LimitError, or the error of renewal. After an
	// *UnavailableError, the second try may be lost.
	Second(ctx context.Context, messageID string, now time.Time, renewal func(Record) (Renewal, error)) (Record, error)

	// Watch returns a channel that is closed at the next change of the challenge
	// id, and a function to stop watching. The channel may be closed once without
	// a change, when the store begins to receive the changes of other nodes.
	Watch(id ID) (changed <-chan struct{}, stop func())

	// First keeps key for ttl, and reports whether it was unknown before. Of all
	// callers with one key, exactly one is told true.
	First(ctx context.Context, key Digest, ttl time.Duration, now time.Time) (bool, error)

	// Begin gives the key to l.Holder until the lease is over. One holder has a
	// key at a time, and renews its lease by calling Begin again. Begin returns
	// ErrDone if Done or First has marked the key, and an *InWorkError during the
	// lease of another holder. After an error, nothing has changed.
	Begin(ctx context.Context, key Digest, l Lease) error

	// Done marks the key as done for ttl, even if another holder has it. After an
	// *UnavailableError, it is marked as soon as the store is back.
	Done(ctx context.Context, key Digest, ttl time.Duration, now time.Time) error

	// Forget ends the lease of a holder that did not finish its work, so that the
	// next Begin gets the key. It changes nothing if the key is marked as done or
	// another holder has it. The holder "" stands for an operator: it makes the
	// store forget the key in any case. After an *UnavailableError, the lease ends
	// as soon as the store is back.
	Forget(ctx context.Context, key Digest, holder string) error

	// Try counts one try in c, or returns a *LimitError if a rate of c is
	// exhausted. It is for tries that cost no message. A store may forget the
	// least recently used counters of Try. It keeps them apart from all other
	// counters, so that strangers cannot push the others out.
	Try(ctx context.Context, scope string, c Counter, now time.Time) error

	// Used returns how many sendings count within each of the counter's rates.
	Used(ctx context.Context, scope string, c Counter, now time.Time) ([]int, error)

	// Clear empties a counter for an operator, with the sendings that were given
	// back there. It reports whether it knew the counter.
	Clear(ctx context.Context, scope string, c Counter) (bool, error)

	// Live returns how many challenges take up room, for an operator. It counts
	// those that wait for their answer and those that ended by too many attempts,
	// until they expire. The number may be off by a few if replies were lost.
	Live(ctx context.Context, now time.Time) (int, error)
}

// Skew is how far the clocks of nodes that share a store may differ.
const Skew = 30 * time.Minute

// LongWait is the answer of Store.Wait if only an operator can end the wait.
const LongWait = 24 * time.Hour

// MaxOf bounds the challenges that Of returns.
const MaxOf = 20
