// Package redisstore is the guest module websms.stores.redis. It keeps challenges,
// limits, keys and revocations in Redis or Valkey, so that several Caddys share them.
// It works with a single server (Redis 6.2 or later), Redis Sentinel and Redis
// Cluster.
package redisstore

import (
	"fmt"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/internal/block"
)

func init() {
	caddy.RegisterModule(Store{})
}

// Store keeps challenges in Redis or Valkey. All Caddys that use the same Redis share
// them: a code that one Caddy has sent can be verified at any other.
//
// Texts may contain the placeholders `{env.NAME}` and `{file./path}`. Caddy replaces
// them when it loads the configuration.
type Store struct {
	// The addresses of Redis: `host:port`, or `unix//path` for a socket. Give one
	// server, one or more nodes of a cluster, or (with sentinel) the sentinels. The
	// default port is 6379, and 26379 for sentinels. Required.
	Address []string `json:"address,omitempty"`

	// The user in the ACL of Redis. Default: `default`, as in Redis itself.
	Username string `json:"username,omitempty"`

	// The password of the user. Give it as `{env.REDIS_PASSWORD}` or
	// `{file./run/secrets/redis}` to keep it out of the configuration.
	Password string `json:"password,omitempty"`

	// The number of the database. A cluster has only 0. Default: 0.
	DB int `json:"db,omitempty"`

	// Encrypts the connections, also those to sentinels.
	TLS *TLS `json:"tls,omitempty"`

	// The prefix of all keys: up to 64 printable ASCII characters without spaces
	// and braces. Default: `websms:`.
	KeyPrefix string `json:"key_prefix,omitempty"`

	// Asks Redis Sentinel for the address of the master.
	Sentinel *Sentinel `json:"sentinel,omitempty"`

	resolved *resolved // by Provision
}

// Sentinel has the options for asking Redis Sentinel for the master.
type Sentinel struct {
	// The name under which the sentinels watch the master. Required.
	Master string `json:"master,omitempty"`

	// The user in the ACL of the sentinels. It may differ from the user of Redis.
	Username string `json:"username,omitempty"`

	// The password of that user. The sentinels have a password of their own.
	Password string `json:"password,omitempty"`
}

const (
	// DefaultKeyPrefix is the prefix of all keys, unless key_prefix gives another.
	DefaultKeyPrefix = "websms:"
	maxPrefix        = 64
)

// CaddyModule returns the Caddy module information.
func (Store) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "websms.stores.redis",
		New: func() caddy.Module { return new(Store) },
	}
}

// Provision replaces the placeholders and reads the files of tls. It does not
// connect, because Redis may be away when Caddy starts.
func (s *Store) Provision(caddy.Context) error {
	r, err := s.resolve()
	if err != nil {
		return block.Within("store redis", err)
	}
	s.resolved = r
	return nil
}

// Validate returns an error if options are missing, malformed or contradict each other.
func (s *Store) Validate() error { return block.Within("store redis", s.check()) }

// StoreKey identifies the store that Open returns. It is a hash of all options, since
// each of them decides how Redis is reached. With another password or certificate,
// Open returns another store with the same challenges.
func (s *Store) StoreKey() string { return fmt.Sprintf("store redis %x", s.resolved.digest) }

// prefix returns what every key begins with.
func (s *Store) prefix() string { return s.resolved.options.KeyPrefix }

// Interface guards
var (
	_ caddy.Provisioner = (*Store)(nil)
	_ caddy.Validator   = (*Store)(nil)
)
