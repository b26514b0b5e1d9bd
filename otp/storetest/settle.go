package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
)

var settleTests = []test{
	{"accepted and failed", settled},
	{"failed stays open to its code", failedStaysOpen},
	{"of an older sending", settleOlder},
	{"of the gone", settleGone},
	{"made by the network", settleMade},
	{"made, not yet settled", settleMadeLate},
}

func settled(t *testing.T, open Open) {
	for _, status := range []otp.Status{otp.Accepted, otp.Failed} {
		for _, messageID := range []string{"", "m1"} {
			d := newDesk(t, open, 10)
			id := d.reserve()
			want := d.mustGet(id)
			d.mustSettle(id, &otp.Settlement{
				Sending: 1, MessageID: messageID, Status: status, Taken: d.now, Now: d.now.Add(time.Second),
			})
			want.Status, want.Settled = status, true
			d.now = d.now.Add(time.Second)
			if diff := same(d.mustGet(id), want); diff != "" {
				t.Errorf("settled as %v: %s", status, diff)
			}
		}
	}
}

func failedStaysOpen(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	id := d.reserve()
	d.mustSettle(id, &otp.Settlement{Sending: 1, Status: otp.Failed, Taken: d.now, Now: d.now})
	d.mustMiss(id)
	d.mustMeet(id)
}

func settleOlder(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	id := d.reserve()
	first := d.now
	d.now = d.now.Add(cooldown)
	d.mustResend(id, d.renewal())
	want := d.mustGet(id)
	d.mustSettle(id, &otp.Settlement{Sending: 1, Status: otp.Failed, Taken: first, Now: d.now})
	if diff := same(d.mustGet(id), want); diff != "" {
		t.Errorf("an older sending was settled: %s", diff)
	}
	d.mustSettle(id, &otp.Settlement{Sending: 2, Status: otp.Accepted, Taken: d.now, Now: d.now})
	d.mustSettle(id, &otp.Settlement{Sending: 1, Status: otp.Failed, Taken: first, Now: d.now})
	want.Status, want.Settled = otp.Accepted, true
	if diff := same(d.mustGet(id), want); diff != "" {
		t.Errorf("an older sending was settled last: %s", diff)
	}
}

// settleGone settles sendings of challenges that have ended. That is no error, and no
// challenge can be used again.
func settleGone(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	made := &otp.Made{Sealed: []byte("late"), Proof: wrong(1), Length: 6}
	met, replaced := d.reserve(), d.reserve()
	d.mustMeet(met)
	next := d.usual()
	next.Replaces = replaced
	d.mustReserve(next)
	for i, id := range []otp.ID{met, replaced, d.usual().ID} {
		for _, s := range []otp.Settlement{
			{Sending: 1, Status: otp.Accepted},
			{Sending: 1, Status: otp.Failed, MessageID: "gone" + string(rune('a'+i))},
			{Sending: 1, Status: otp.Accepted, Made: made},
		} {
			s.Taken, s.Now = d.now, d.now
			d.mustSettle(id, &s)
			d.every(id, otp.ErrNoChallenge)
			if _, err := d.store.Attempt(ctx, id, &otp.Answer{Proof: made.Proof, Now: d.now}); !errors.Is(err, otp.ErrNoChallenge) {
				t.Fatalf("the code that came after the end: %v, want %v", err, otp.ErrNoChallenge)
			}
		}
	}
	_, moved, err := d.store.Report(ctx, "gonea", connexus.StateDelivered, d.now)
	if moved || err != nil {
		t.Errorf("report for the gone: %v, %v; want it to move nothing", moved, err)
	}
	if n, err := d.store.Live(ctx, d.now); n != 1 || err != nil {
		t.Errorf("Live: %d, %v; want 1", n, err)
	}
	dead := d.reserve()
	d.kill(dead)
	d.mustSettle(dead, &otp.Settlement{Sending: 1, Status: otp.Accepted, Made: made, Taken: d.now, Now: d.now})
	d.every(dead, otp.ErrTooManyAttempts)
}

// settleMade: if WebSMS makes the code, it comes with the settlement. No code is right
// before.
func settleMade(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	r := d.usual()
	r.Sealed = nil
	d.mustReserve(r)
	if rec := d.mustGet(r.ID); len(rec.Sealed) != 0 {
		t.Errorf("sealed %q before there is a code", rec.Sealed)
	}
	want := d.mustMiss(r.ID)
	made := &otp.Made{Sealed: []byte("theirs"), Proof: wrong(7), Length: 4}
	d.mustSettle(r.ID, &otp.Settlement{Sending: 1, Status: otp.Accepted, Made: made, Taken: d.now, Now: d.now})
	want.Status, want.Settled, want.Sealed, want.CodeLength = otp.Accepted, true, made.Sealed, made.Length
	if diff := same(d.mustGet(r.ID), want); diff != "" {
		t.Errorf("made: %s", diff)
	}
	d.now = d.now.Add(cooldown)
	if rec := d.mustResend(r.ID, d.renewal()); string(rec.Sealed) != "theirs" {
		t.Errorf("Resend returned %q, want the code that was made", rec.Sealed)
	}
	if _, err := d.store.Attempt(ctx, r.ID, &otp.Answer{Proof: right(r.ID), Now: d.now}); !errors.Is(err, otp.ErrWrongCode) {
		t.Errorf("the proof of the reservation: %v, want %v", err, otp.ErrWrongCode)
	}
	if _, err := d.store.Attempt(ctx, r.ID, &otp.Answer{Proof: made.Proof, Now: d.now}); err != nil {
		t.Errorf("the proof of the code that was made: %v", err)
	}
	d.every(r.ID, otp.ErrNoChallenge)
}

// settleMadeLate: the reply to a sending may come after a resend. Its code is right if no
// later sending has brought another code.
func settleMadeLate(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	r := d.usual()
	r.Sealed = nil
	d.mustReserve(r)
	first := d.now
	d.now = d.now.Add(cooldown)
	d.mustResend(r.ID, d.renewal())
	made := &otp.Made{Sealed: []byte("first"), Proof: wrong(1), Length: 5}
	d.mustSettle(r.ID, &otp.Settlement{Sending: 1, Status: otp.Accepted, Made: made, Taken: first, Now: d.now})
	rec := d.mustGet(r.ID)
	if rec.Status != otp.Queued || rec.CodeLength != 5 || string(rec.Sealed) != "first" {
		t.Errorf("%v, %d digits, sealed %q; want the code of the first and the status of the second sending",
			rec.Status, rec.CodeLength, rec.Sealed)
	}
	if _, err := d.store.Attempt(ctx, r.ID, &otp.Answer{Proof: made.Proof, Now: d.now}); err != nil {
		t.Errorf("the proof of the code that was made: %v", err)
	}
}
