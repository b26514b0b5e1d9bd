package memorystore

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-websms/websms/otp"
)

// benchStores runs a benchmark of a store in memory alone, and of one that
// writes its file meanwhile.
func benchStores(b *testing.B, run func(b *testing.B, store *memory)) {
	b.Run("memory", func(b *testing.B) { run(b, openMemory(b, 100_000)) })
	b.Run("file", func(b *testing.B) {
		run(b, openSaved(b, b.TempDir(), storeEpoch, func(m *memory) { m.setCapacity(100_000) }).memory)
	})
}

// BenchmarkFileReserve reserves as BenchmarkStoreReserve does, but
// that nothing is left pending.
func BenchmarkFileReserve(b *testing.B) {
	benchStores(b, func(b *testing.B, store *memory) {
		perNumber := []otp.Rate{{Count: 3, Window: 10 * time.Minute}, {Count: 1000, Window: 24 * time.Hour}}
		budget := otp.Counter{Limit: "budget", Rates: []otp.Rate{{Count: 400_000, Window: time.Hour}}}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			r := testReservation(storeEpoch.Add(time.Duration(i)*10*time.Millisecond), testCounter(1+i%50_000, perNumber...), budget)
			if err := store.Reserve(ctxBg, r); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkFileAttempt attempts with wrong codes that count for one of
// 10,000 numbers.
func BenchmarkFileAttempt(b *testing.B) {
	benchStores(b, func(b *testing.B, store *memory) {
		challenges := newBenchChallenges(b, store)
		var turn atomic.Int64
		b.ReportAllocs()
		for b.Loop() {
			run := testFailures(int(turn.Add(1))%10_000, 0)
			run.Lockout = otp.Lockout{}
			_, err := store.Attempt(ctxBg, challenges.next(), &otp.Answer{Failures: run, Now: storeEpoch})
			if !errors.Is(err, otp.ErrWrongCode) {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkFileFlush writes the changes of a hundred sendings, as many as a
// busy machine has between two writes.
func BenchmarkFileFlush(b *testing.B) {
	s := openSaved(b, b.TempDir(), storeEpoch, func(m *memory) { m.setCapacity(1_000_000) })
	turn := 0
	for b.Loop() {
		b.StopTimer()
		for range 100 {
			turn++
			rates := []otp.Rate{{Count: 3, Window: 10 * time.Minute}}
			at := storeEpoch.Add(time.Duration(turn) * time.Millisecond)
			r := testReservation(at, testCounter(turn, rates...), testCounter(-turn, rates...))
			r.TTL = time.Second
			if err := s.Reserve(ctxBg, r); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
		s.flush()
	}
}

// BenchmarkFileOpen reads the counters of the process before.
func BenchmarkFileOpen(b *testing.B) {
	const n = 100_000
	dir := b.TempDir()
	s := openSaved(b, dir, storeEpoch)
	s.mu.Lock()
	for i := range n {
		if err := s.counters.take([]otp.Counter{testCounter(i, otp.Rate{Count: 3, Window: time.Hour})}, storeEpoch, nil); err != nil {
			b.Fatal(err)
		}
	}
	s.mu.Unlock()
	s.close()
	b.ResetTimer()
	for b.Loop() {
		s := openSaved(b, dir, storeEpoch)
		if got := len(s.counters.places); got != n {
			b.Fatalf("%d counters, want %d", got, n)
		}
		b.StopTimer()
		s.close()
		b.StartTimer()
	}
	b.ReportMetric(n, "counters/op")
}
