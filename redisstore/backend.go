package redisstore

import (
	"errors"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/redis/rueidis"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/internal/logtext"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

// backends holds the connections to Redis and their stores, by StoreKey. They
// outlive a configuration: configurations that reach Redis in the same way share one.
var backends = caddy.NewUsagePool()

// backend is a store with its connection to Redis.
type backend struct {
	node  *node
	store *store
}

// Destruct implements caddy.Destructor.
func (b *backend) Destruct() error {
	b.node.close()
	return nil
}

// startTime is how long the first configuration with a Redis waits for its answer. A
// working Redis answers in this time, so the first request finds it connected. A
// Redis that does not answer delays the start by no more than this.
const startTime = requestBudget

// acquire opens the connection to Redis, or joins one that is open already.
func (s *Store) acquire() (*backend, func() error, error) {
	option, err := s.clientOption()
	if err != nil {
		return nil, nil, err
	}
	key := s.StoreKey()
	value, joined, err := backends.LoadOrNew(key, func() (caddy.Destructor, error) {
		dial := func() (rueidis.Client, error) { return rueidis.NewClient(option) }
		n := newNode(s.prefix()+"alive", dial, logger)
		return &backend{node: n, store: newStore(n, s.prefix())}, nil
	})
	if err != nil {
		return nil, nil, err
	}
	b := value.(*backend)
	if !joined {
		select {
		case <-b.node.known:
		case <-time.After(startTime):
		}
	}
	return b, func() error {
		_, err := backends.Delete(key)
		return err
	}, nil
}

// logger returns the logger of the running configuration. A node calls it for each
// message, because a node outlives the configuration that opened it.
func logger() *zap.Logger { return logtext.Escaping(caddy.Log().Named("websms.redis")) }

// Open returns the store and a function that releases it. The caller must call that
// function exactly once. Open succeeds even if Redis is away.
func (s *Store) Open() (otp.Store, func() error, error) {
	b, release, err := s.acquire()
	if err != nil {
		return nil, nil, err
	}
	return b.store, release, nil
}

// OpenArchive returns the archive of the keys and revocations that all Caddys share.
// It also returns a text that identifies the archive, and a function that releases it
// and must be called exactly once. secret is the client secret of WebSMS, which all
// Caddys have. It encrypts the sealing keys.
func (s *Store) OpenArchive(secret string) (string, session.Archive, func() error, error) {
	if secret == "" {
		return "", nil, nil, errors.New("store redis needs client_secret, also for a webhook alone: " +
			"it seals the keys that are kept in Redis")
	}
	b, release, err := s.acquire()
	if err != nil {
		return "", nil, nil, err
	}
	a, err := newArchive(b.node, s.prefix(), secret)
	if err != nil {
		return "", nil, nil, errors.Join(err, release())
	}
	return s.StoreKey() + " " + a.tag, a, release, nil
}

// Start does nothing. A store has no options that change while it is open, because
// all options decide how Redis is reached.
func (s *Store) Start(otp.Store) {}

// Stop does nothing, as Start does.
func (s *Store) Stop(otp.Store) {}
