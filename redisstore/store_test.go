package redisstore

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/rueidis"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/otp/storetest"
	"github.com/caddy-websms/websms/redisstore/redistest"
)

// openStore returns a store on the Redis at these addresses, as a
// configuration that names them would have it.
func openStore(t testing.TB, addresses ...string) *store {
	t.Helper()
	option, err := provisioned(t, &Store{Address: addresses}).clientOption()
	if err != nil {
		t.Fatal(err)
	}
	logger := zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))
	n := newNode("websms:alive", func() (rueidis.Client, error) { return rueidis.NewClient(option) }, func() *zap.Logger { return logger })
	n.budget = 10 * time.Second // the suite's crowds are larger than the machine
	s := newStore(n, "websms:")
	t.Cleanup(n.close)
	<-n.known
	return s
}

// TestStore holds the store to what every store must do, on a Redis that
// each of its tests finds empty.
func TestStore(t *testing.T) {
	t.Run("miniredis", func(t *testing.T) {
		t.Parallel()
		storetest.RunUnbounded(t, func(t *testing.T) otp.Store { return openStore(t, miniredis.RunT(t).Addr()) })
	})
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		redis := redistest.Server(t)
		storetest.RunUnbounded(t, func(t *testing.T) otp.Store {
			redis.Do("FLUSHALL")
			return openStore(t, redis.Addr())
		})
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		cluster := redistest.Cluster(t)
		storetest.RunUnbounded(t, func(t *testing.T) otp.Store {
			for _, node := range cluster.Nodes {
				node.Do("FLUSHALL")
			}
			return openStore(t, cluster.Addrs()...)
		})
	})
}
