package memorystore

import (
	"context"
	"encoding/binary"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

// BenchmarkStoreReserve reserves a hundred challenges a second of the
// store's time, so that some 30,000 are live at once and as many expire, for
// 50,000 numbers in turn, each of them limited, and all together.
func BenchmarkStoreReserve(b *testing.B) {
	store := openMemory(b, 100_000)
	var turn atomic.Int64
	perNumber := []otp.Rate{{Count: 3, Window: 10 * time.Minute}, {Count: 1000, Window: 24 * time.Hour}}
	budget := otp.Counter{Limit: "budget", Rates: []otp.Rate{{Count: 400_000, Window: time.Hour}}}
	reserve := func(tb testing.TB) {
		i := int(turn.Add(1))
		r := testReservation(storeEpoch.Add(time.Duration(i)*10*time.Millisecond), testCounter(1+i%50_000, perNumber...), budget)
		if err := store.Reserve(context.Background(), r); err != nil {
			tb.Errorf("reserving the %dth: %v", i, err)
		}
	}
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			reserve(b)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				reserve(b)
			}
		})
	})
}

// benchChallenges are live challenges whose attempts never run out.
type benchChallenges struct {
	store *memory
	ids   []otp.ID
	turn  atomic.Uint32
}

func newBenchChallenges(b *testing.B, store *memory) *benchChallenges {
	ids, err := reserveMany(store, 10_000, storeEpoch)
	if err != nil {
		b.Fatal(err)
	}
	c := &benchChallenges{store: store, ids: ids}
	for _, id := range ids {
		c.restore(id)
	}
	return c
}

// restore gives a challenge new attempts, which no method of a store does.
func (c *benchChallenges) restore(id otp.ID) {
	rec := c.store.find(id)
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.left = 255
}

// next returns one of them, in turn.
func (c *benchChallenges) next() otp.ID {
	turn := int(c.turn.Add(1))
	id := c.ids[turn%len(c.ids)]
	if turn/len(c.ids)%200 == 199 {
		c.restore(id)
	}
	return id
}

// BenchmarkStoreAttempt attempts with wrong codes, which an attacker can do
// often.
func BenchmarkStoreAttempt(b *testing.B) {
	challenges := newBenchChallenges(b, openMemory(b, 100_000))
	var proof otp.Digest
	attempt := func(tb testing.TB) {
		_, err := challenges.store.Attempt(context.Background(), challenges.next(), &otp.Answer{Proof: proof, Now: storeEpoch})
		if !errors.Is(err, otp.ErrWrongCode) {
			tb.Errorf("attempt: %v", err)
		}
	}
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			attempt(b)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				attempt(b)
			}
		})
	})
}

// noSender is for benchmarks that send nothing.
type noSender struct{}

func (noSender) SendOTP(context.Context, connexus.OTP) (connexus.Receipt, error) {
	return connexus.Receipt{}, errors.New("nothing is to be sent")
}

// BenchmarkEngineVerify verifies wrong codes: the keyed hash and the attempt.
func BenchmarkEngineVerify(b *testing.B) {
	challenges := newBenchChallenges(b, openMemory(b, 100_000))
	ring, err := session.NewRing(session.NewKeys(storeEpoch))
	if err != nil {
		b.Fatal(err)
	}
	engine := otp.NewEngine(otp.Config{
		Store: challenges.store, Sender: noSender{}, Ring: ring, Now: func() time.Time { return storeEpoch },
	})
	defer engine.Close(context.Background())
	verify := func(tb testing.TB) {
		answer := otp.Verification{ID: challenges.next(), Code: "123 456", Number: "+6421234567"}
		if _, err := engine.Verify(context.Background(), new(otp.Policy), answer); !errors.Is(err, otp.ErrWrongCode) {
			tb.Errorf("verify: %v", err)
		}
	}
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			verify(b)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				verify(b)
			}
		})
	})
}

// BenchmarkStoreExpire measures one send after many challenges have expired at
// once.
func BenchmarkStoreExpire(b *testing.B) {
	const n = 100_000
	store := openMemory(b, n)
	now := storeEpoch
	for b.Loop() {
		b.StopTimer()
		if _, err := reserveMany(store, n-1, now); err != nil {
			b.Fatal(err)
		}
		now = now.Add(time.Hour)
		b.StartTimer()
		if err := store.Reserve(context.Background(), testReservation(now)); err != nil {
			b.Fatal(err)
		}
		now = now.Add(time.Hour)
	}
	b.ReportMetric(n, "expired/op")
}

// BenchmarkStoreReport applies delivery reports of known messages, and keeps
// those of unknown ones.
func BenchmarkStoreReport(b *testing.B) {
	challenges := newBenchChallenges(b, openMemory(b, 100_000))
	for _, id := range challenges.ids {
		err := challenges.store.Settle(context.Background(), id, &otp.Settlement{
			Sending: 1, MessageID: id.String(), Status: otp.Accepted, Taken: storeEpoch, Now: storeEpoch,
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	report := func(b *testing.B, message func(otp.ID) string) {
		messages := make([]string, len(challenges.ids))
		for i, id := range challenges.ids {
			messages[i] = message(id)
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			message := messages[i%len(messages)]
			if _, _, err := challenges.store.Report(context.Background(), message, connexus.StateDelivered, storeEpoch); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("known", func(b *testing.B) { report(b, otp.ID.String) })
	b.Run("early", func(b *testing.B) {
		report(b, func(id otp.ID) string { return string(binary.BigEndian.AppendUint32(id[:], 1)) })
	})
}
