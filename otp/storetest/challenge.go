package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/caddy-websms/websms/otp"
)

var challengeTests = []test{
	{"reserved as asked", reservedAsAsked},
	{"wrong codes are counted", wrongCodesCounted},
	{"right code at the last attempt", rightAtLast},
	{"right code works once", rightOnce},
	{"unknown", unknownChallenge},
	{"expiry to the nanosecond", expiry},
	{"expired beside others", expiredBesideOthers},
	{"life is bounded", lifeBounded},
	{"challenges are apart", challengesApart},
}

func reservedAsAsked(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	for _, r := range []struct {
		length, attempts int
		ttl, cooldown    time.Duration
	}{
		{6, 5, 5 * time.Minute, 30 * time.Second},
		{4, 1, 30 * time.Second, 0},
		{8, 10, otp.MaxLife, time.Minute + tick},
	} {
		ask := d.usual()
		ask.Length, ask.Attempts, ask.TTL, ask.Cooldown = r.length, r.attempts, r.ttl, r.cooldown
		d.mustReserve(ask)
		want := otp.Record{
			Challenge: otp.Challenge{
				ID: ask.ID, Status: otp.Queued, CodeLength: r.length, AttemptsLeft: r.attempts,
				ExpiresAt: d.now.Add(r.ttl), ResendAt: d.now.Add(r.cooldown),
			},
			Sending: 1, Sealed: ask.Sealed,
		}
		if diff := same(d.mustGet(ask.ID), want); diff != "" {
			t.Errorf("reserved: %s", diff)
		}
	}
}

func wrongCodesCounted(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	id := d.reserve()
	want := d.mustGet(id)
	for i := range attempts {
		rec, err := d.store.Attempt(ctx, id, &otp.Answer{Proof: wrong(i), Now: d.now})
		if !errors.Is(err, otp.ErrWrongCode) {
			t.Fatalf("attempt %d: %v, want %v", i+1, err, otp.ErrWrongCode)
		}
		want.AttemptsLeft--
		if diff := same(rec, want); diff != "" {
			t.Fatalf("after attempt %d: %s", i+1, diff)
		}
	}
	d.every(id, otp.ErrTooManyAttempts)
	rec, _ := d.store.Get(ctx, scope, id, d.now)
	if diff := same(rec, want); diff != "" {
		t.Errorf("record beside %v: %s", otp.ErrTooManyAttempts, diff)
	}
}

func rightAtLast(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	id := d.reserve()
	for range attempts - 1 {
		d.mustMiss(id)
	}
	d.mustMeet(id)
	d.every(id, otp.ErrNoChallenge)
}

func rightOnce(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	id := d.reserve()
	d.mustMeet(id)
	d.every(id, otp.ErrNoChallenge)
	d.now = d.now.Add(ttl)
	d.every(id, otp.ErrNoChallenge)
}

func unknownChallenge(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	d.every(d.usual().ID, otp.ErrNoChallenge)
	d.every(otp.ID{}, otp.ErrNoChallenge)
	d.reserve()
	d.every(d.usual().ID, otp.ErrNoChallenge)
	d.every(otp.ID{}, otp.ErrNoChallenge)
}

func expiry(t *testing.T, open Open) {
	for _, life := range []time.Duration{30 * time.Second, ttl, ttl + tick, otp.MaxLife} {
		d := newDesk(t, open, 10)
		early, late := d.usual(), d.usual()
		early.TTL, late.TTL = life, life
		d.mustReserve(early)
		d.mustReserve(late)
		d.now = epoch.Add(life - tick)
		d.mustGet(early.ID)
		d.mustMeet(early.ID)
		d.now = epoch.Add(life)
		d.every(late.ID, otp.ErrExpired)
		d.now = epoch.Add(life + time.Second)
		d.every(late.ID, otp.ErrExpired)
	}
}

// expiredBesideOthers: a store may forget expired challenges when others need their
// room. It must not accept their codes.
func expiredBesideOthers(t *testing.T, open Open) {
	d := newDesk(t, open, 2)
	a, b := d.reserve(), d.reserve()
	d.now = d.now.Add(ttl)
	c, e := d.reserve(), d.reserve()
	d.every(a, otp.ErrExpired, otp.ErrNoChallenge)
	d.every(b, otp.ErrExpired, otp.ErrNoChallenge)
	d.mustMeet(c)
	d.mustMeet(e)
}

func lifeBounded(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	r := d.usual()
	r.TTL = otp.MaxLife + time.Hour
	d.mustReserve(r)
	if got := d.mustGet(r.ID).ExpiresAt; !got.Equal(epoch.Add(otp.MaxLife)) {
		t.Errorf("expires %v after it was sent, want %v", got.Sub(epoch), otp.MaxLife)
	}
	d.now = epoch.Add(otp.MaxLife)
	d.every(r.ID, otp.ErrExpired)
}

func challengesApart(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	a, b := d.reserve(), d.reserve()
	if _, err := d.store.Attempt(ctx, a, &otp.Answer{Proof: right(b), Now: d.now}); !errors.Is(err, otp.ErrWrongCode) {
		t.Fatalf("the code of another challenge: %v, want %v", err, otp.ErrWrongCode)
	}
	before := d.mustGet(b)
	for range attempts - 1 {
		d.mustMiss(a)
	}
	d.every(a, otp.ErrTooManyAttempts)
	if diff := same(d.mustGet(b), before); diff != "" {
		t.Errorf("attempts at another challenge changed this one: %s", diff)
	}
	d.mustMeet(b)
}
