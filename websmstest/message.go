package websmstest

import (
	"slices"
	"time"
)

// Message is a copy of one accepted SMS.
type Message struct {
	// ID names the message in the API reply and in delivery reports.
	ID string

	// To is the receiving number: E.164 digits without "+".
	To string

	// Body is the whole text of the SMS. Its lines are separated by "\n".
	Body string

	// Code is the one-time code in Body, 4 to 8 digits. A message of /sms/out has
	// none.
	Code string

	// Company, Comment and WebOTPDomain are the fields msgCompany,
	// msgComment and webOtpDomain of the request.
	Company, Comment, WebOTPDomain string

	// OwnCode says that the request held the code (msgCode).
	OwnCode bool

	// Sandbox says that the request asked not to be billed (sandbox=1).
	Sandbox bool

	// At is the time of acceptance.
	At time.Time

	// State is the state by the latest delivery report: "accepted" (also before
	// the first report), "queued", "delivered", "undelivered", "rejected" or
	// "blocked".
	State string

	// Held is the domain in the text that holds the message back, such as
	// "kowhai.nz", or empty. It is held until [Simulator.Whitelist] is called. Its
	// State is "queued", and nothing is reported. The line of webOtpDomain holds no
	// message.
	Held string

	// Replies holds the answers from the phone, oldest first. After STOP,
	// UNSUBSCRIBE or OPTOUT, later messages to the number are reported as blocked
	// (-1). START undoes that.
	Replies []string
}

// message is a Message that the simulator keeps. state.mu guards the fields that
// change: State, Held, Replies, trouble and rev.
type message struct {
	Message

	plain    bool     // a message of /sms/out: Body is the text as it was sent
	optedOut bool     // its number had answered STOP
	delivery Delivery // its fate, once it is not held

	// numeric says to write the id as a JSON number, in the reply and in reports.
	numeric bool

	// trouble is the error of the latest post to the webhook, for the inbox page.
	// It is empty after a success.
	trouble string

	// rev is the state's revision of the last change.
	rev uint64
}

// copy returns a Message that does not change later. The caller holds state.mu.
func (m *message) copy() Message {
	c := m.Message
	c.Replies = slices.Clone(m.Replies)
	return c
}

// Delivery is the fate of a message after its acceptance.
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

	// Rejected reports 16 after Options.DeliveryDelay, and nothing before it.
	Rejected Delivery = "rejected"

	// Blocked reports -1 after Options.DeliveryDelay, and nothing before it. A
	// message to a number that answered STOP is delivered so.
	Blocked Delivery = "blocked"

	// Silent reports nothing.
	Silent Delivery = "silent"
)

// step is one future delivery report.
type step struct {
	statusCode int
	after      time.Duration // since the first try of the step before
}

// steps returns the reports of d.
func (d Delivery) steps(o Options) []step {
	switch d {
	case DeliverLate:
		return []step{{8, 0}, {1, o.LateDelay}}
	case Undelivered:
		return []step{{8, 0}, {2, o.DeliveryDelay}}
	case Rejected:
		return []step{{16, o.DeliveryDelay}}
	case Blocked:
		return []step{{-1, o.DeliveryDelay}}
	case Silent:
		return nil
	default:
		return []step{{8, 0}, {1, o.DeliveryDelay}}
	}
}

// reportText returns the status text of a status code, and the state that a message
// has after such a report. The texts are from the WebSMS developer guide, step 6, and
// -1 from integrators. An unknown code does not change the state.
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
