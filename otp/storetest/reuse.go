package storetest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/testlevel"
	"github.com/caddy-websms/websms/otp"
)

var reuseTests = []test{
	{"right again", rightAgain},
	{"wrong afterwards", wrongAfterwards},
	{"replaced is not used", replacedIsNotUsed},
	{"all losers learn when", losersLearn},
	{"under a lock", usedUnderLock},
	{"wait of a limit", waitOfLimit},
	{"wait of a lock", waitOfLock},
	{"wait counts nothing", waitCountsNothing},
	{"last of all sendings", lastSending},
}

// usedAt fails the test unless the right code of id is known as used at the time at.
func (d *desk) usedAt(id otp.ID, at time.Time) {
	d.Helper()
	rec, err := d.store.Attempt(ctx, id, &otp.Answer{Scope: scope, Proof: right(id), Now: d.now, Again: true})
	if !errors.Is(err, otp.ErrUsed) || !errors.Is(err, otp.ErrNoChallenge) || !rec.VerifiedAt.Equal(at) {
		d.Fatalf("the right code again: %v, verified at %s; want %v and %s", err, rec.VerifiedAt, otp.ErrUsed, at)
	}
}

// forgotten fails the test if the right code of id is known as used, or opens id.
func (d *desk) forgotten(id otp.ID) {
	d.Helper()
	_, err := d.store.Attempt(ctx, id, &otp.Answer{Scope: scope, Proof: right(id), Now: d.now, Again: true})
	if !errors.Is(err, otp.ErrNoChallenge) || errors.Is(err, otp.ErrUsed) {
		d.Fatalf("the right code: %v, want %v", err, otp.ErrNoChallenge)
	}
}

func rightAgain(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	id, other := d.reserve(), d.reserve()
	d.now = d.now.Add(3 * time.Second)
	met := d.now.Add(123 * time.Nanosecond)
	if _, err := d.store.Attempt(ctx, id, &otp.Answer{Scope: scope, Proof: right(id), Now: d.now, Exact: met}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		d.usedAt(id, met)
		_, err := d.store.Attempt(ctx, id, &otp.Answer{Scope: scope, Proof: right(id), Now: d.now}) // without Again
		if !errors.Is(err, otp.ErrNoChallenge) || errors.Is(err, otp.ErrUsed) {
			t.Errorf("the right code without Again: %v, want %v", err, otp.ErrNoChallenge)
		}
	}
	d.now = met.Truncate(time.Microsecond).Add(otp.ReuseTime - tick)
	d.usedAt(id, met)
	d.mustMeet(other)
	d.usedAt(id, met)
	d.now = met.Truncate(time.Microsecond).Add(otp.ReuseTime)
	d.forgotten(id)
	d.now = met.Truncate(time.Microsecond).Add(otp.ReuseTime + time.Minute)
	d.forgotten(id)
}

// wrongAfterwards: a code is no longer known as used after a wrong one. Otherwise an
// attacker with the challenge of another person could guess at the code without end for
// ReuseTime.
func wrongAfterwards(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	f := failuresOf("reuse", "", otp.Lockout{Count: 1, For: time.Hour})
	id, other := d.reserve(), d.reserve()
	d.mustMeet(id)
	d.mustMeet(other)
	d.usedAt(id, d.now)
	for range 3 {
		_, err := d.answer(id, wrong(1), f)
		if !errors.Is(err, otp.ErrNoChallenge) || errors.Is(err, otp.ErrUsed) {
			t.Errorf("a wrong code after the right one: %v, want %v", err, otp.ErrNoChallenge)
		}
		d.forgotten(id)
	}
	d.open(f)
	d.usedAt(other, d.now)
}

func replacedIsNotUsed(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	id := d.reserve()
	next := d.usual()
	next.Replaces = id
	d.mustReserve(next)
	d.forgotten(id)
	d.mustMeet(next.ID)
	d.forgotten(id)
	d.usedAt(next.ID, d.now)
	after := d.usual() // a challenge that was met may still be named as the former one
	after.Replaces = next.ID
	d.mustReserve(after)
	d.usedAt(next.ID, d.now)
}

func losersLearn(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	for range 3 {
		id := d.reserve()
		var mu sync.Mutex
		var won, seen []time.Time
		crowd(testlevel.Size(50, 500), func(i int) {
			at := d.now.Add(time.Duration(i%3) * time.Microsecond)
			rec, err := d.store.Attempt(ctx, id, &otp.Answer{
				Scope: scope, Proof: right(id), Now: at, Exact: at.Add(time.Nanosecond), Again: true,
			})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won = append(won, at.Add(time.Nanosecond))
			case errors.Is(err, otp.ErrUsed):
				seen = append(seen, rec.VerifiedAt)
			default:
				t.Errorf("a loser got %v, want %v", err, otp.ErrUsed)
			}
		})
		if len(won) != 1 {
			t.Fatalf("%d winners, want 1", len(won))
		}
		for _, at := range seen {
			if !at.Equal(won[0]) {
				t.Fatalf("a loser was told %s, but the winner came at %s", at, won[0])
			}
		}
	}
}

// usedUnderLock: the number is locked after its code was right. The same right code still
// tells when that was, because the browser has that session already.
func usedUnderLock(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	f := failuresOf("reuse lock", "", otp.Lockout{Count: 1, For: time.Hour})
	id := d.reserve()
	if _, err := d.answer(id, right(id), f); err != nil {
		t.Fatal(err)
	}
	d.failAndLock(f, "lockout", time.Hour)
	_, err := d.store.Attempt(ctx, id, &otp.Answer{Proof: right(id), Failures: f, Now: d.now, Again: true})
	if !errors.Is(err, otp.ErrUsed) {
		t.Errorf("the right code again: %v, want %v", err, otp.ErrUsed)
	}
}

// wantWait fails the test unless the limits of a resend would refuse it for so long.
func (d *desk) wantWait(r *otp.Renewal, want time.Duration) {
	d.Helper()
	got, err := d.store.Wait(ctx, r)
	if err != nil || got != want {
		d.Fatalf("wait %s, %v; want %s", got, err, want)
	}
}

func waitOfLimit(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	number := counter("number", "wait", otp.Rate{Count: 2, Window: 10 * time.Minute}, otp.Rate{Count: 3, Window: time.Hour})
	ip := counter("ip", "wait of the address", otp.Rate{Count: 1, Window: time.Minute})
	wait := func() *otp.Renewal {
		return &otp.Renewal{Scope: scope, Now: d.now, Counters: []otp.Counter{number, ip}}
	}
	d.wantWait(wait(), 0)
	d.reserve(number, ip)
	d.wantWait(wait(), time.Minute)
	d.now = d.now.Add(time.Minute)
	d.wantWait(wait(), 0)
	d.reserve(number, ip)
	d.wantWait(wait(), 9*time.Minute)
	d.now = d.now.Add(9 * time.Minute)
	d.reserve(number, ip)
	d.wantWait(wait(), 50*time.Minute)
	d.wantWait(&otp.Renewal{Scope: scope, Now: d.now}, 0)
}

func waitOfLock(t *testing.T, open Open) {
	d := newDesk(t, open, 20)
	f := failuresOf("wait lock", "", otp.Lockout{Count: 1, For: 30 * time.Minute, Max: 2})
	c := counter("ip", "wait lock", otp.Rate{Count: 1, Window: time.Hour})
	d.reserve(c)
	wait := func() *otp.Renewal { return &otp.Renewal{Scope: scope, Now: d.now, Failures: f} }
	d.wantWait(wait(), 0)
	d.failAndLock(f, "lockout", 30*time.Minute)
	d.wantWait(wait(), 30*time.Minute)
	d.wantWait(&otp.Renewal{Scope: scope, Now: d.now, Failures: f, Counters: []otp.Counter{c}}, time.Hour)
	d.now = d.now.Add(30 * time.Minute)
	d.wantWait(wait(), 0)
	d.failAndLock(f, "max_failures", 0)
	d.wantWait(wait(), otp.LongWait)
}

func waitCountsNothing(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	c := counter("number", "wait again", otp.Rate{Count: 1, Window: time.Hour})
	for range 5 {
		d.wantWait(&otp.Renewal{Scope: scope, Now: d.now, Counters: []otp.Counter{c}}, 0)
	}
	d.reserve(c)
}

// lastSending: after as many sendings as a challenge may have, the record says that there
// is no other before its end.
func lastSending(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	id := d.reserve()
	d.now = d.now.Add(cooldown)
	for range 50 {
		_, err := d.store.Resend(ctx, id, &otp.Renewal{Scope: scope, Now: d.now, TTL: ttl})
		if errors.As(err, new(*otp.LimitError)) {
			if rec := d.mustGet(id); rec.ResendAt.Before(rec.ExpiresAt) {
				t.Errorf("no other sending is allowed, but resend at %s is before the end %s", rec.ResendAt, rec.ExpiresAt)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Error("50 sendings of one challenge")
}
