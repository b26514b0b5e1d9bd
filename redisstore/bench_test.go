package redisstore

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/redisstore/redistest"
	"github.com/caddy-websms/websms/session"
)

// bare is the smallest script that verifies a code in one step.
var bare = rueidis.NewLuaScript(`
local c = redis.call('HMGET', KEYS[1], 'p', 'a', 'd')
if not c[1] or tonumber(c[3]) <= tonumber(ARGV[1]) or tonumber(c[2]) <= 0 then return 0 end
redis.call('HINCRBY', KEYS[1], 'a', -1)
if c[1] ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[1])
return 1
`)

// BenchmarkVerify answers challenges with their right codes from 32 goroutines. It
// compares that with the script bare on challenges of the same life. The two take turns,
// because machines are noisy. It reports the medians of both, and their ratio.
func BenchmarkVerify(b *testing.B) {
	const challenges, workers, rounds = 20_000, 32, 9
	ctx, now := context.Background(), time.Now().Truncate(time.Microsecond)
	s := openStore(b, redistest.Server(b).Addr())
	client := *s.node.client.Load()
	proof := otp.Digest(sha256.Sum256([]byte("right")))
	sealed := strings.Repeat("s", 40)
	each := func(ids []otp.ID, do func(otp.ID) error) {
		var all sync.WaitGroup
		for w := range workers {
			all.Go(func() {
				for i := w; i < len(ids); i += workers {
					if err := do(ids[i]); err != nil {
						b.Error(err)
					}
				}
			})
		}
		all.Wait()
	}
	// measure returns how many answers a second are right.
	measure := func(ask, answer func(otp.ID) error) float64 {
		ids := make([]otp.ID, challenges)
		for i := range ids {
			ids[i] = session.NewID()
		}
		each(ids, ask)
		begun := time.Now()
		each(ids, answer)
		return challenges / time.Since(begun).Seconds()
	}
	var bareRates, storeRates []float64
	for b.Loop() {
		for range rounds {
			bareRates = append(bareRates, measure(
				func(id otp.ID) error {
					key := s.challenge("", id)
					for _, r := range client.DoMulti(ctx,
						client.B().Hset().Key(key).FieldValue().
							FieldValue("p", string(proof[:])).FieldValue("a", "5").FieldValue("d", micros(now.Add(time.Minute))).
							FieldValue("s", sealed).FieldValue("u", "queued").Build(),
						client.B().Pexpire().Key(key).Milliseconds(60_000).Build()) {
						if err := r.Error(); err != nil {
							return err
						}
					}
					return nil
				},
				func(id otp.ID) error {
					n, err := bare.Exec(ctx, client, []string{s.challenge("", id)}, []string{micros(now), string(proof[:])}).AsInt64()
					if n != 1 && err == nil {
						err = otp.ErrWrongCode
					}
					return err
				}))
			storeRates = append(storeRates, measure(
				func(id otp.ID) error {
					return s.Reserve(ctx, &otp.Reservation{
						ID: id, Sealed: []byte(sealed), Proof: proof, Length: 6, Attempts: 5, Now: now, TTL: time.Minute,
					})
				},
				func(id otp.ID) error {
					_, err := s.Attempt(ctx, id, &otp.Answer{Proof: proof, Now: now, Failures: otp.Failures{
						Number:  otp.Digest(sha256.Sum256(id[:])),
						Lockout: otp.Lockout{Count: 10, For: time.Minute, Max: 100},
					}})
					return err
				}))
			client.Do(ctx, client.B().Flushdb().Build())
		}
	}
	bare, store := median(bareRates), median(storeRates)
	b.ReportMetric(bare, "bare/s")
	b.ReportMetric(store, "store/s")
	b.ReportMetric(store/bare, "store/bare")
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}
