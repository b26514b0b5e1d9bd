package redisstore

import (
	"math"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
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

// openStore returns a store on the Redis at these addresses, as a configuration opens it.
func openStore(t testing.TB, addresses ...string) *store {
	t.Helper()
	return openConfigured(t, &Store{Address: addresses})
}

// openConfigured opens a store with a long budget, because the crowds of the suite are too
// large for a small machine.
func openConfigured(t testing.TB, config *Store) *store {
	t.Helper()
	return openWithin(t, 10*time.Second, config)
}

func openWithin(t testing.TB, budget time.Duration, config *Store) *store {
	t.Helper()
	option, err := provisioned(t, config).clientOption()
	if err != nil {
		t.Fatal(err)
	}
	logger := zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))
	dial := func() (rueidis.Client, error) { return rueidis.NewClient(option) }
	n := newNodeWithin(budget, "websms:alive", dial, func() *zap.Logger { return logger })
	s := newStore(n, "websms:")
	t.Cleanup(n.close)
	<-n.known
	// After a subscription is confirmed, all goroutines that stay are running.
	changed, stop := s.Watch(otp.ID{1})
	defer stop()
	select {
	case <-changed:
	case <-time.After(10 * time.Second):
		t.Fatal("the store hears nothing")
	}
	return s
}

// runSuite runs the suite on one store, which is empty at the start of each test.
func runSuite(t *testing.T, config *Store, flushAll func()) {
	s := openConfigured(t, config)
	storetest.RunUnbounded(t, func(*testing.T) otp.Store {
		s.lives.take() // the changes from now on belong to this test
		flushAll()
		return s
	})
}

// TestStore runs the suite on each kind of Redis. It runs them one after the other, because
// the suite looks for goroutines that are left.
func TestStore(t *testing.T) {
	t.Run("miniredis", func(t *testing.T) {
		redis := miniredis.RunT(t)
		runSuite(t, at(redis.Addr()), redis.FlushAll)
	})
	t.Run("server", func(t *testing.T) {
		redis := redistest.Server(t)
		runSuite(t, at(redis.Addr()), func() { redis.Do("FLUSHALL") })
	})
	t.Run("cluster", func(t *testing.T) {
		cluster := redistest.Cluster(t)
		runSuite(t, &Store{Address: cluster.Addrs()}, func() {
			for _, node := range cluster.Nodes {
				node.Do("FLUSHALL")
			}
		})
	})
}

// TestDocumentedPermissions runs the suite as a user with exactly the permissions in
// docs/caddyfile.md.
func TestDocumentedPermissions(t *testing.T) {
	page, err := os.ReadFile("../docs/caddyfile.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("```text\n(ACL SETUSER [^`]+)```").FindSubmatch(page)
	if found == nil {
		t.Fatal("docs/caddyfile.md has no ACL SETUSER")
	}
	redis := redistest.Server(t)
	redis.Do(strings.Fields(string(found[1]))...)
	user := &Store{Address: []string{redis.Addr()}, Username: "websms", Password: "password"}
	flushAll := func() { redis.Do("FLUSHALL") }
	runSuite(t, user, flushAll)
	flushAll()
	a, err := newArchive(openConfigured(t, user).node, "websms:", "secret")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.ChangeKeys(t.Context(), func([]byte) ([]byte, error) { return []byte("keys"), nil }); err != nil {
		t.Error(err)
	}
	if err := a.Keep(t.Context(), "name", []byte("value")); err != nil {
		t.Error(err)
	}
	if names, _, _, err := a.Records(t.Context(), ""); err != nil || len(names) != 1 {
		t.Error(names, err)
	}
	if err := a.Drop(t.Context(), "name"); err != nil {
		t.Error(err)
	}
}

// Changes that the store is just telling Redis count too.
func TestLiveWhileItIsTold(t *testing.T) {
	s := openStore(t, redistest.Server(t).Addr())
	for i := range 300 {
		if err := s.Reserve(ctx, reservation()); err != nil {
			t.Fatal(err)
		}
		var told sync.WaitGroup
		told.Go(func() { s.tellLives(now(), math.MaxInt32) })
		runtime.Gosched()
		n, err := s.Live(ctx, now())
		told.Wait()
		if err != nil || n != i+1 {
			t.Fatalf("Live: %d, %v; want %d", n, err, i+1)
		}
	}
}
