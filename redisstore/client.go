package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

const (
	// connectTimeout is for one connection with its handshake.
	connectTimeout = 2 * time.Second
	// silence is how long a connection may say nothing before it is asked, and
	// answerTimeout how long it may then be silent before it is given up: so
	// one that is half open is found out in two seconds.
	silence       = time.Second
	answerTimeout = time.Second
	// masterInterval is how often the sentinels are asked again: what they
	// publish of a failover is said once, and may be missed.
	masterInterval = 5 * time.Second
)

// clientOption returns what a client is made of. It is called after Provision.
//
// rueidis.NewClient asks a single address for the slots of a cluster, once,
// over a connection that it then keeps: a server that says it is no cluster,
// or that the user may not ask, is taken for a single one. So a user of a
// cluster's ACL needs +cluster|slots and, from Redis 8 on, +cluster|shards.
func (s *Store) clientOption() (rueidis.ClientOption, error) {
	if s.resolved == nil {
		return rueidis.ClientOption{}, errors.New("store redis: not provisioned")
	}
	o := &s.resolved.options
	dialer := net.Dialer{Timeout: connectTimeout, KeepAlive: silence}
	option := rueidis.ClientOption{
		InitAddress: o.Address,
		Username:    o.Username,
		Password:    o.Password,
		SelectDB:    o.DB,
		TLSConfig:   s.resolved.tls,

		// Its KeepAlive is also how often rueidis sends PING.
		Dialer:           dialer,
		ConnWriteTimeout: answerTimeout,

		// A script that counts an attempt must not run twice because its
		// answer got lost.
		DisableRetry: true,
		// Nothing that is read may be older than what was written, and a
		// client that tracks keys would need +client|tracking.
		DisableCache: true,
		// Otherwise a lone call waits with the deadline of its context on the
		// connection itself, and closes it for all when that has passed.
		AlwaysPipelining: true,
		// Of 2^12 places, more than may be under way at once (maxAsking).
		RingScaleEachConn: 12,
		// Beside the pipelines, for what blocks or holds a connection, which
		// is a subscription at most. The default is 1024.
		BlockingPoolSize: 4,

		// The name is part of HELLO, which every user may send. CLIENT SETINFO
		// needs a permission, and Redis 7.2; so does CLIENT NO-TOUCH, which
		// would change nothing for keys that all have a time to live.
		ClientName:    "websms",
		ClientSetInfo: rueidis.DisableClientSetInfo,
	}
	if c := o.Sentinel; c != nil {
		option.Sentinel = rueidis.SentinelOption{
			MasterSet:               c.Master,
			Username:                c.Username,
			Password:                c.Password,
			ClientName:              option.ClientName,
			Dialer:                  dialer,
			TLSConfig:               option.TLSConfig,
			TopologyRefreshInterval: masterInterval,
		}
	}
	if isSocket(o.Address[0]) {
		option.InitAddress = []string{strings.TrimPrefix(o.Address[0], socket)}
		option.DialCtxFn = func(ctx context.Context, path string, dialer *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", path)
		}
	}
	return option, nil
}
