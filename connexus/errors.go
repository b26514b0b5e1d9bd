package connexus

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind is the kind of an [Error]. Callers act differently on each.
type Kind int

// The kinds of [Error]. Each has a sentinel error that [errors.Is] finds.
const (
	KindFunds       Kind = iota + 1 // the account cannot pay for the message
	KindCredentials                 // the API key, or every token got with it, is refused
	KindBadRequest                  // the message itself is refused, here before sending or by WebSMS
	KindThrottled                   // too many messages: see [Error.RetryAfter]
	KindUnavailable                 // no connection, a broken one, or HTTP 5xx
	KindMalformed                   // not a reply of the API: HTML, truncated, unknown
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

// String returns a stable lower-case word, such as "bad_request", for the label of a
// metric. It returns "unknown" for a value that is none of the constants.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(kinds) {
		k = 0
	}
	return kinds[k].label
}

// Error is the error of every method of [Client]. Its text and the texts of the errors
// that it wraps hold no secret, token, code or telephone number.
type Error struct {
	Kind Kind

	// Endpoint is one of the Endpoint constants.
	Endpoint string

	// Status is the HTTP status, or 0 if there was no reply.
	Status int

	// Message is the error text of WebSMS, for a person to read. It has at most
	// 200 characters and no control characters. Numbers of four digits or more
	// are masked.
	Message string

	// RetryAfter is the wait that WebSMS asks for, at most a day. It is 0 if WebSMS
	// asks for none.
	RetryAfter time.Duration

	// MaybeAccepted says that WebSMS may have taken the message in spite of the
	// error, so that it may arrive and be billed. It is true after a time-out or a
	// broken connection once the request may have left, after a successful reply
	// that is not understood, and after HTTP 5xx without a clear refusal. It is
	// always false for EndpointToken and EndpointBalance.
	MaybeAccepted bool

	// Err is the cause, or nil.
	Err error

	again bool // the message was not accepted, and may be sent once more
	stale bool // WebSMS refused the bearer token, and so the message
}

// Error returns the endpoint, the failure and a remedy in one line.
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

// Is reports whether target is the sentinel error of e.Kind.
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
