package websmstest

import (
	"slices"
	"time"
)

// Message is one accepted SMS, as it was when it was asked for.
type Message struct {
	// ID names the message in replies and delivery reports.
	ID string

	// To is the receiving number: E.164 digits without "+".
	To string

	// Body is the whole text of the SMS; its lines end in "\n".
	Body string

	// Code is the one-time code in Body, 4 to 8 digits.
	Code string

	// Company, Comment and WebOTPDomain are the fields msgCompany,
	// msgComment and webOtpDomain of the request.
	Company, Comment, WebOTPDomain string

	// OwnCode says that the request brought the code (msgCode).
	OwnCode bool

	// Sandbox says that the request asked not to be billed (sandbox=1).
	Sandbox bool

	// At is when the message was accepted.
	At time.Time

	// State is what the latest delivery report said: "accepted" (also
	// before any report), "queued", "delivered", "undelivered", "rejected"
	// or "blocked".
	State string

	// Replies are the answers sent from the phone, oldest first.
	Replies []string
}

// message is a Message as the simulator holds it. state.mu guards the fields
// that change: State, Replies, trouble and rev.
type message struct {
	Message

	// numeric gives the id as a JSON number, in the reply and in reports.
	numeric bool

	// trouble says why the webhook does not have the latest report or
	// reply, for the person at the inbox; empty when it does.
	trouble string

	// rev is the state's revision of the last change.
	rev uint64
}

// copy returns a Message that later changes do not reach. The caller holds
// state.mu.
func (m *message) copy() Message {
	c := m.Message
	c.Replies = slices.Clone(m.Replies)
	return c
}

// Delivery is what becomes of a message once it is accepted.
type Delivery string

// The ways in which a message can be delivered.
const (
	// DeliverNow reports 8 (accepted by the carrier) at once and 1
	// (delivered) after Options.DeliveryDelay. It is the default.
	DeliverNow Delivery = "now"

	// DeliverLate reports 8 at once and 1 after Options.LateDelay.
	DeliverLate Delivery = "late"

	// Undelivered reports 8 at once and 2 after Options.DeliveryDelay.
	Undelivered Delivery = "undelivered"

	// Rejected reports 16 alone, after Options.DeliveryDelay.
	Rejected Delivery = "rejected"

	// Silent reports nothing.
	Silent Delivery = "silent"
)

// step is one delivery report to come.
type step struct {
	statusCode int
	after      time.Duration // since the step before was first posted
}

// steps returns the reports that d leads to.
func (d Delivery) steps(o Options) []step {
	switch d {
	case DeliverLate:
		return []step{{8, 0}, {1, o.LateDelay}}
	case Undelivered:
		return []step{{8, 0}, {2, o.DeliveryDelay}}
	case Rejected:
		return []step{{16, o.DeliveryDelay}}
	case Silent:
		return nil
	default:
		return []step{{8, 0}, {1, o.DeliveryDelay}}
	}
}

// reportText gives the status text that goes with a status code (WebSMS
// developer guide, step 6; -1 as integrators report it) and the state it
// leaves a message in.
func reportText(statusCode int) (status, state string) {
	switch statusCode {
	case 1:
		return "DELIVRD", "delivered"
	case 2:
		return "UNDELIV", "undelivered"
	case 4:
		return "QUEUED", "queued"
	case 8:
		return "ACCEPTD", "accepted"
	case 16:
		return "UNDELIV", "rejected"
	case -1:
		return "BLOCKED", "blocked"
	default:
		return "UNKNOWN", ""
	}
}
