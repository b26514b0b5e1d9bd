package connexus_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/connexus"
)

const (
	unknown     = connexus.StateUnknown
	queued      = connexus.StateQueued
	accepted    = connexus.StateAccepted
	expired     = connexus.StateExpired
	undelivered = connexus.StateUndelivered
	rejected    = connexus.StateRejected
	blocked     = connexus.StateBlocked
	delivered   = connexus.StateDelivered
)

var states = []connexus.State{unknown, queued, accepted, expired, undelivered, rejected, blocked, delivered}

func TestReportState(t *testing.T) {
	const none = 1 << 20 // no code
	for _, test := range []struct {
		code   int
		status string
		want   connexus.State
	}{
		{1, "DELIVRD", delivered},
		{2, "UNDELIV", undelivered},
		{4, "QUEUED", queued},
		{4, "EXPIRED", expired},
		{4, "expired", expired},
		{4, "", queued},
		{4, "DELIVRD", queued},
		{8, "ACCEPTD", accepted},
		{16, "UNDELIV", rejected},
		{16, "REJECTD", rejected},
		{-1, "BLOCKED", blocked},
		{1, "EXPIRED", delivered},
		{0, "DELIVRD", unknown},
		{3, "DELIVRD", unknown},
		{-2, "", unknown},
		{none, "DELIVRD", delivered},
		{none, "delivered", delivered},
		{none, " DelivRd ", delivered},
		{none, "UNDELIV", undelivered},
		{none, "Undelivered", undelivered},
		{none, "QUEUED", queued},
		{none, "EXPIRED", expired},
		{none, "ACCEPTD", accepted},
		{none, "accepted", accepted},
		{none, "REJECTD", rejected},
		{none, "BLOCKED", blocked},
		{none, "", unknown},
		{none, "ENROUTE", unknown},
		{none, "NOT DELIVRD", unknown},
	} {
		r := connexus.Report{Status: test.status}
		if test.code != none {
			r.StatusCode, r.HasStatusCode = test.code, true
		}
		if got := r.State(); got != test.want {
			t.Errorf("code %d, status %q: got %v, want %v", test.code, test.status, got, test.want)
		}
	}
}

// Supersedes is tested for every pair of states.
func TestSupersedes(t *testing.T) {
	follows := map[connexus.State][]connexus.State{
		unknown:     {queued, accepted, expired, undelivered, rejected, blocked, delivered},
		queued:      {accepted, expired, undelivered, rejected, blocked, delivered},
		accepted:    {expired, undelivered, rejected, blocked, delivered},
		expired:     {undelivered, rejected, blocked, delivered},
		undelivered: {delivered},
		rejected:    {delivered},
		blocked:     nil,
		delivered:   nil,
	}
	for _, old := range states {
		for _, s := range slices.Concat(states, []connexus.State{8, 255}) {
			if got, want := s.Supersedes(old), slices.Contains(follows[old], s); got != want {
				t.Errorf("%v after %v: got %t, want %t", s, old, got, want)
			}
		}
	}
}

func TestStateNames(t *testing.T) {
	want := []string{"unknown", "queued", "accepted", "expired", "undelivered", "rejected", "blocked", "delivered"}
	final := []connexus.State{undelivered, rejected, blocked, delivered}
	for i, s := range states {
		if s.String() != want[i] || s.Final() != slices.Contains(final, s) {
			t.Errorf("state %d is %q, final %t", s, s, s.Final())
		}
	}
	if s := connexus.State(200); s.String() != "unknown" || s.Final() {
		t.Errorf("state 200 is %q, final %t", s, s.Final())
	}
}

// Reports of a message lead to the same state in any order and with any repetitions,
// unless two final states contradict each other.
func TestReportsInAnyOrder(t *testing.T) {
	apply := func(reports []connexus.State) connexus.State {
		state := unknown
		for _, s := range reports {
			if s.Supersedes(state) {
				state = s
			}
		}
		return state
	}
	rapid.Check(t, func(t *rapid.T) {
		ends := rapid.SampledFrom([][]connexus.State{
			{delivered}, {undelivered}, {rejected}, {blocked}, {undelivered, delivered}, {rejected, delivered}, {},
		}).Draw(t, "ends")
		open := rapid.SliceOf(rapid.SampledFrom([]connexus.State{unknown, queued, accepted, expired})).Draw(t, "open")
		reports := slices.Concat(open, ends)
		want := unknown
		for _, s := range reports {
			want = max(want, s)
		}
		again := rapid.SliceOf(rapid.SampledFrom(slices.Concat(reports, []connexus.State{unknown}))).Draw(t, "again")
		if got := apply(rapid.Permutation(slices.Concat(reports, again)).Draw(t, "order")); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}
