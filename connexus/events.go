package connexus

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrPayload is in the chain of every error of [ParseEvent].
var ErrPayload = errors.New("invalid payload")

// Event is what WebSMS posts to a webhook: a [Reply], a [Report] or an [Unknown].
type Event interface {
	// EventType returns "mo" for a Reply, "dlr" for a Report, and otherwise the
	// type as it was received.
	EventType() string
}

// Reply is an SMS that somebody sent back, type "mo", also seen as "SMS" (WebSMS
// developer guide, step 6). A field that is absent or of a wrong type is empty.
// Lengths are bounded by the body's alone.
type Reply struct {
	MessageID string
	From      string // a telephone number, as received
	To        string // a telephone number or a short code, as received
	Body      string
	Encoding  string
	Network   string
	Timestamp time.Time // UTC; zero if absent or not understood
}

// EventType returns "mo".
func (Reply) EventType() string { return "mo" }

// Report is a delivery report, type "dlr" (WebSMS developer guide, step 6). Reports
// come twice, late and out of order: see [State.Supersedes].
type Report struct {
	MessageID         string // a Receipt.MessageID
	CustomerMessageID string
	Status            string // such as "DELIVRD"
	StatusCode        int    // meaningful if HasStatusCode
	HasStatusCode     bool
	Timestamp         time.Time // UTC; zero if absent or not understood
}

// EventType returns "dlr".
func (Report) EventType() string { return "dlr" }

// Unknown is an event of a type that the guide does not know. It should be logged
// and acknowledged, lest WebSMS send it again (WebSMS developer guide, step 6).
type Unknown struct {
	Type string
}

// EventType returns u.Type.
func (u Unknown) EventType() string { return u.Type }

// ParseEvent reads the body of a webhook request. It asks for a JSON object, with
// nothing after it, that has a string "type", and otherwise returns an error that
// wraps [ErrPayload]. Beyond that it takes what comes: types in any case, numbers
// for strings and strings for numbers, fields that are absent, null or wrong, names
// that come twice (the last counts), bytes that are not UTF-8 (they become U+FFFD).
//
// Timestamps are seconds or milliseconds since 1970, or RFC 3339.
//
// The size of body is the caller's to bound. So is the length of a field where it is
// logged.
func ParseEvent(body []byte) (Event, error) {
	obj, ok := parseObject(body)
	if !ok {
		return nil, fmt.Errorf("connexus: %w: the body is not one JSON object", ErrPayload)
	}
	kind, ok := obj.str("type")
	if !ok {
		return nil, fmt.Errorf("connexus: %w: the object has no string \"type\"", ErrPayload)
	}
	switch strings.ToLower(kind) {
	case "mo", "sms":
		return Reply{
			MessageID: obj.id(),
			From:      obj.text("from"),
			To:        obj.text("to"),
			Body:      obj.text("body"),
			Encoding:  obj.text("encoding"),
			Network:   obj.text("network"),
			Timestamp: obj.time("timestamp"),
		}, nil
	case "dlr":
		code, hasCode := obj.integer("statusCode")
		return Report{
			MessageID:         obj.id(),
			CustomerMessageID: obj.text("customerMessageId"),
			Status:            obj.text("status"),
			StatusCode:        code,
			HasStatusCode:     hasCode,
			Timestamp:         obj.time("timestamp"),
		}, nil
	}
	return Unknown{Type: kind}, nil
}
