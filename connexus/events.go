package connexus

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrPayload is in the chain of every error of [ParseEvent].
var ErrPayload = errors.New("invalid payload")

// Event is an event that WebSMS posts to a webhook: a [Reply], a [Report] or an
// [Unknown].
type Event interface {
	// EventType returns "mo" for a Reply, "dlr" for a Report, and otherwise the
	// type as it was received.
	EventType() string
}

// Reply is an SMS that a person sent back, type "mo" (WebSMS developer guide, step
// 6). Integrators also report the type "SMS". A field that is absent or of a wrong
// type is empty. Only the length of the body bounds the lengths of the fields.
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
// may come twice, late and out of order: see [State.Supersedes].
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

// Unknown is an event of a type that the guide does not name. Log it and acknowledge
// it: otherwise WebSMS sends it again (WebSMS developer guide, step 6).
type Unknown struct {
	Type string
}

// EventType returns u.Type.
func (u Unknown) EventType() string { return u.Type }

// ParseEvent reads the body of a webhook request. The body must be one JSON object
// with a string "type". Otherwise the error wraps [ErrPayload].
//
// ParseEvent tolerates all else: types in any case, numbers for strings and strings
// for numbers, fields that are absent, null or wrong. If a name comes twice, the last
// one counts. Bytes that are not UTF-8 become U+FFFD. Timestamps are seconds or
// milliseconds since 1970, or RFC 3339.
//
// The caller must bound the size of body, and the length of a field that it logs.
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
