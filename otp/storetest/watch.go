package storetest

import (
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-websms/websms/internal/testlevel"
	"github.com/caddy-websms/websms/otp"
)

var watchTests = []test{
	{"woken by each change", wokenByChange},
	{"all are woken", allWoken},
	{"not by another", notWokenByAnother},
	{"stop", stopWatching},
	{"watch, then get, misses nothing", missesNothing},
	{"no leak", watchNoLeak},
}

// patience bounds the time of a wake-up, which may come from another machine.
const patience = 5 * time.Second

// woken waits for a wake-up.
func (d *desk) woken(changed <-chan struct{}, by string) {
	d.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
		d.Fatalf("not woken by %s within %v", by, patience)
	}
}

func wokenByChange(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	id := d.reserve()
	for _, change := range []struct {
		name string
		make func()
	}{
		{"Settle", func() {
			d.mustSettle(id, &otp.Settlement{Sending: 1, MessageID: "m1", Status: otp.Accepted, Taken: d.now, Now: d.now})
		}},
		{"Report", func() {
			if _, moved, err := d.store.Report(ctx, "m1", delivered, d.now); !moved || err != nil {
				t.Fatalf("Report: moved %v, %v", moved, err)
			}
		}},
		{"a wrong Attempt", func() { d.mustMiss(id) }},
		{"Resend", func() {
			d.now = d.now.Add(cooldown)
			d.mustResend(id, d.renewal())
		}},
		{"Settle after an early Report", func() {
			if _, _, err := d.store.Report(ctx, "m2", undelivered, d.now); err != nil {
				t.Fatalf("Report: %v", err)
			}
			d.mustSettle(id, &otp.Settlement{Sending: 2, MessageID: "m2", Status: otp.Accepted, Taken: d.now, Now: d.now})
		}},
		{"the right Attempt", func() { d.mustMeet(id) }},
	} {
		changed, stop := d.store.Watch(id)
		change.make()
		d.woken(changed, change.name)
		stop()
	}
	former := d.reserve()
	changed, stop := d.store.Watch(former)
	defer stop()
	next := d.usual()
	next.Replaces = former
	d.mustReserve(next)
	d.woken(changed, "being replaced")
}

func allWoken(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	id := d.reserve()
	var watchers []<-chan struct{}
	for i := range 100 {
		changed, stop := d.store.Watch(id)
		defer stop()
		if i%3 == 1 { // watchers that have stopped do not disturb the others
			stop()
			continue
		}
		watchers = append(watchers, changed)
	}
	d.mustMiss(id)
	for _, changed := range watchers {
		d.woken(changed, "a wrong Attempt")
	}
}

func notWokenByAnother(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	mine := d.reserve()
	for round := 0; ; round++ {
		changed, stop := d.store.Watch(mine)
		defer stop()
		other := d.reserve()
		theirs, stopTheirs := d.store.Watch(other)
		defer stopTheirs()
		d.mustMeet(other)
		d.woken(theirs, "the right Attempt")
		select {
		case <-changed:
			if round == 5 {
				t.Fatal("woken by the change of another challenge, again and again")
			}
		default:
			d.mustMeet(mine)
			d.woken(changed, "the right Attempt")
			return
		}
	}
}

func stopWatching(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	id := d.reserve()
	_, stop := d.store.Watch(id)
	stop()
	stop()
	d.mustMiss(id)
	changed, stopLater := d.store.Watch(id)
	stop() // the watch is over already; no other watch ends
	d.mustMiss(id)
	d.woken(changed, "a wrong Attempt")
	stopLater()
	changed, stop = d.store.Watch(d.usual().ID) // of an unknown challenge
	stop()
	select {
	case <-changed:
		t.Error("stop woke its watcher")
	default:
	}
}

// missesNothing: a watcher follows a challenge until its attempts are used up. A watcher
// that missed a change would wait forever.
func missesNothing(t *testing.T, open Open) {
	d := newDesk(t, open, 50)
	for range testlevel.Size(15, 50) {
		r := d.usual()
		r.Attempts = 50
		d.mustReserve(r)
		dead := make(chan error, 1)
		go func() { dead <- d.follow(r.ID) }()
		for range r.Attempts {
			d.mustMiss(r.ID)
		}
		if err := <-dead; err != nil {
			t.Fatal(err)
		}
	}
}

// follow watches the challenge id until it is dead.
func (d *desk) follow(id otp.ID) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		changed, stop := d.store.Watch(id)
		_, err := d.store.Get(ctx, scope, id, d.now)
		if errors.Is(err, otp.ErrTooManyAttempts) {
			stop()
			return nil
		}
		select {
		case <-changed:
			stop()
		case <-timer.C:
			stop()
			return errors.New("a change was missed: nobody woke the watcher")
		}
	}
}

// watchNoLeak: no goroutine is left for watchers that have stopped, were woken, or watched
// an unknown challenge.
func watchNoLeak(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	id := d.reserve()
	watch := func(n int) {
		for range n {
			_, stop := d.store.Watch(id)
			_, stopOther := d.store.Watch(d.usual().ID)
			stop()
			stopOther()
		}
		changed, stop := d.store.Watch(id)
		d.mustMiss(id)
		d.woken(changed, "a wrong Attempt")
		stop()
	}
	watch(1) // starts the goroutines that stay as long as the store
	before := goleak.IgnoreCurrent()
	watch(1000)
	goleak.VerifyNone(t, before)
}
