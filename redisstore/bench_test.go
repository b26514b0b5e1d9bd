package redisstore

import (
	"context"
	"crypto/sha256"
	"os"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/redisstore/redistest"
	"github.com/caddy-websms/websms/session"
)

// bare is the least that verifies a code at once: what every store must pay.
var bare = rueidis.NewLuaScript(`
local c = redis.call('HMGET', KEYS[1], 'p', 'a', 'd')
if not c[1] or tonumber(c[3]) <= tonumber(ARGV[1]) or tonumber(c[2]) <= 0 then return 0 end
redis.call('HINCRBY', KEYS[1], 'a', -1)
if c[1] ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[1])
return 1
`)

// BenchmarkVerify answers challenges with their right codes, from 32
// goroutines, beside a script that does no more than it must.
func BenchmarkVerify(b *testing.B) {
	s := openStore(b, benchRedis(b))
	client := *s.node.client.Load()
	now := time.Now().Truncate(time.Microsecond)
	proof := otp.Digest(sha256.Sum256([]byte("right")))
	prepare := func(b *testing.B) chan otp.ID {
		client.Do(context.Background(), client.B().Flushall().Build())
		ids := make(chan otp.ID, b.N)
		for range b.N {
			ids <- session.NewID()
		}
		return ids
	}
	each := func(b *testing.B, n int, do func(int)) {
		done := make(chan int)
		for g := range 32 {
			go func() {
				for i := g; i < n; i += 32 {
					do(i)
				}
				done <- g
			}()
		}
		for range 32 {
			<-done
		}
	}
	b.Run("bare", func(b *testing.B) {
		ids := prepare(b)
		list := make([]otp.ID, b.N)
		for i := range list {
			list[i] = <-ids
		}
		each(b, b.N, func(i int) {
			client.Do(context.Background(), client.B().Hset().Key(s.challenge("", list[i])).FieldValue().
				FieldValue("p", string(proof[:])).FieldValue("a", "5").FieldValue("d", micros(now.Add(time.Minute))).
				FieldValue("s", "0123456789012345678901234567890123456789").FieldValue("u", "queued").Build())
		})
		b.ResetTimer()
		each(b, b.N, func(i int) {
			if n, err := bare.Exec(context.Background(), client, []string{s.challenge("", list[i])}, []string{micros(now), string(proof[:])}).AsInt64(); n != 1 || err != nil {
				b.Error(n, err)
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "verifications/s")
	})
	b.Run("store", func(b *testing.B) {
		ids := prepare(b)
		list := make([]otp.ID, b.N)
		for i := range list {
			list[i] = <-ids
		}
		each(b, b.N, func(i int) {
			if err := s.Reserve(context.Background(), &otp.Reservation{ID: list[i], Sealed: []byte("0123456789012345678901234567890123456789"), Proof: proof, Length: 6, Attempts: 5, Now: now, TTL: time.Minute}); err != nil {
				b.Error(err)
			}
		})
		b.ResetTimer()
		each(b, b.N, func(i int) {
			if _, err := s.Attempt(context.Background(), list[i], &otp.Answer{Proof: proof, Now: now, Run: otp.Run{Number: otp.Digest(sha256.Sum256(list[i][:])), Lockout: otp.Lockout{Count: 10, For: time.Minute, Max: 100}}}); err != nil {
				b.Error(err)
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "verifications/s")
	})
}

func benchRedis(b *testing.B) string {
	if a := os.Getenv("BR"); a != "" {
		return a
	}
	return redistest.Server(b).Addr()
}
