package storetest

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/internal/testlevel"
	"github.com/caddy-websms/websms/otp"
)

var secondTests = []test{
	{"after a failure", secondAfterFailure},
	{"once", secondOnce},
	{"one of many at once", secondOfMany},
	{"not for these", secondRefused},
	{"counts in the long rate", secondCounts},
	{"not beyond a limit or a lock", secondLimited},
	{"changes nothing else", secondChangesNothing},
	{"a report before it is settled", secondEarly},
}

// reported reserves a challenge with an envelope, whose message has this report.
func (d *desk) reported(message string, state connexus.State) otp.ID {
	d.Helper()
	r := d.usual()
	r.Envelope = []byte("envelope of " + message)
	d.mustReserve(r)
	d.mustSettle(r.ID, &otp.Settlement{Sending: 1, MessageID: message, Status: otp.Accepted, Taken: d.now, Now: d.now})
	if state != unknown {
		if _, _, err := d.store.Report(ctx, message, state, d.now); err != nil {
			d.Fatalf("Report: %v", err)
		}
	}
	return r.ID
}

// second claims a second try that counts in some counters.
func (d *desk) second(message string, counters ...otp.Counter) (otp.Record, error) {
	return d.store.Second(ctx, message, d.now, func(otp.Record) (otp.Renewal, error) {
		return otp.Renewal{Scope: scope, Now: d.now, Counters: counters}, nil
	})
}

func secondAfterFailure(t *testing.T, open Open) {
	for _, state := range []connexus.State{undelivered, rejected} {
		d := newDesk(t, open, 10)
		id := d.reported("M1", state)
		rec, err := d.second("M1")
		if err != nil || rec.ID != id || rec.Sending != 1 || string(rec.Sealed) != "sealed "+id.String() ||
			string(rec.Envelope) != "envelope of M1" {
			t.Errorf("after %v: %+v, %v", state, rec, err)
		}
	}
}

func secondOnce(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	id := d.reported("M1", undelivered)
	if _, err := d.second("M1"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.second("M1"); !errors.Is(err, otp.ErrDone) {
		t.Errorf("again: %v, want %v", err, otp.ErrDone)
	}
	// The message of the second try has no second try of its own, nor has a resend.
	d.mustSettle(id, &otp.Settlement{Sending: 1, MessageID: "M2", Status: otp.Accepted, Taken: d.now, Now: d.now})
	_, _, _ = d.store.Report(ctx, "M2", rejected, d.now)
	if _, err := d.second("M2"); !errors.Is(err, otp.ErrDone) {
		t.Errorf("for the second message: %v, want %v", err, otp.ErrDone)
	}
	d.now = d.now.Add(cooldown)
	if _, err := d.store.Resend(ctx, id, d.renewal()); err != nil {
		t.Fatal(err)
	}
	d.mustSettle(id, &otp.Settlement{Sending: 2, MessageID: "M3", Status: otp.Accepted, Taken: d.now, Now: d.now})
	_, _, _ = d.store.Report(ctx, "M3", rejected, d.now)
	if _, err := d.second("M3"); !errors.Is(err, otp.ErrDone) {
		t.Errorf("for a resend: %v, want %v", err, otp.ErrDone)
	}
}

func secondOfMany(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	c := counter("budget", "second of many", otp.Rate{Count: 1000, Window: time.Hour})
	d.reported("M1", undelivered)
	var claimed atomic.Int32
	crowd(testlevel.Size(20, 200), func(int) {
		if _, err := d.second("M1", c); err == nil {
			claimed.Add(1)
		} else if !errors.Is(err, otp.ErrDone) {
			t.Errorf("a loser got %v, want %v", err, otp.ErrDone)
		}
	})
	if claimed.Load() != 1 {
		t.Errorf("%d claims, want 1", claimed.Load())
	}
	d.used(c, 1)
}

func secondRefused(t *testing.T, open Open) {
	d := newDesk(t, open, 20)
	want := func(what, message string, want error) {
		t.Helper()
		if _, err := d.second(message); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	want("an unknown message", "none", otp.ErrNoChallenge)
	for _, state := range []connexus.State{unknown, queued, accepted, expired, blocked, delivered} {
		message := "of " + state.String()
		d.reported(message, state)
		want(message, message, otp.ErrDone)
	}
	id := d.reported("met", undelivered)
	d.mustMeet(id)
	want("a used code", "met", otp.ErrNoChallenge)
	d.reported("delivered late", undelivered)
	_, _, _ = d.store.Report(ctx, "delivered late", delivered, d.now)
	want("delivered after all", "delivered late", otp.ErrDone)
	bare := d.usual()
	d.mustReserve(bare)
	d.mustSettle(bare.ID, &otp.Settlement{Sending: 1, MessageID: "bare", Status: otp.Accepted, Taken: d.now, Now: d.now})
	_, _, _ = d.store.Report(ctx, "bare", undelivered, d.now)
	want("no envelope", "bare", otp.ErrDone)
	id = d.reported("dead", undelivered)
	for range attempts {
		_, _ = d.store.Attempt(ctx, id, &otp.Answer{Scope: scope, Proof: wrong(1), Now: d.now})
	}
	want("too many attempts", "dead", otp.ErrTooManyAttempts)
	failure := errors.New("does not open")
	d.reported("sealed", undelivered)
	_, err := d.store.Second(ctx, "sealed", d.now, func(otp.Record) (otp.Renewal, error) { return otp.Renewal{}, failure })
	if !errors.Is(err, failure) {
		t.Errorf("an envelope that does not open: %v", err)
	}
	if _, err := d.second("sealed"); err != nil {
		t.Errorf("after an envelope that did not open: %v", err)
	}
	d.reported("late", undelivered)
	d.now = d.now.Add(ttl)
	if _, err := d.second("late"); err == nil {
		t.Error("an expired code has a second try")
	}
}

func secondCounts(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	short, long := otp.Rate{Count: 3, Window: 10 * time.Minute}, otp.Rate{Count: 10, Window: 24 * time.Hour}
	number, budget := counter("per_number", "second", short, long), counter("budget", "second, budget", otp.Rate{Count: 10, Window: time.Hour})
	r := d.usual(number, budget)
	r.Envelope = []byte("envelope")
	d.mustReserve(r)
	d.mustSettle(r.ID, &otp.Settlement{Sending: 1, MessageID: "M1", Status: otp.Accepted, Taken: d.now, Now: d.now})
	_, _, _ = d.store.Report(ctx, "M1", undelivered, d.now)
	again := number
	again.Rates, again.Before = []otp.Rate{long}, short.Window
	if _, err := d.second("M1", again, budget); err != nil {
		t.Fatal(err)
	}
	d.used(number, 1, 2)
	d.used(budget, 2)
}

func secondLimited(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	full := counter("budget", "second, full", otp.Rate{Count: 1, Window: time.Hour})
	d.reserve(full)
	d.reported("M1", undelivered)
	_, err := d.second("M1", full)
	d.refused(err, "budget", time.Hour)
	f := failuresOf("second, locked", "", otp.Lockout{Count: 1, For: time.Hour})
	d.failAndLock(f, "lockout", time.Hour)
	_, err = d.store.Second(ctx, "M1", d.now, func(otp.Record) (otp.Renewal, error) {
		return otp.Renewal{Scope: scope, Now: d.now, Failures: f}, nil
	})
	d.refused(err, "lockout", time.Hour)
	if _, err := d.second("M1"); err != nil {
		t.Errorf("a refusal has used up the second try: %v", err)
	}
}

func secondChangesNothing(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	id := d.reported("M1", undelivered)
	before := d.mustGet(id)
	if _, err := d.second("M1"); err != nil {
		t.Fatal(err)
	}
	d.mustSettle(id, &otp.Settlement{Sending: 1, MessageID: "M2", Status: otp.Accepted, Taken: d.now, Now: d.now})
	if diff := same(d.mustGet(id), before); diff != "" {
		t.Errorf("the second try changes the challenge: %s", diff)
	}
	_, _, _ = d.store.Report(ctx, "M2", accepted, d.now)
	if diff := same(d.mustGet(id), before); diff != "" {
		t.Errorf("a report on the way of the second message changes the challenge: %s", diff)
	}
	if _, moved, err := d.store.Report(ctx, "M2", delivered, d.now); err != nil || !moved || d.mustGet(id).Status != otp.Delivered {
		t.Errorf("the second message arrives: %v, %v, %s", moved, err, d.mustGet(id).Status)
	}
	d.mustMeet(id)
}

func secondEarly(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	for _, state := range []connexus.State{unknown, undelivered} {
		message := "early " + state.String()
		r := d.usual()
		r.Envelope = []byte("envelope")
		d.mustReserve(r)
		if state != unknown {
			_, _, _ = d.store.Report(ctx, message, state, d.now)
		}
		s := otp.Settlement{Sending: 1, MessageID: message, Status: otp.Accepted, Taken: d.now, Now: d.now}
		d.mustSettle(r.ID, &s)
		if s.Early != state {
			t.Errorf("Settle says %v of an early report, want %v", s.Early, state)
		}
		if _, err := d.second(message); (err == nil) != (state == undelivered) {
			t.Errorf("after the early report %v: %v", state, err)
		}
	}
}
