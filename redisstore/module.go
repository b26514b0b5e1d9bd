// Package redisstore keeps challenges, limits, keys and revocations in Redis
// or Valkey, so that several Caddys are one: the guest module
// websms.stores.redis. It works with a single server from Redis 6.2 on, with
// Redis Sentinel and with Redis Cluster.
package redisstore

import (
	"fmt"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/internal/block"
)

func init() {
	caddy.RegisterModule(Store{})
}

// Store keeps challenges in Redis or Valkey, for all Caddys that use the same
// one: a code that was asked for at one of them is good at the others.
//
// Texts take the placeholders `{env.NAME}` and `{file./path}`, which are
// replaced when the configuration is loaded.
type Store struct {
	// Where Redis is: `host:port`, with 6379 for the port that is left out, or
	// `unix//path` for a socket. One server; several nodes of a cluster, of
	// which one is enough; or, with sentinel, the sentinels, whose port is
	// 26379 if it is left out. Required.
	Address []string `json:"address,omitempty"`

	// The user of Redis's ACL. Default: Redis's own, `default`.
	Username string `json:"username,omitempty"`

	// The user's password. Give it as `{env.REDIS_PASSWORD}` or
	// `{file./run/secrets/redis}`, so that it stands in no configuration.
	Password string `json:"password,omitempty"`

	// The number of the database. A cluster has only 0. Default: 0.
	DB int `json:"db,omitempty"`

	// Encrypts the connections, those to sentinels too.
	TLS *TLS `json:"tls,omitempty"`

	// What all keys begin with: up to 64 printable ASCII characters without
	// spaces and braces. Default: `websms:`.
	KeyPrefix string `json:"key_prefix,omitempty"`

	// Has sentinels tell which server is the master.
	Sentinel *Sentinel `json:"sentinel,omitempty"`

	resolved *resolved // by Provision
}

// Sentinel is how to ask Redis Sentinel for the master.
type Sentinel struct {
	// The name under which the sentinels watch the master. Required.
	Master string `json:"master,omitempty"`

	// The user of the sentinels' own ACL.
	Username string `json:"username,omitempty"`

	// The password of the sentinels themselves.
	Password string `json:"password,omitempty"`
}

const (
	// DefaultKeyPrefix is what keys begin with unless key_prefix says otherwise.
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

// Provision replaces the placeholders, and reads the files of tls. It does not
// connect: Redis may be away when Caddy starts.
func (s *Store) Provision(caddy.Context) error {
	r, err := s.resolve()
	if err != nil {
		return block.Within("store redis", err)
	}
	s.resolved = r
	return nil
}

// Validate reports options that are missing, malformed or at odds.
func (s *Store) Validate() error { return block.Within("store redis", s.check()) }

// StoreKey identifies what Open returns: all that decides how Redis is
// reached. What is kept there does not depend on who reaches it, so another
// password or certificate makes another way to the same challenges.
func (s *Store) StoreKey() string { return fmt.Sprintf("store redis %x", s.resolved.digest) }

// prefix returns what every key begins with.
func (s *Store) prefix() string { return s.resolved.options.KeyPrefix }

// Interface guards
var (
	_ caddy.Provisioner = (*Store)(nil)
	_ caddy.Validator   = (*Store)(nil)
)
