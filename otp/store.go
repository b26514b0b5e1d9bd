package otp

import (
	"context"
	"time"

	"github.com/caddy-websms/websms/connexus"
)

// Store keeps challenges and counts what is limited. Every method is atomic:
// it happens wholly or not at all, and no two of them interleave, on whichever
// node they run. A store that cannot answer returns an *UnavailableError.
//
// The time is always the caller's, in whole microseconds: the finest that
// every store can reckon with (to a Redis script a number is a float of 53
// bits, in which the microseconds since 1970 are exact until the year 2255).
//
// The time may leap, both ways. If a stored time is more than Skew in the
// future, a clock that was ahead has written it. The first call that meets such
// a time counts it as now: a window, a lock or a life ends as if it had begun
// with that call. So a clock that was ahead shuts nobody out for longer. If all
// callers of a store share one clock, the bound is Disorder instead of Skew.
//
// A scope (Policy.Scope) parts what a store keeps: whoever made a challenge or
// a counter in one names the same one to find it again. What is to change at
// once is always of one scope, so a store may keep each on another machine.
//
// A store sees no code and no number: a code arrives sealed and as a proof
// (a keyed hash), a counter under a keyed hash.
type Store interface {
	// Reserve creates a challenge and takes its sending from every counter.
	// It returns a *LimitError if one of them is exhausted or the run of
	// failures is locked, and an *UnavailableError if there is no room; then
	// nothing has changed.
	Reserve(ctx context.Context, r *Reservation) error

	// Resend takes another sending of the challenge id from the counters, and
	// extends its life. It returns what Reserve was given as Sealed, or ErrNoChallenge,
	// ErrExpired, ErrTooManyAttempts, or a *LimitError.
	Resend(ctx context.Context, id ID, r *Renewal) (Record, error)

	// Settle records how a sending went, and gives back what it says. It may be
	// called more than once for one sending: the latest counts. Of a challenge
	// that is gone it only remembers the message id.
	Settle(ctx context.Context, id ID, s *Settlement) error

	// Attempt counts an attempt against the challenge, compares the proof with
	// the challenge's, in constant time, and counts a wrong one against the run
	// of failures, all in one step. No attempt is right while every sending was
	// refused.
	//
	// It returns nil for the one attempt that is right, and counts no failure.
	// Then it deletes the challenge and its run of failures, unless the run is
	// the one that the devices beyond MaxDevices share.
	//
	// For a wrong attempt it returns ErrWrongCode and the record after the
	// attempt. If the attempt has locked the run, the error is joined with the
	// *LimitError of that lock.
	//
	// It returns ErrNoChallenge, ErrExpired, ErrTooManyAttempts or, while the run
	// is locked, a *LimitError; then it has neither counted nor compared.
	Attempt(ctx context.Context, id ID, a *Answer) (Record, error)

	// Unlock forgets the failures that are counted for a number, of every
	// device, and reports whether there were any.
	Unlock(ctx context.Context, scope string, number Digest) (bool, error)

	// Get returns a challenge, or ErrNoChallenge, ErrExpired or, with the
	// record, ErrTooManyAttempts.
	Get(ctx context.Context, scope string, id ID, now time.Time) (Record, error)

	// Of returns the challenges of a number, newest first, as Get does: those
	// that await their answer, and those that died of wrong ones and have not
	// expired; without what was sealed, and no more than MaxOf. It is for
	// operators.
	Of(ctx context.Context, scope string, number Digest, now time.Time) ([]Record, error)

	// Report applies a delivery report to the challenge whose code was sent
	// as messageID. A report that arrives before its sending is settled is
	// kept for it. It returns how long ago that sending began, and true, if
	// the report moved a challenge. With an *UnavailableError it is applied as
	// soon as the store can be asked.
	Report(ctx context.Context, messageID string, state connexus.State, now time.Time) (time.Duration, bool, error)

	// Watch returns a channel that is closed at the next change of the
	// challenge id, and a function to stop watching. It may be closed once for
	// nothing, when a store has begun to hear of what others change.
	Watch(id ID) (changed <-chan struct{}, stop func())

	// First reports whether key is new within ttl, and remembers it: of any
	// number of callers with one key, one is the first.
	First(ctx context.Context, key Digest, ttl time.Duration, now time.Time) (bool, error)

	// Begin gives the key to l.Holder until the lease is over. Only one holder
	// has a key at a time, and it renews its lease by the same call. Begin returns
	// ErrDone if the key is marked as done, by Done or by First, and an
	// *InWorkError while another holder's lease runs; then nothing has changed.
	Begin(ctx context.Context, key Digest, l Lease) error

	// Done marks the key as done for ttl, even if another holder has it. With an
	// *UnavailableError it is marked as soon as the store can be asked.
	Done(ctx context.Context, key Digest, ttl time.Duration, now time.Time) error

	// Forget ends the work of a holder that did not finish it: the next Begin
	// gets the key. It changes nothing if the key is marked as done, or if
	// another holder has it. The holder "" stands for an operator: then the key
	// is forgotten in any case. With an *UnavailableError the work is ended as
	// soon as the store can be asked.
	Forget(ctx context.Context, key Digest, holder string) error

	// Try counts one try under c, or returns a *LimitError if a rate of c is
	// exhausted. It is for tries that cost no message. A store may forget the
	// counters of Try that were used least recently. It keeps them apart from
	// all other counters, so that strangers cannot push the others out.
	Try(ctx context.Context, scope string, c Counter, now time.Time) error

	// Used returns how many sendings count within each of the counter's rates.
	Used(ctx context.Context, scope string, c Counter, now time.Time) ([]int, error)

	// Clear forgets all that was counted under a counter and all that was given
	// back there. It reports whether it knew the counter. It is for operators.
	Clear(ctx context.Context, scope string, c Counter) (bool, error)

	// Live returns how many challenges take room: those that await their
	// answer, and those that died of wrong ones and have not expired. It is for
	// operators, and may be off by a few where answers were lost.
	Live(ctx context.Context, now time.Time) (int, error)
}

// Skew is how far the clocks of nodes that share a store may differ.
const Skew = 30 * time.Minute

// MaxOf bounds the challenges that Of returns.
const MaxOf = 20

// Digest is a keyed hash.
type Digest [32]byte

// Counter is what a sending is counted under, and how much is allowed there.
type Counter struct {
	Limit string // as in LimitError
	Key   Digest
	Rates []Rate
}

// Run is whose wrong codes in a row are counted together. The zero Run is
// nobody's: nothing is counted, and nothing locked.
type Run struct {
	Number Digest // a keyed hash of it
	// Device is one that has verified the number before, and has a run of its
	// own, so that a stranger's guesses do not lock its owner out. Zero stands
	// for all strangers, who share one run. A run begins with its first wrong
	// code. If MaxDevices devices of a number have runs of their own, all other
	// known devices share one more run, and no right code ends that one.
	Device  Digest
	Lockout Lockout
}

// MaxDevices bounds the devices of a number that have a run of their own. So a
// person who verified the number often, and kept each device cookie, does not
// gain guesses with every cookie.
const MaxDevices = 4

// RunLife is how long a run of failures is remembered after the latest of
// them: as long as any session can last.
const RunLife = 8760 * time.Hour

// Answer is one attempt at a challenge.
type Answer struct {
	Scope string
	Proof Digest
	Run   Run
	Now   time.Time
}

// Reservation is a challenge about to be sent.
type Reservation struct {
	Scope    string
	ID       ID
	Replaces ID     // the browser's former challenge, which ends; zero: none
	Sealed   []byte // the code, for a resend
	Proof    Digest // what the right code's proof will be
	Length   int    // of the code, in digits
	Attempts int
	Now      time.Time
	TTL      time.Duration
	Cooldown time.Duration
	Counters []Counter
	Run      Run
}

// Renewal is another sending of a challenge.
type Renewal struct {
	Scope    string
	Now      time.Time
	TTL      time.Duration
	Cooldown time.Duration // the first; the store doubles it for each sending
	Counters []Counter
	Run      Run
}

// Settlement is how a sending went.
type Settlement struct {
	Scope     string
	Sending   int       // which: 1 is the first
	MessageID string    // WebSMS's, where it gave one
	Status    Status    // Accepted or Failed
	Taken     time.Time // when the sending was taken from the counters
	Now       time.Time
	// Made is the code where WebSMS made it; nil where we did.
	Made *Made
	// Refused says that it is certain that nothing was sent. While that is
	// so of every sending of a challenge, no code is right.
	Refused bool
	// Return are the counters that a refused sending is given back to: only
	// if its challenge lives and was not answered since, and no more often
	// within their windows than their rates allow sendings. Else refusals,
	// which an asker can bring about, would lift the limits.
	Return []Counter
}

// Made is a code that WebSMS made: it replaces what the reservation says of it.
type Made struct {
	Sealed []byte
	Proof  Digest
	Length int
}

// Record is a challenge as a store keeps it.
type Record struct {
	Challenge
	Sending int    // how often its code was sent
	Sealed  []byte // the code
}
