package connexus

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind says what went wrong, as far as the caller would act differently.
type Kind int

// The kinds of [Error]. Each has a sentinel error that [errors.Is] finds.
const (
	KindFunds       Kind = iota + 1 // the account cannot pay for the message
	KindCredentials                 // the API key, or every token got with it, is refused
	KindBadRequest                  // the message itself is refused, here before sending or by WebSMS
	KindThrottled                   // too many messages: see RetryAfter
	KindUnavailable                 // no connection, a broken one, or HTTP 5xx
	KindMalformed                   // a reply that is not the API's: HTML, truncated, unknown
	KindTimeout                     // no answer in time
	KindCanceled                    // the caller's context or the client itself ended
)

// Sentinels, one for each [Kind], matched by [errors.Is].
var (
	ErrFunds       = errors.New("the account is out of funds: top it up at websms.co.nz")
	ErrCredentials = errors.New("the credentials are refused: check client id and client secret")
	ErrBadRequest  = errors.New("the request is refused: check the message and the base URL")
	ErrThrottled   = errors.New("too many messages: send again later")
	ErrUnavailable = errors.New("the service is unavailable: try again later")
	ErrMalformed   = errors.New("the reply is not understood: check the base URL")
	ErrTimeout     = errors.New("no answer in time: try again later")
	ErrCanceled    = errors.New("the call was ended before its answer came")
)

var kinds = [...]struct {
	label    string
	sentinel error
}{
	0:               {"unknown", nil},
	KindFunds:       {"funds", ErrFunds},
	KindCredentials: {"credentials", ErrCredentials},
	KindBadRequest:  {"bad_request", ErrBadRequest},
	KindThrottled:   {"throttled", ErrThrottled},
	KindUnavailable: {"unavailable", ErrUnavailable},
	KindMalformed:   {"malformed", ErrMalformed},
	KindTimeout:     {"timeout", ErrTimeout},
	KindCanceled:    {"canceled", ErrCanceled},
}

// String returns a stable lower-case word, such as "bad_request", fit to be the
// label of a metric; "unknown" for a value that is none of the constants.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(kinds) {
		k = 0
	}
	return kinds[k].label
}

// Error is the error of every method of [Client]. Its text, and the texts of what
// it wraps, hold no secret, token, code or telephone number.
type Error struct {
	Kind Kind

	// Endpoint is EndpointToken or EndpointOTP.
	Endpoint string

	// Status is the HTTP status, or 0 when none came.
	Status int

	// Message is what WebSMS wrote, for a person to read: at most 200 characters,
	// without control characters, digits masked from four in a row.
	Message string

	// RetryAfter is how long WebSMS asks to wait, at most a day; 0 if it does not.
	RetryAfter time.Duration

	// MaybeAccepted is set when WebSMS may have taken the message in spite of the
	// error, so that it may arrive and be billed: after a time-out or a broken
	// connection once the request was on its way, a successful reply that makes no
	// sense, or HTTP 5xx without a clear refusal. Always false for EndpointToken.
	MaybeAccepted bool

	// Err is the cause, where there is one.
	Err error

	again bool // not accepted, and the same request may be tried once more
}

// Error says what failed, where, and what to do about it.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("connexus: ")
	b.WriteString(e.Endpoint)
	if sentinel := e.sentinel(); sentinel != nil {
		fmt.Fprintf(&b, ": %v", sentinel)
	}
	if e.Status != 0 {
		fmt.Fprintf(&b, " (HTTP %d)", e.Status)
	}
	if e.Message != "" {
		fmt.Fprintf(&b, ": WebSMS says %q", e.Message)
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, ": retry after %s", e.RetryAfter)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the sentinel of e.Kind.
func (e *Error) Is(target error) bool {
	sentinel := e.sentinel()
	return sentinel != nil && target == sentinel
}

func (e *Error) sentinel() error {
	if e.Kind < 0 || int(e.Kind) >= len(kinds) {
		return nil
	}
	return kinds[e.Kind].sentinel
}
