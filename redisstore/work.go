package redisstore

import (
	"context"
	"time"

	"github.com/caddy-websms/websms/otp"
)

// First implements otp.Store.
func (s *store) First(_ context.Context, key otp.Digest, ttl time.Duration, now time.Time) (bool, error) {
	n, err := s.node.do(call(scriptFirst, []string{s.seen(key)},
		[]string{micros(now), micros(now.Add(ttl)), newNonce()})).int()
	return n == 1, err
}

// Begin implements otp.Store.
func (s *store) Begin(_ context.Context, key otp.Digest, l otp.Lease) error {
	n, err := s.node.do(call(scriptBegin, []string{s.seen(key)}, []string{micros(l.Now), l.Holder, span(l.For)})).int()
	switch {
	case err != nil:
		return err
	case n < 0:
		return otp.ErrDone
	case n > 0:
		return &otp.InWorkError{RetryAfter: time.Duration(n) * time.Microsecond}
	}
	return nil
}

// Done implements otp.Store. If Redis is away, the node marks the key when Redis is
// back, unless ttl is over by then.
func (s *store) Done(_ context.Context, key otp.Digest, ttl time.Duration, now time.Time) error {
	return s.orOwe(ttl, call(scriptDone, []string{s.seen(key)}, []string{micros(now), micros(now.Add(ttl)), newNonce()}))
}

// Forget implements otp.Store.
func (s *store) Forget(_ context.Context, key otp.Digest, holder string) error {
	return s.orOwe(0, call(scriptForget, []string{s.seen(key)}, []string{holder}))
}

// orOwe runs op now or, if Redis is away, as soon as it is back. life is how long
// a late op is still of use, if that is longer than messageLife.
func (s *store) orOwe(life time.Duration, op operation) error {
	r := s.node.do(op)
	if r.failed != nil {
		s.node.owe(debt{op: op, begun: time.Now(), due: time.Now(), life: life})
	}
	return r.failed
}
