// Package otp is the life of a challenge: one code sent to one number,
// awaiting its answer.
//
// It promises that nothing is sent that could not be recorded and afforded
// first; that an attempt is counted before it is compared, in constant time;
// that the right code works once, however many ask at the same moment; and
// that a store never sees a code or a number in clear.
package otp

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddy-websms/websms/session"
)

// ID names a challenge: 128 random bits, known to the browser that asked.
type ID = session.ID

// MaxLife is the longest a code may live, counted from its first sending,
// whatever is resent (NIST SP 800-63B-4, 3.1.3.2: ten minutes).
const MaxLife = 10 * time.Minute

// Status says how the sending of a challenge's code went.
type Status string

// The statuses of a challenge.
const (
	Queued    Status = "queued"    // not yet taken by WebSMS
	Accepted  Status = "accepted"  // WebSMS, or the carrier, has it
	Delivered Status = "delivered" // the phone has it
	Failed    Status = "failed"    // it may never arrive; the challenge stays open to it
)

// Challenge is what may be known of a challenge. It holds neither its code
// nor its number.
type Challenge struct {
	ID           ID
	Status       Status
	CodeLength   int
	AttemptsLeft int
	ExpiresAt    time.Time
	ResendAt     time.Time // before it, a resend is refused
	Settled      bool      // it is known how the latest sending went
}

// Policy is what a gate asks of its challenges.
type Policy struct {
	// Scope separates the counters of gates that are to be limited apart.
	Scope string
	// Length of a code in digits, 4 to 8.
	Length int
	// TTL is a code's life from its latest sending; never beyond MaxLife from its first.
	TTL time.Duration
	// Attempts at a code, right or wrong, before its challenge is dead.
	Attempts int
	// Remote lets WebSMS make the code, and reads it from its reply.
	Remote bool
	// Company and Comment are sent with the code.
	Company, Comment string
	// PerNumber limits the codes sent to one number, PerClient those asked for
	// from one network address, Budget those sent in all.
	PerNumber, PerClient, Budget []Rate
	// Cooldown is how long after a sending the first resend is refused. It
	// doubles with each.
	Cooldown time.Duration
	// Lockout ends guessing across challenges.
	Lockout Lockout
}

// The reasons for which a step is refused. All are expected: none is a fault
// of the program.
var (
	// ErrNoChallenge says that there is none: never was, was met, or was replaced.
	ErrNoChallenge = errors.New("no challenge")
	// ErrExpired says that the code's life is over.
	ErrExpired = errors.New("code expired")
	// ErrTooManyAttempts says that the challenge is dead.
	ErrTooManyAttempts = errors.New("too many attempts")
	// ErrWrongCode says that the code was not it, and the attempt was counted.
	ErrWrongCode = errors.New("wrong code")
)

// UnavailableError says that a store is full or down, that too many sends are
// in flight, or that the keys are not known yet. Nothing was sent.
type UnavailableError struct {
	Reason     string
	RetryAfter time.Duration
	Err        error // the cause, where there is one
}

func (e *UnavailableError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("unavailable: %s: %v", e.Reason, e.Err)
	}
	return "unavailable: " + e.Reason
}

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Err }
