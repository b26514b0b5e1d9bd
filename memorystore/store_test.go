package memorystore

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/otp/storetest"
	"github.com/caddy-websms/websms/session"
)

func TestMemoryStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, capacity int) otp.Store { return openMemory(t, capacity) })
}

func TestStoreResize(t *testing.T) {
	t.Parallel()
	const small, large = 10, 20000
	store := openMemory(t, small)
	var all []otp.ID
	fill := func(capacity int) {
		t.Helper()
		ids, err := reserveMany(store, capacity-len(all)+1, storeEpoch)
		if !errors.As(err, new(*otp.UnavailableError)) {
			t.Fatalf("one more than %d: %v", capacity, err)
		}
		if all = append(all, ids...); len(all) != capacity {
			t.Fatalf("%d challenges held, there is room for %d", len(all), capacity)
		}
	}
	meet := func(n int) {
		t.Helper()
		for _, id := range all[:n] {
			if _, err := store.Attempt(context.Background(), id, &otp.Answer{Proof: testProof(id), Now: storeEpoch}); err != nil {
				t.Fatalf("a challenge that was taken does not verify: %v", err)
			}
		}
		all = all[n:]
	}
	fill(small)
	(&Store{Capacity: large}).Start(store)
	fill(large) // far more than ristretto was made for
	(&Store{Capacity: small}).Start(store)
	meet(1)
	if err := store.Reserve(context.Background(), testReservation(storeEpoch)); !errors.As(err, new(*otp.UnavailableError)) {
		t.Fatalf("with %d held and room for %d: %v", len(all), small, err)
	}
	meet(len(all) - small + 1) // of those beyond the capacity none was lost
	fill(small)
	meet(small)
	fill(small)
}

// TestStoreIdleCounters floods the store with numbers. The store forgets them
// when their windows are over, a few with each sending, and not before.
func TestStoreIdleCounters(t *testing.T) {
	t.Parallel()
	const flood, kept = 4000, 100
	store := openMemory(t, 10)
	rates := []otp.Rate{{Count: 1, Window: time.Minute}, {Count: 2, Window: time.Hour}}
	send := func(i int, at time.Duration, want error) {
		t.Helper()
		r := testReservation(storeEpoch.Add(at), testCounter(i, rates...))
		err := store.Reserve(context.Background(), r)
		var limit *otp.LimitError
		switch {
		case want == nil && err != nil:
			t.Fatalf("number %d after %v: %v", i, at, err)
		case want != nil && !errors.As(err, &limit):
			t.Fatalf("number %d after %v: %v, want its limit", i, at, err)
		case want == nil:
			if _, err := store.Attempt(context.Background(), r.ID, &otp.Answer{Proof: r.Proof, Now: r.Now}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range flood {
		send(i, 0, nil)
	}
	for i := range kept {
		send(i, time.Minute, nil)
	}
	if got := len(store.counters.places); got != flood {
		t.Fatalf("%d counters, want %d: none is idle yet", got, flood)
	}
	for i := range flood { // others, an hour less a nanosecond later
		send(flood+i, time.Hour-1, nil)
	}
	for i := range kept {
		send(i, time.Hour-1, new(otp.LimitError))
	}
	for i := range 2 * flood { // others still, when the first of all are idle
		send(2*flood+i, time.Hour+time.Minute-1, nil)
	}
	for i := range kept { // which those are not that were asked for again
		if store.counters.get(testCounter(i).Key) == nil {
			t.Fatalf("number %d was forgotten within its hour", i)
		}
	}
	if got, want := len(store.counters.places), 3*flood+kept; got != want {
		t.Errorf("%d counters, want %d", got, want)
	}
	const last = -1
	for i := range flood { // four looks each at 3*flood counters, all idle
		send(last-i%2, 3*time.Hour+time.Duration(i)*time.Hour, nil)
	}
	if got := len(store.counters.places); got > 2 {
		t.Errorf("%d counters, want those of the last two numbers", got)
	}
}

func TestStoreDestruct(t *testing.T) {
	before := goleak.IgnoreCurrent()
	store, err := newMemory(100)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := reserveMany(store, 100, storeEpoch)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		_, stop := store.Watch(id)
		defer stop()
	}
	if err := store.Destruct(); err != nil {
		t.Errorf("Destruct: %v", err)
	}
	goleak.VerifyNone(t, before)
}

// If ristretto does not keep a challenge, the send is refused and counts
// nothing.
func TestStoreClosed(t *testing.T) {
	t.Parallel()
	store := openMemory(t, 10)
	number := testCounter(1, otp.Rate{Count: 1, Window: time.Hour})
	store.cache.Close()
	for range 3 {
		err := store.Reserve(context.Background(), testReservation(storeEpoch, number))
		if !errors.As(err, new(*otp.UnavailableError)) {
			t.Fatalf("Reserve: %v, want an *UnavailableError", err)
		}
	}
	if n, err := store.Live(context.Background(), storeEpoch); n != 0 || err != nil {
		t.Errorf("Live: %d, %v; want none", n, err)
	}
}

// If the cooldown does not bound the sendings of a challenge, sixteen do.
func TestStoreManyResends(t *testing.T) {
	t.Parallel()
	store := openMemory(t, 10)
	for _, cooldown := range []time.Duration{0, time.Millisecond} {
		r := testReservation(storeEpoch)
		r.Cooldown, r.TTL = cooldown, otp.MaxLife
		if err := store.Reserve(context.Background(), r); err != nil {
			t.Fatal(err)
		}
		renewal := &otp.Renewal{Now: storeEpoch, TTL: otp.MaxLife, Cooldown: cooldown}
		for sending := 2; sending <= maxSendings; sending++ {
			renewal.Now = renewal.Now.Add(cooldown << (sending - 2))
			if _, err := store.Resend(context.Background(), r.ID, renewal); err != nil {
				t.Fatalf("sending %d: %v", sending, err)
			}
		}
		renewal.Now = storeEpoch.Add(5 * time.Minute)
		_, err := store.Resend(context.Background(), r.ID, renewal)
		var limit *otp.LimitError
		if !errors.As(err, &limit) || limit.Limit != "cooldown" || limit.RetryAfter != 5*time.Minute {
			t.Errorf("sending %d: %v, want none before the challenge ends", maxSendings+1, err)
		}
	}
}

// A counter keeps as many moments as its own rates need, and not as many as
// another limit's.
func TestCountersTrim(t *testing.T) {
	t.Parallel()
	c := newCounters()
	now := storeEpoch
	huge := testCounter(1, otp.Rate{Count: 10_000_000, Window: time.Second})
	if err := c.take([]otp.Counter{huge}, now, nil); err != nil {
		t.Fatal(err)
	}
	usual := testCounter(2, otp.Rate{Count: 3, Window: 10 * time.Minute}, otp.Rate{Count: 10, Window: 24 * time.Hour})
	for range 365 * 10 {
		now = now.Add(24*time.Hour/10 + time.Second)
		if err := c.take([]otp.Counter{usual}, now, nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.get(usual.Key).window.Count(now, 100*365*24*time.Hour); n > 10 {
		t.Errorf("%d moments are kept after a year, of which 10 can count", n)
	}
}

// TestStoreFootprint bounds the memory of a challenge and of a counter.
func TestStoreFootprint(t *testing.T) {
	const n = 100_000
	ring, err := session.NewRing(session.NewKeys(storeEpoch))
	if err != nil {
		t.Fatal(err)
	}
	before := harness.HeapInUse()
	store := openMemory(t, n)
	empty := harness.HeapInUse()
	for i := range n {
		r := testReservation(storeEpoch)
		sealed, err := ring.Seal(session.ForCode, string(r.ID[:]), []byte("123456"))
		if err != nil {
			t.Fatal(err)
		}
		r.Sealed = []byte(sealed)
		if err := store.Reserve(context.Background(), r); err != nil {
			t.Fatal(err)
		}
		err = store.Settle(context.Background(), r.ID, &otp.Settlement{
			Sending: 1, MessageID: fmt.Sprintf("MSG%013d", i), Status: otp.Accepted, Taken: storeEpoch, Now: storeEpoch,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	challenge := (harness.HeapInUse() - before) / n
	t.Logf("%d bytes for each of %d live challenges, settled; %d of them before there is one", challenge, n, (empty-before)/n)
	if challenge > 512 {
		t.Errorf("%d bytes for each live challenge, want 512 at most", challenge)
	}
	if live, err := store.Live(context.Background(), storeEpoch); live != n || err != nil {
		t.Errorf("Live: %d, %v; want %d", live, err, n)
	}

	for _, sendings := range []int{1, 10} {
		before = harness.HeapInUse()
		c := newCounters()
		rates := []otp.Rate{{Count: 3, Window: 10 * time.Minute}, {Count: 10, Window: 24 * time.Hour}}
		for round := range sendings {
			at := storeEpoch.Add(time.Duration(round) * 4 * time.Minute)
			for i := range n {
				if err := c.take([]otp.Counter{testCounter(i, rates...)}, at, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		each := (harness.HeapInUse() - before) / n
		t.Logf("%d bytes for each of %d counters with %d sendings", each, n, sendings)
		if most := int64(128 * min(sendings, 2)); each > most {
			t.Errorf("%d bytes for each counter with %d sendings, want %d at most", each, sendings, most)
		}
		runtime.KeepAlive(c)
	}
	runtime.KeepAlive(store)
}

// Strangers who try recovery codes push out no mark of a webhook's event.
func TestRecoveryTriesPushNothingOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring, err := session.NewRing(session.NewKeys(time.Now()))
		if err != nil {
			t.Fatal(err)
		}
		store := openMemory(t, 10)
		e := otp.NewEngine(otp.Config{Store: store, Ring: ring})
		defer e.Close(ctxBg)
		work, err := e.Begin(ctxBg, 24*time.Hour, "mo", "MO1", "")
		if err == nil {
			err = work.Done(ctxBg)
		}
		if err != nil {
			t.Fatal(err)
		}
		seen := len(store.seen.places)
		for i := range maxTries + 1000 {
			if err := store.Try(ctxBg, "app", testCounter(i, otp.Rate{Count: 10, Window: otp.RecoveryLife}), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.Recover(ctxBg, "app", "192.0.2.1", "0000-0000-0000-0", nil); !errors.Is(err, otp.ErrWrongCode) {
			t.Fatal(err)
		}
		if n := len(store.tries.places); n != maxTries {
			t.Errorf("%d addresses are kept, want %d", n, maxTries)
		}
		if len(store.seen.places) != seen || len(store.counters.places) != 0 {
			t.Error("tries are kept among other things")
		}
		if _, err := e.Begin(ctxBg, 24*time.Hour, "mo", "MO1", ""); !errors.Is(err, otp.ErrDone) {
			t.Errorf("the event: %v", err)
		}
	})
}
