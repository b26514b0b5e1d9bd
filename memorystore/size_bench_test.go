package memorystore

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

// sizes are numbers of entries. The cost of one must not depend on them.
var sizes = []int{1_000, 10_000, 100_000, 1_000_000}

// BenchmarkChallengeSize measures the memory of a live challenge that the
// engine has made, sent and settled, without the counters of its number.
func BenchmarkChallengeSize(b *testing.B) {
	ring, err := session.NewRing(session.NewKeys(storeEpoch))
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			each := 0.0
			for b.Loop() {
				before := harness.HeapInUse()
				store, err := newMemory(n)
				if err != nil {
					b.Fatal(err)
				}
				for i := range n {
					reserveAsEngine(b, ring, store, i)
				}
				each = float64(harness.HeapInUse()-before) / float64(n)
				if err := store.Destruct(); err != nil {
					b.Fatal(err)
				}
				runtime.KeepAlive(store)
			}
			b.ReportMetric(each, "B/challenge")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/challenge")
		})
	}
}

func reserveAsEngine(tb testing.TB, ring *session.Ring, store *memory, i int) {
	id := session.NewID()
	sealed, err := ring.Seal(session.ForCode, string(id[:]), []byte("482174"))
	if err != nil {
		tb.Fatal(err)
	}
	r := &otp.Reservation{
		ID: id, Sealed: []byte(sealed), Length: 6, Attempts: 5, Now: storeEpoch, TTL: 5 * time.Minute, Cooldown: 30 * time.Second,
		Failures: otp.Failures{Number: ring.Digest("failures", "", fmt.Sprint(i))},
	}
	r.Proof = ring.Digest("code", string(id[:]), "482174")
	if err := store.Reserve(context.Background(), r); err != nil {
		tb.Fatal(err)
	}
	settled := &otp.Settlement{Sending: 1, MessageID: fmt.Sprintf("MSG%016d", i), Status: otp.Accepted, Taken: storeEpoch, Now: storeEpoch}
	if err := store.Settle(context.Background(), id, settled); err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkCounterSize measures the memory of a counter with one sending.
func BenchmarkCounterSize(b *testing.B) {
	rates := []otp.Rate{{Count: 3, Window: 10 * time.Minute}, {Count: 10, Window: 24 * time.Hour}}
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			each := 0.0
			for b.Loop() {
				before := harness.HeapInUse()
				c := newCounters()
				for i := range n {
					if err := c.take([]otp.Counter{testCounter(1+i, rates...)}, storeEpoch, nil); err != nil {
						b.Fatal(err)
					}
				}
				each = float64(harness.HeapInUse()-before) / float64(n)
				runtime.KeepAlive(&c)
			}
			b.ReportMetric(each, "B/counter")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/counter")
		})
	}
}
