package otp

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddy-websms/websms/session"
)

// ID names a challenge. It is 128 random bits, known to the browser that asked.
type ID = session.ID

// MaxLife is the longest life of a code, counted from its first sending. A resend
// does not extend it (NIST SP 800-63B-4, section 3.1.3.2: ten minutes).
const MaxLife = 10 * time.Minute

// ReuseTime is how long a store knows that a code was right, after the challenge has
// ended. A browser may post a form twice, for example because the answer is slow.
const ReuseTime = 10 * time.Second

// Status says how far the delivery of a code is.
type Status string

// The statuses of a challenge.
const (
	Queued    Status = "queued"    // not yet taken by WebSMS
	Accepted  Status = "accepted"  // WebSMS, or the carrier, has it
	Delivered Status = "delivered" // the phone has it
	Failed    Status = "failed"    // the message may never arrive, but its code still works
)

// Challenge is the public part of a challenge: one code that waits for its answer.
// It holds neither the code nor the number.
type Challenge struct {
	ID           ID
	Status       Status
	CodeLength   int
	AttemptsLeft int
	ExpiresAt    time.Time
	ResendAt     time.Time // the earliest time of a resend
	Settled      bool      // the outcome of the latest sending is known
	VerifiedAt   time.Time // when the right code came; zero before
}

// Policy holds the rules of a gate for its challenges. It has no defaults.
type Policy struct {
	// Scope keeps the challenges and counters of a gate apart from those of others.
	// Gates with one scope share their limits.
	Scope string
	// Length is the length of a code in digits, 4 to 8.
	Length int
	// TTL is the life of a code after its latest sending. MaxLife after the first
	// sending, the code ends in any case.
	TTL time.Duration
	// Attempts is the number of answers to a challenge, right or wrong.
	Attempts int
	// Remote lets WebSMS make the code. The engine reads it from the reply.
	Remote bool
	// Company and Comment are parts of the message: see connexus.OTP.
	Company, Comment string
	// PerNumber limits the codes sent to one number. PerIP limits the codes
	// that one IP address may ask for. Budget limits the codes of the scope. A nil
	// list stands for no limit.
	PerNumber, PerIP, Budget []Rate
	// Cooldown is the wait between the first sending and the first resend. It
	// doubles with each resend.
	Cooldown time.Duration
	// Lockout limits the failures of a number across challenges.
	Lockout Lockout
}

// The reasons to refuse a step. All are expected: none is a fault of the program.
var (
	// ErrNoChallenge says that the challenge does not exist. It may have been
	// answered or replaced.
	ErrNoChallenge = errors.New("no challenge")
	// ErrExpired says that the life of the code is over.
	ErrExpired = errors.New("code expired")
	// ErrTooManyAttempts says that the challenge takes no more answers.
	ErrTooManyAttempts = errors.New("too many attempts")
	// ErrWrongCode says that the code is wrong, and that the attempt was counted.
	ErrWrongCode = errors.New("wrong code")
	// ErrIncomplete says that the text cannot be the code, because it does not hold
	// as many digits. No attempt was counted.
	ErrIncomplete = errors.New("incomplete code")
	// ErrUsed says that the code was right, but has been used before, no longer than
	// ReuseTime ago. It is an ErrNoChallenge.
	ErrUsed = fmt.Errorf("%w: the code was used before", ErrNoChallenge)
)

// UnavailableError says that a store is full or down, that too many sends are
// in flight, or that the keys are not known yet. Nothing was sent.
type UnavailableError struct {
	Reason     string        // in English, for a log
	RetryAfter time.Duration // when to try again
	Err        error         // the cause, or nil
}

// Error returns the reason and the cause.
func (e *UnavailableError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("unavailable: %s: %v", e.Reason, e.Err)
	}
	return "unavailable: " + e.Reason
}

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Err }
