package connexus

import "strings"

// State is the progress of a message according to its delivery reports.
type State uint8

// The states. Those that may still change come before the final ones.
const (
	StateUnknown     State = iota // there is no report that is understood
	StateQueued                   // with WebSMS
	StateAccepted                 // with the carrier
	StateExpired                  // not delivered in time, unless a final report follows
	StateUndelivered              // final, unless a late report says delivered
	StateRejected                 // final, unless a late report says delivered
	StateBlocked                  // final
	StateDelivered                // final
)

var stateNames = [...]string{
	"unknown", "queued", "accepted", "expired", "undelivered", "rejected", "blocked", "delivered",
}

// String returns the state as a lower-case word, such as "queued".
func (s State) String() string {
	if int(s) >= len(stateNames) {
		s = StateUnknown
	}
	return stateNames[s]
}

// Final reports whether the state is one that WebSMS ends with: delivered,
// undelivered, rejected or blocked.
func (s State) Final() bool { return StateUndelivered <= s && s <= StateDelivered }

// Supersedes reports whether a report of state s changes a message in state old.
// Reports arrive in any order and more than once, so a state never goes back. Nothing
// follows delivered or blocked. Only delivered follows undelivered or rejected.
// StateUnknown supersedes nothing.
func (s State) Supersedes(old State) bool {
	if old.Final() {
		return s == StateDelivered && (old == StateUndelivered || old == StateRejected)
	}
	return s <= StateDelivered && s > old
}

// codeStates holds the status codes of the guide (WebSMS developer guide, step 6), and
// the -1 that integrators report for a blocked number.
var codeStates = map[int]State{
	1:  StateDelivered,
	2:  StateUndelivered,
	4:  StateQueued,
	8:  StateAccepted,
	16: StateRejected,
	-1: StateBlocked,
}

// textStates finds a state by the beginning of its text, because the guide writes
// "DELIVRD" and others write "DELIVERED".
var textStates = []struct {
	prefix string
	state  State
}{
	{"DELIV", StateDelivered},
	{"UNDELIV", StateUndelivered},
	{"QUEUED", StateQueued},
	{"EXPIR", StateExpired},
	{"ACCEPT", StateAccepted},
	{"REJECT", StateRejected},
	{"BLOCK", StateBlocked},
}

// State returns the state that the report states. The status code decides, except
// that 4 stands for both queued and expired: there the text decides. A code that is
// not in the guide gives StateUnknown. Without a code, the text decides.
func (r Report) State() State {
	text := StateUnknown
	word := strings.ToUpper(strings.TrimSpace(r.Status))
	for _, t := range textStates {
		if strings.HasPrefix(word, t.prefix) {
			text = t.state
		}
	}
	if !r.HasStatusCode {
		return text
	}
	state := codeStates[r.StatusCode]
	if state == StateQueued && text == StateExpired {
		return StateExpired
	}
	return state
}
