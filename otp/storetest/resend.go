package storetest

import (
	"testing"
	"time"

	"github.com/caddy-websms/websms/otp"
)

var resendTests = []test{
	{"resend", resend},
	{"attempts are not restored", attemptsNotRestored},
	{"life never shortens", lifeNeverShortens},
	{"life never passes its bound", lifePastBound},
	{"cooldown doubles", cooldownDoubles},
	{"counts against limits", resendCounts},
	{"longest wait, cooldown or limit", cooldownOrLimit},
	{"refusal changes nothing", resendRefused},
	{"given back", resendGivenBack},
}

func resend(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	id := d.reserve()
	want := d.mustGet(id)
	d.mustSettle(id, &otp.Settlement{Sending: 1, Status: otp.Accepted, Taken: d.now, Now: d.now})
	d.now = d.now.Add(cooldown)
	rec := d.mustResend(id, d.renewal())
	want.Sending, want.ExpiresAt, want.ResendAt = 2, d.now.Add(ttl), d.now.Add(2*cooldown)
	if diff := same(rec, want); diff != "" {
		t.Errorf("Resend returned %s", diff)
	}
	if diff := same(d.mustGet(id), want); diff != "" {
		t.Errorf("resent: %s", diff)
	}
	d.now = rec.ExpiresAt.Add(-tick)
	d.mustMeet(id)
}

func attemptsNotRestored(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	id := d.reserve()
	for left := attempts - 1; left > 0; left-- {
		d.mustMiss(id)
		d.now = d.mustGet(id).ResendAt
		r := d.renewal()
		r.Cooldown = time.Second
		if rec := d.mustResend(id, r); rec.AttemptsLeft != left {
			t.Fatalf("%d attempts left after a resend, want %d", rec.AttemptsLeft, left)
		}
	}
	d.mustMiss(id)
	d.every(id, otp.ErrTooManyAttempts)
}

func lifeNeverShortens(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	id := d.reserve()
	d.now = d.now.Add(cooldown)
	r := d.renewal()
	r.TTL = time.Second // a reloaded configuration
	if rec := d.mustResend(id, r); !rec.ExpiresAt.Equal(epoch.Add(ttl)) {
		t.Errorf("expires %v after the first sending, want %v", rec.ExpiresAt.Sub(epoch), ttl)
	}
}

func lifePastBound(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	r := d.usual()
	r.Cooldown = time.Second
	d.mustReserve(r)
	again := func(at time.Duration, want time.Duration) {
		t.Helper()
		d.now = epoch.Add(at)
		n := d.renewal()
		n.Cooldown = time.Second
		if rec := d.mustResend(r.ID, n); !rec.ExpiresAt.Equal(epoch.Add(want)) {
			t.Fatalf("resent %v after the first sending it expires after %v, want %v", at, rec.ExpiresAt.Sub(epoch), want)
		}
	}
	again(time.Minute, time.Minute+ttl)
	again(otp.MaxLife-ttl-tick, otp.MaxLife-tick)
	again(otp.MaxLife-ttl+time.Minute, otp.MaxLife)
	again(otp.MaxLife-time.Second, otp.MaxLife)
	d.now = epoch.Add(otp.MaxLife)
	d.every(r.ID, otp.ErrExpired)
}

func cooldownDoubles(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	id := d.reserve()
	for i, wait := range []time.Duration{cooldown, 2 * cooldown, 4 * cooldown, 8 * cooldown} {
		due := d.now.Add(wait)
		if got := d.mustGet(id).ResendAt; !got.Equal(due) {
			t.Fatalf("after %d sendings the next may be in %v, want %v", i+1, got.Sub(d.now), wait)
		}
		_, err := d.store.Resend(ctx, id, d.renewal())
		d.refused(err, "cooldown", wait)
		d.now = due.Add(-tick)
		_, err = d.store.Resend(ctx, id, d.renewal())
		d.refused(err, "cooldown", tick)
		d.now = due
		if rec := d.mustResend(id, d.renewal()); rec.Sending != i+2 {
			t.Fatalf("sending %d, want %d", rec.Sending, i+2)
		}
	}
}

func resendCounts(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	c := counter("number", "resend", otp.Rate{Count: 2, Window: time.Hour})
	id := d.reserve(c)
	d.now = d.now.Add(cooldown)
	d.mustResend(id, d.renewal(c))
	d.refused(d.store.Reserve(ctx, d.usual(c)), "number", time.Hour-cooldown)
	d.now = d.now.Add(2 * cooldown)
	_, err := d.store.Resend(ctx, id, d.renewal(c))
	d.refused(err, "number", time.Hour-3*cooldown)
}

// cooldownOrLimit: the longer one of cooldown and limit decides the wait.
func cooldownOrLimit(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	long := counter("number", "long", otp.Rate{Count: 1, Window: time.Minute})
	short := counter("budget", "short", otp.Rate{Count: 1, Window: time.Second})
	id := d.reserve(long, short)
	_, err := d.store.Resend(ctx, id, d.renewal(long, short))
	d.refused(err, "number", time.Minute)
	_, err = d.store.Resend(ctx, id, d.renewal(short))
	d.refused(err, "cooldown", cooldown)
	d.now = epoch.Add(time.Minute - tick)
	_, err = d.store.Resend(ctx, id, d.renewal(short, long))
	d.refused(err, "number", tick)
	d.now = epoch.Add(time.Minute)
	d.mustResend(id, d.renewal(short, long))
}

func resendRefused(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	full := counter("number", "full", otp.Rate{Count: 1, Window: time.Hour})
	other := counter("budget", "other", otp.Rate{Count: 2, Window: time.Hour})
	id := d.reserve(full)
	d.mustSettle(id, &otp.Settlement{Sending: 1, Status: otp.Accepted, MessageID: "m1", Taken: d.now, Now: d.now})
	before := d.mustGet(id)
	for _, at := range []time.Duration{time.Second, cooldown} { // at the first of these the cooldown refuses too
		d.now = epoch.Add(at)
		for range 5 {
			_, err := d.store.Resend(ctx, id, d.renewal(other, full))
			d.refused(err, "number", time.Hour-at)
		}
	}
	if diff := same(d.mustGet(id), before); diff != "" {
		t.Errorf("after refusals: %s", diff)
	}
	d.kill(id)
	d.every(id, otp.ErrTooManyAttempts)
	_, err := d.store.Resend(ctx, id, d.renewal(other))
	if !oneOf(err, []error{otp.ErrTooManyAttempts}) {
		t.Errorf("Resend of the dead: %v, want %v", err, otp.ErrTooManyAttempts)
	}
	d.reserve(other)
	d.reserve(other)
	d.refused(d.store.Reserve(ctx, d.usual(other)), "budget", time.Hour)
}

// resendGivenBack: a resend that WebSMS refused is given back, and the challenge stays
// usable.
func resendGivenBack(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	c := counter("number", "back", otp.Rate{Count: 2, Window: time.Hour})
	id := d.reserve(c)
	d.now = epoch.Add(cooldown)
	d.mustResend(id, d.renewal(c))
	d.mustSettle(id, &otp.Settlement{
		Sending: 2, Status: otp.Failed, Taken: d.now, Now: d.now.Add(time.Second), Refused: true, Return: []otp.Counter{c},
	})
	if rec := d.mustGet(id); rec.Sending != 2 || rec.Status != otp.Failed {
		t.Errorf("sending %d is %v, want 2 to be %v", rec.Sending, rec.Status, otp.Failed)
	}
	d.now = epoch.Add(3 * cooldown)
	d.mustResend(id, d.renewal(c))
	d.refused(d.store.Reserve(ctx, d.usual(c)), "number", time.Hour-3*cooldown)
	d.mustMeet(id)
}
