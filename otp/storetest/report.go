package storetest

import (
	"testing"
	"time"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
)

var reportTests = []test{
	{"sequences", reportSequences},
	{"age", reportAge},
	{"early", reportEarly},
	{"early for a resend", reportEarlyResend},
	{"of an older sending", reportOlder},
	{"delivered before it is settled", reportOvertakes},
	{"for the unknown and the gone", reportNowhere},
	{"changes nothing else", reportOnlyStatus},
}

// A delivery is a list of reports, and the status that the challenge must have after
// each of them.
type delivery struct {
	name    string
	settled otp.Status
	reports []connexus.State
	want    []otp.Status // after each report
}

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

var deliveries = []delivery{
	{"as it should be", otp.Accepted,
		[]connexus.State{queued, accepted, delivered},
		[]otp.Status{otp.Accepted, otp.Accepted, otp.Delivered}},
	{"repeated", otp.Accepted,
		[]connexus.State{delivered, delivered, delivered},
		[]otp.Status{otp.Delivered, otp.Delivered, otp.Delivered}},
	{"backwards", otp.Accepted,
		[]connexus.State{delivered, accepted, queued},
		[]otp.Status{otp.Delivered, otp.Delivered, otp.Delivered}},
	{"delivered is the end", otp.Accepted,
		[]connexus.State{delivered, undelivered, rejected, blocked, expired},
		[]otp.Status{otp.Delivered, otp.Delivered, otp.Delivered, otp.Delivered, otp.Delivered}},
	{"delivered after undelivered", otp.Accepted,
		[]connexus.State{undelivered, accepted, delivered},
		[]otp.Status{otp.Failed, otp.Failed, otp.Delivered}},
	{"delivered after rejected", otp.Accepted,
		[]connexus.State{rejected, rejected, queued, delivered},
		[]otp.Status{otp.Failed, otp.Failed, otp.Failed, otp.Delivered}},
	{"blocked is the end", otp.Accepted,
		[]connexus.State{blocked, delivered, accepted},
		[]otp.Status{otp.Failed, otp.Failed, otp.Failed}},
	{"expired, and yet delivered", otp.Accepted,
		[]connexus.State{expired, accepted, delivered},
		[]otp.Status{otp.Failed, otp.Failed, otp.Delivered}},
	{"expired, then undelivered", otp.Accepted,
		[]connexus.State{queued, expired, undelivered},
		[]otp.Status{otp.Accepted, otp.Failed, otp.Failed}},
	{"unknown", otp.Accepted,
		[]connexus.State{unknown, delivered, unknown},
		[]otp.Status{otp.Accepted, otp.Delivered, otp.Delivered}},
	{"failed, and yet taken", otp.Failed,
		[]connexus.State{queued, delivered},
		[]otp.Status{otp.Accepted, otp.Delivered}},
	{"failed, and yet delivered", otp.Failed,
		[]connexus.State{delivered},
		[]otp.Status{otp.Delivered}},
	{"failed indeed", otp.Failed,
		[]connexus.State{undelivered, delivered},
		[]otp.Status{otp.Failed, otp.Delivered}},
}

func reportSequences(t *testing.T, open Open) {
	for _, s := range deliveries {
		t.Run(s.name, func(t *testing.T) {
			d := newDesk(t, open, 10)
			id := d.reserve()
			d.mustSettle(id, &otp.Settlement{Sending: 1, MessageID: "m1", Status: s.settled, Taken: d.now, Now: d.now})
			was := s.settled
			for i, state := range s.reports {
				_, moved, err := d.store.Report(ctx, "m1", state, d.now)
				if err != nil || moved != (s.want[i] != was) {
					t.Errorf("report %d, %v: moved %v, %v", i+1, state, moved, err)
				}
				was = s.want[i]
				if got := d.mustGet(id).Status; got != was {
					t.Fatalf("after report %d, %v: %v, want %v", i+1, state, got, was)
				}
			}
			d.mustMeet(id) // no report ends a challenge
		})
	}
}

// reportAge: the age is the time since the sending was counted.
func reportAge(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	id := d.reserve()
	age := func(messageID string, state connexus.State, want time.Duration) {
		t.Helper()
		got, moved, err := d.store.Report(ctx, messageID, state, d.now)
		if got != want || !moved || err != nil {
			t.Fatalf("Report: %v, %v, %v; want %v", got, moved, err, want)
		}
	}
	d.mustSettle(id, &otp.Settlement{
		Sending: 1, MessageID: "m1", Status: otp.Accepted, Taken: d.now, Now: d.now.Add(3 * time.Second),
	})
	d.now = epoch.Add(10*time.Second + tick)
	age("m1", undelivered, 10*time.Second+tick)
	d.now = epoch.Add(time.Minute)
	d.mustResend(id, d.renewal())
	d.mustSettle(id, &otp.Settlement{Sending: 2, MessageID: "m2", Status: otp.Accepted, Taken: d.now, Now: d.now})
	d.now = epoch.Add(time.Minute + 7*time.Second)
	age("m2", undelivered, 7*time.Second)
	age("m1", delivered, time.Minute+7*time.Second)
}

// reportEarly plays each delivery before the sending is settled. The status is then the
// one that the delivery leads to.
func reportEarly(t *testing.T, open Open) {
	for _, s := range deliveries {
		t.Run(s.name, func(t *testing.T) {
			d := newDesk(t, open, 10)
			id, other := d.reserve(), d.reserve()
			for _, state := range s.reports {
				_, moved, err := d.store.Report(ctx, "m1", state, d.now)
				if moved || err != nil {
					t.Fatalf("early report: moved %v, %v", moved, err)
				}
			}
			d.now = d.now.Add(time.Minute)
			if got := d.mustGet(id).Status; got != otp.Queued {
				t.Fatalf("%v before it is settled, want %v", got, otp.Queued)
			}
			d.mustSettle(other, &otp.Settlement{Sending: 1, MessageID: "m2", Status: otp.Accepted, Taken: epoch, Now: d.now})
			d.mustSettle(id, &otp.Settlement{Sending: 1, MessageID: "m1", Status: s.settled, Taken: epoch, Now: d.now})
			if got, want := d.mustGet(id).Status, s.want[len(s.want)-1]; got != want {
				t.Errorf("settled after its reports: %v, want %v", got, want)
			}
			if got := d.mustGet(other).Status; got != otp.Accepted {
				t.Errorf("the report of another message made this one %v", got)
			}
		})
	}
}

func reportEarlyResend(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	id := d.reserve()
	d.mustSettle(id, &otp.Settlement{Sending: 1, MessageID: "m1", Status: otp.Accepted, Taken: d.now, Now: d.now})
	d.now = d.now.Add(cooldown)
	d.mustResend(id, d.renewal())
	if _, moved, err := d.store.Report(ctx, "m2", undelivered, d.now); moved || err != nil {
		t.Fatalf("early report: moved %v, %v", moved, err)
	}
	d.mustSettle(id, &otp.Settlement{Sending: 2, MessageID: "m2", Status: otp.Accepted, Taken: d.now, Now: d.now})
	if got := d.mustGet(id).Status; got != otp.Failed {
		t.Errorf("%v, want %v", got, otp.Failed)
	}
}

// reportOlder: for a sending that is not the latest, only its arrival counts, because
// both sendings have the same code.
func reportOlder(t *testing.T, open Open) {
	for _, s := range []struct {
		state connexus.State
		want  otp.Status
	}{
		{queued, otp.Queued}, {accepted, otp.Queued}, {expired, otp.Queued}, {undelivered, otp.Queued},
		{rejected, otp.Queued}, {blocked, otp.Queued}, {delivered, otp.Delivered},
	} {
		d := newDesk(t, open, 10)
		id := d.reserve()
		d.mustSettle(id, &otp.Settlement{Sending: 1, MessageID: "m1", Status: otp.Accepted, Taken: d.now, Now: d.now})
		d.now = d.now.Add(cooldown)
		d.mustResend(id, d.renewal())
		_, moved, err := d.store.Report(ctx, "m1", s.state, d.now)
		if moved != (s.want != otp.Queued) || err != nil {
			t.Errorf("%v of an older sending: moved %v, %v", s.state, moved, err)
		}
		if got := d.mustGet(id).Status; got != s.want {
			t.Errorf("%v of an older sending: %v, want %v", s.state, got, s.want)
		}
		// Reports of the older sending do not stop those of the newer one.
		d.mustSettle(id, &otp.Settlement{Sending: 2, MessageID: "m2", Status: otp.Accepted, Taken: d.now, Now: d.now})
		if _, _, err := d.store.Report(ctx, "m2", undelivered, d.now); err != nil {
			t.Fatalf("Report: %v", err)
		}
		want := otp.Failed
		if s.want == otp.Delivered {
			want = otp.Delivered
		}
		if got := d.mustGet(id).Status; got != want {
			t.Errorf("%v of an older and then undelivered of the newer sending: %v, want %v", s.state, got, want)
		}
	}
}

// reportOvertakes: a report may come before the reply to its own sending. Neither that
// reply nor a timeout then takes the status back.
func reportOvertakes(t *testing.T, open Open) {
	for _, status := range []otp.Status{otp.Accepted, otp.Failed} {
		d := newDesk(t, open, 10)
		id := d.reserve()
		d.mustSettle(id, &otp.Settlement{Sending: 1, MessageID: "m1", Status: otp.Accepted, Taken: d.now, Now: d.now})
		d.now = d.now.Add(cooldown)
		d.mustResend(id, d.renewal())
		if _, moved, err := d.store.Report(ctx, "m1", delivered, d.now); !moved || err != nil {
			t.Fatalf("Report: moved %v, %v", moved, err)
		}
		d.mustSettle(id, &otp.Settlement{Sending: 2, Status: status, Taken: d.now, Now: d.now})
		if got := d.mustGet(id).Status; got != otp.Delivered {
			t.Errorf("delivered, then settled as %v: %v", status, got)
		}
	}
}

func reportNowhere(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	met, replaced, kept := d.reserve(), d.reserve(), d.reserve()
	for messageID, id := range map[string]otp.ID{"met": met, "replaced": replaced} {
		d.mustSettle(id, &otp.Settlement{Sending: 1, MessageID: messageID, Status: otp.Accepted, Taken: d.now, Now: d.now})
	}
	before := d.mustGet(kept)
	d.mustMeet(met)
	next := d.usual()
	next.Replaces = replaced
	d.mustReserve(next)
	for _, messageID := range []string{"met", "replaced", "of somebody else"} {
		for _, state := range []connexus.State{accepted, delivered} {
			if _, moved, err := d.store.Report(ctx, messageID, state, d.now); moved || err != nil {
				t.Errorf("report for %q: moved %v, %v", messageID, moved, err)
			}
		}
	}
	d.every(met, otp.ErrNoChallenge)
	d.every(replaced, otp.ErrNoChallenge)
	if diff := same(d.mustGet(kept), before); diff != "" {
		t.Errorf("reports of others: %s", diff)
	}
}

func reportOnlyStatus(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	id := d.reserve()
	d.mustSettle(id, &otp.Settlement{Sending: 1, MessageID: "m1", Status: otp.Accepted, Taken: d.now, Now: d.now})
	want := d.mustMiss(id)
	for _, state := range []connexus.State{undelivered, delivered} {
		d.now = d.now.Add(time.Second)
		if _, moved, err := d.store.Report(ctx, "m1", state, d.now); !moved || err != nil {
			t.Fatalf("Report: moved %v, %v", moved, err)
		}
		want.Status = map[connexus.State]otp.Status{undelivered: otp.Failed, delivered: otp.Delivered}[state]
		if diff := same(d.mustGet(id), want); diff != "" {
			t.Errorf("%v: %s", state, diff)
		}
	}
}
