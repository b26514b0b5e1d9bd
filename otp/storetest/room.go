package storetest

import (
	"testing"
	"time"

	"github.com/caddy-websms/websms/otp"
)

var roomTests = []test{
	{"full is refused", fullRefused},
	{"full takes no counter", fullTakesNoCounter},
	{"ended challenges free room", freesRoom},
	{"replacing", replacing},
	{"replacing the gone frees nothing", replacingGone},
	{"live", live},
}

// fill makes challenges until the store is full, and returns them.
func (d *desk) fill(capacity int) []otp.ID {
	d.Helper()
	ids := make([]otp.ID, capacity)
	for i := range ids {
		ids[i] = d.reserve()
	}
	d.full(d.store.Reserve(ctx, d.usual()))
	return ids
}

func fullRefused(t *testing.T, open Open) {
	for _, capacity := range []int{1, 7, 300} {
		d := newDesk(t, open, capacity)
		ids := d.fill(capacity)
		refused := d.usual()
		d.full(d.store.Reserve(ctx, refused))
		d.every(refused.ID, otp.ErrNoChallenge)
		for _, id := range ids { // no challenge has lost its room to another
			d.mustMeet(id)
		}
	}
}

func fullTakesNoCounter(t *testing.T, open Open) {
	d := newDesk(t, open, 2)
	c := counter("number", "full", otp.Rate{Count: 1, Window: time.Hour})
	ids := d.fill(2)
	for range 5 {
		d.full(d.store.Reserve(ctx, d.usual(c)))
	}
	d.mustMeet(ids[0])
	d.reserve(c)
	_, err := d.store.Resend(ctx, ids[1], d.renewal(c))
	d.refused(err, "number", time.Hour)
}

func freesRoom(t *testing.T, open Open) {
	const capacity = 3
	d := newDesk(t, open, capacity)
	ids := d.fill(capacity)

	d.mustMeet(ids[1])
	d.reserve()
	d.full(d.store.Reserve(ctx, d.usual()))

	d.now = epoch.Add(cooldown) // a code that lives longer keeps its room
	d.mustResend(ids[0], d.renewal())
	d.now = epoch.Add(ttl - tick)
	d.full(d.store.Reserve(ctx, d.usual()))
	d.now = epoch.Add(ttl)
	d.reserve()
	d.reserve()
	d.full(d.store.Reserve(ctx, d.usual()))
	d.mustMeet(ids[0])
	d.reserve()
	d.full(d.store.Reserve(ctx, d.usual()))
}

func replacing(t *testing.T, open Open) {
	d := newDesk(t, open, 2)
	ids := d.fill(2)
	for range 5 { // in a full store, again and again
		next := d.usual()
		next.Replaces = ids[0]
		d.mustReserve(next)
		d.every(ids[0], otp.ErrNoChallenge)
		ids[0] = next.ID
	}
	d.full(d.store.Reserve(ctx, d.usual()))
	d.kill(ids[1]) // a challenge without attempts can be replaced too
	next := d.usual()
	next.Replaces = ids[1]
	d.mustReserve(next)
	d.every(ids[1], otp.ErrNoChallenge)
	d.full(d.store.Reserve(ctx, d.usual()))
	d.mustMeet(ids[0])
	d.mustMeet(next.ID)
}

func replacingGone(t *testing.T, open Open) {
	d := newDesk(t, open, 2)
	ids := d.fill(2)
	met := ids[0]
	d.mustMeet(met)
	d.reserve()
	for _, gone := range []otp.ID{met, d.usual().ID} {
		next := d.usual()
		next.Replaces = gone
		d.full(d.store.Reserve(ctx, next))
	}
	d.mustMeet(ids[1])
	for _, gone := range []otp.ID{met, d.usual().ID} { // with room, unknown ids to replace do no harm
		next := d.usual()
		next.Replaces = gone
		d.mustReserve(next)
		d.mustMeet(next.ID)
	}
}

func live(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	count := func(want int) {
		t.Helper()
		got, err := d.store.Live(ctx, d.now)
		if err != nil || got != want {
			t.Fatalf("Live: %d, %v; want %d", got, err, want)
		}
	}
	count(0)
	a := d.reserve()
	b := d.reserve()
	count(2)
	next := d.usual()
	next.Replaces = a
	d.mustReserve(next)
	count(2)
	d.mustMiss(b)
	count(2)
	d.mustMeet(b)
	count(1)
	d.now = d.now.Add(ttl)
	d.reserve() // an expired challenge takes no room
	count(1)
}
