package redisstore

import (
	"context"
	"time"

	"github.com/redis/rueidis"

	"github.com/caddy-websms/websms/otp"
)

// Unlock implements otp.Store.
func (s *store) Unlock(_ context.Context, scope string, number otp.Digest) (bool, error) {
	had, err := s.node.do(func(ctx context.Context, c rueidis.Client) rueidis.RedisResult {
		return c.Do(ctx, c.B().Del().Key(s.failures(scope, number)).Build())
	}).int()
	return had > 0, err
}

// Clear implements otp.Store.
func (s *store) Clear(_ context.Context, scope string, c otp.Counter) (bool, error) {
	had, err := s.node.do(func(ctx context.Context, r rueidis.Client) rueidis.RedisResult {
		return r.Do(ctx, r.B().Del().Key(s.taken(scope, &c), s.returned(scope, &c)).Build())
	}).int()
	return had > 0, err
}

// Try implements otp.Store.
func (s *store) Try(_ context.Context, scope string, c otp.Counter, now time.Time) error {
	keys, args := s.appendCounters([]string{s.windows(scope)}, []string{micros(now), newNonce()}, scope, []otp.Counter{c})
	wait, err := s.node.do(call(scriptTry, keys, args)).int()
	if err == nil && wait > 0 {
		err = &otp.LimitError{Limit: c.Limit, RetryAfter: time.Duration(wait) * time.Microsecond}
	}
	return err
}

// Wait implements otp.Store.
func (s *store) Wait(_ context.Context, r *otp.Renewal) (time.Duration, error) {
	keys, args := s.appendCounters([]string{s.failures(r.Scope, r.Failures.Number)},
		[]string{micros(r.Now), failuresOf(&r.Failures)}, r.Scope, r.Counters)
	wait, err := s.node.do(call(scriptWait, keys, args)).int()
	if wait < 0 {
		return otp.LongWait, err
	}
	return time.Duration(wait) * time.Microsecond, err
}

// Used implements otp.Store.
func (s *store) Used(_ context.Context, scope string, c otp.Counter, now time.Time) ([]int, error) {
	used := make([]int, len(c.Rates))
	for i, r := range c.Rates {
		n, err := s.count(s.taken(scope, &c), now.Add(-r.Window))
		if err != nil {
			return nil, err
		}
		used[i] = n
	}
	return used, nil
}

// count returns how many members of a sorted set are later than after.
func (s *store) count(key string, after time.Time) (int, error) {
	n, err := s.node.do(func(ctx context.Context, c rueidis.Client) rueidis.RedisResult {
		return c.Do(ctx, c.B().Zcount().Key(key).Min("("+micros(after)).Max("+inf").Build())
	}).int()
	return int(n), err
}
