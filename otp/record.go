package otp

import (
	"time"

	"github.com/caddy-websms/websms/connexus"
)

// Digest is a keyed hash, as session.Ring.Digest makes it.
type Digest [32]byte

// Counter names a counter of sendings and the rates that limit it.
type Counter struct {
	Limit string // the name in a LimitError
	Key   Digest
	Rates []Rate
	// Before makes Store.Second count the sending as if it had been so long ago. So it
	// counts in long rates only.
	Before time.Duration
}

// Failures names the failures that count together: wrong codes in a row, of a number
// or of a device. For the zero Run, nothing is counted and nothing locked.
type Failures struct {
	Number Digest // the keyed hash of the number
	// Device is the keyed hash of a device that has verified the number before.
	// The zero Digest stands for any other device.
	//
	// Each known device has failures of its own, so that the guesses of strangers
	// do not lock its owner out. All strangers share one count. If MaxDevices
	// devices of a number have failures, all further known devices share one more
	// count, and no right code clears that one.
	Device  Digest
	Lockout Lockout
}

// MaxDevices bounds the devices of a number that have failures of their own. Without
// the bound, a person who verified a number often would gain guesses with each
// device cookie.
const MaxDevices = 4

// FailuresLife is how long failures are kept after the latest one: 365 days, as long as
// a session can last.
const FailuresLife = 8760 * time.Hour

// Answer is one attempt at a challenge, for Store.Attempt.
type Answer struct {
	Scope    string
	Proof    Digest
	Failures Failures
	Now      time.Time
	// Exact is Now to the nanosecond. The store keeps it for the right attempt, and
	// returns it as VerifiedAt with ErrUsed. It does not calculate with it.
	Exact time.Time
	// Again asks for ErrUsed. Set it if ErrUsed leads to the session that the first
	// attempt made. Without it, the store answers ErrNoChallenge, and can still take the
	// first attempt back if its answer was lost.
	Again bool
}

// Reservation is a new challenge, for Store.Reserve.
type Reservation struct {
	Scope    string
	ID       ID
	Replaces ID     // a former challenge of the browser, which ends; zero if there is none
	Sealed   []byte // the sealed code, for a resend
	Envelope []byte // sealed, for a second try; nil if there is to be none
	Proof    Digest // the proof of the right code
	Length   int    // of the code, in digits
	Attempts int
	Now      time.Time
	TTL      time.Duration
	Cooldown time.Duration
	Counters []Counter
	Failures Failures
}

// Renewal is another sending of a challenge, for Store.Resend.
type Renewal struct {
	Scope    string
	Now      time.Time
	TTL      time.Duration
	Cooldown time.Duration // after the first sending; the store doubles it for each further one
	Counters []Counter
	Failures Failures
}

// Settlement is the outcome of a sending, for Store.Settle.
type Settlement struct {
	Scope     string
	Sending   int       // the number of the sending, from 1
	MessageID string    // the id that WebSMS gave the message, or ""
	Status    Status    // Accepted or Failed
	Taken     time.Time // when the sending was counted
	Now       time.Time
	// Made is the code if WebSMS made it, and nil otherwise.
	Made *Made
	// Refused says that the message was certainly not sent. If this is true of
	// every sending of a challenge, no code is right.
	Refused bool
	// Early is set by Store.Settle, to a report that came before it, or to
	// StateUnknown.
	Early connexus.State
	// Return lists the counters that a refused sending is given back to. It is
	// given back only if the challenge lives and had no attempt since. Within a
	// window, a counter takes back no more sendings than its rates allow.
	// Otherwise people could lift the limits by causing refusals.
	Return []Counter
}

// Made is a code that WebSMS made. It replaces the code of the Reservation.
type Made struct {
	Sealed []byte
	Proof  Digest
	Length int
}

// Record is a stored challenge.
type Record struct {
	Challenge
	Sending  int    // how often the code was sent, without a second try
	Sealed   []byte // the sealed code
	Envelope []byte // the sealed envelope; only Store.Second sets it
}
