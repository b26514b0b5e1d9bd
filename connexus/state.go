package connexus

import "strings"

// State is how far a message has come, by its delivery reports.
type State uint8

// The states, those that may yet change before those that are final.
const (
	StateUnknown     State = iota // no report that is understood
	StateQueued                   // with WebSMS
	StateAccepted                 // with the carrier
	StateExpired                  // given up before it was delivered, unless a final report follows
	StateUndelivered              // final, but for a late report of delivery
	StateRejected                 // final, but for a late report of delivery
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

// Supersedes reports whether a message that was in state old is in state s once a
// report says s. Reports arrive in any order and more than once, so a state never
// goes back: nothing follows delivered or blocked, and only delivered follows
// undelivered or rejected. StateUnknown supersedes nothing.
func (s State) Supersedes(old State) bool {
	if old.Final() {
		return s == StateDelivered && (old == StateUndelivered || old == StateRejected)
	}
	return s <= StateDelivered && s > old
}

// codeStates is the guide's table (WebSMS developer guide, step 6), and the -1 that
// integrators report for a blocked number.
var codeStates = map[int]State{
	1:  StateDelivered,
	2:  StateUndelivered,
	4:  StateQueued,
	8:  StateAccepted,
	16: StateRejected,
	-1: StateBlocked,
}

// textStates finds a state by how its text begins: "DELIVRD" as the guide writes
// it, and "DELIVERED" as others do.
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

// State returns what the report says. The code decides, save that 4 stands for both
// queued and expired, which its text tells apart. A code that is not in the guide is
// StateUnknown, whatever the text; without a code the text decides.
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
