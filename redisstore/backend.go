package redisstore

import (
	"errors"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/redis/rueidis"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

// backends holds what outlives a configuration: a way to Redis, and the store
// on it. Configurations that connect in the same way share one.
var backends = caddy.NewUsagePool()

// backend is a store with its way to Redis.
type backend struct {
	node  *node
	store *store
}

// Destruct implements caddy.Destructor.
func (b *backend) Destruct() error {
	b.node.close()
	return nil
}

// startTime is how long the first configuration that uses a Redis waits for its
// answer. A Redis that works answers in this time, so the first request finds it
// connected. A Redis that does not answer delays the start by no more than this.
const startTime = requestBudget

// acquire opens the way to Redis, or joins the one that is open.
func (s *Store) acquire() (*backend, func() error, error) {
	option, err := s.clientOption()
	if err != nil {
		return nil, nil, err
	}
	key := s.StoreKey()
	value, joined, err := backends.LoadOrNew(key, func() (caddy.Destructor, error) {
		n := newNode(s.prefix()+"alive", func() (rueidis.Client, error) { return rueidis.NewClient(option) }, logger)
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

// logger returns the logger of the configuration that runs: a way to Redis
// outlives the one that opened it.
func logger() *zap.Logger { return caddy.Log().Named("websms.redis") }

// Open returns the store, and a function that lets go of it, to be called
// once. That Redis is away is no error.
func (s *Store) Open() (otp.Store, func() error, error) {
	b, release, err := s.acquire()
	if err != nil {
		return nil, nil, err
	}
	return b.store, release, nil
}

// OpenArchive returns where the keys and revocations are that all Caddys
// share, what identifies it, and a function that lets go of it. The secret
// seals the keys; it is the client secret of WebSMS, which all of them have.
func (s *Store) OpenArchive(secret string) (string, session.Archive, func() error, error) {
	if secret == "" {
		return "", nil, nil, errors.New("store redis needs client_secret, also for a webhook alone: it seals the keys that are kept in Redis")
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

// Start and Stop do nothing: every option is one of the way to Redis.
func (s *Store) Start(otp.Store) {}

// Stop does nothing.
func (s *Store) Stop(otp.Store) {}
