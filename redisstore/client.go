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
	// connectTimeout bounds the time to open one connection, with its handshake.
	connectTimeout = 2 * time.Second
	// The client sends PING on a connection that was silent for the time silence.
	// It gives the connection up if no answer comes within answerTimeout. So it
	// detects a half-open connection within two seconds.
	silence       = time.Second
	answerTimeout = time.Second
	// masterInterval is how often the client asks the sentinels for the master.
	// They publish a failover only once, and the client may miss that message.
	masterInterval = 5 * time.Second
)

// clientOption returns the options of a client. Provision must be called before.
//
// rueidis.NewClient asks a single address once for the slots of a cluster, over a
// connection that it then keeps. It takes the server for a single one if the server
// replies that it is not part of a cluster, or that the user may not ask. So in a
// cluster the ACL of the user needs +cluster|slots and, from Redis 8 on,
// +cluster|shards.
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

		// The KeepAlive of the dialer is also how often rueidis sends PING.
		Dialer:           dialer,
		ConnWriteTimeout: answerTimeout,

		// The node itself asks again after a lost answer, and only for operations
		// that change nothing the second time.
		DisableRetry: true,
		// A cached value may be older than the latest write. And a client that
		// tracks keys would need the permission +client|tracking.
		DisableCache: true,
		// Without pipelining, a lone command sets the deadline of its context on
		// the connection. When the deadline passes, that closes the connection for
		// all other commands too.
		AlwaysPipelining: true,
		// 2^12 places: more commands than may be under way at once (maxAsking).
		RingScaleEachConn: 12,
		// The pool of connections beside the pipelines serves commands that block or
		// hold a connection. Here that is one subscription. The default is 1024.
		BlockingPoolSize: 4,

		// The name is part of HELLO, which every user may send. CLIENT SETINFO and
		// CLIENT NO-TOUCH need a permission and Redis 7.2. NO-TOUCH would change
		// nothing, because all keys have a time to live.
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
