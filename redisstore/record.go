package redisstore

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

// Get implements otp.Store.
func (s *store) Get(_ context.Context, scope string, id otp.ID, now time.Time) (otp.Record, error) {
	unpaid := s.node.hurries()
	fields, err := s.node.do(func(ctx context.Context, c rueidis.Client) rueidis.RedisResult {
		return c.Do(ctx, c.B().Hmget().Key(s.challenge(scope, id)).Field("u", "l", "a", "d", "e", "t", "n", "s", "m").Build())
	}).strings()
	if err != nil {
		return otp.Record{}, err
	}
	if len(fields) != 9 || fields[0] == "" || fields[8] != "" {
		return otp.Record{}, s.node.certain(otp.ErrNoChallenge, unpaid)
	}
	rec, err := readRecord(id, fields[:8])
	// A time so far in the future may come from a clock that was ahead.
	if err == nil && max(rec.ExpiresAt.Sub(now), rec.ResendAt.Sub(now)) > otp.Skew {
		return s.look(scope, id, now)
	}
	return rec, overdue(&rec, err, now)
}

// look is Get for a challenge with times far in the future. It corrects them as
// otp.Store demands.
func (s *store) look(scope string, id otp.ID, now time.Time) (otp.Record, error) {
	unpaid := s.node.hurries()
	fields, err := s.node.do(call(scriptLook, []string{s.challenge(scope, id)}, []string{micros(now)})).strings()
	if err != nil {
		return otp.Record{}, err
	}
	if len(fields) != 9 || fields[0] == "" || fields[8] != "" {
		return otp.Record{}, s.node.certain(otp.ErrNoChallenge, unpaid)
	}
	rec, err := readRecord(id, fields[:8])
	return rec, overdue(&rec, err, now)
}

// overdue returns err or, if it is nil, ErrExpired or ErrTooManyAttempts for a
// challenge that has ended.
func overdue(rec *otp.Record, err error, now time.Time) error {
	switch {
	case err != nil:
		return err
	case !now.Before(rec.ExpiresAt):
		return otp.ErrExpired
	case rec.AttemptsLeft == 0:
		return otp.ErrTooManyAttempts
	}
	return nil
}

// Of implements otp.Store.
func (s *store) Of(ctx context.Context, scope string, number otp.Digest, now time.Time) (list []otp.Record, err error) {
	names, err := s.node.do(func(ctx context.Context, c rueidis.Client) rueidis.RedisResult {
		return c.Do(ctx, c.B().Zrevrange().Key(s.asked(scope, number)).Start(0).Stop(-1).Build())
	}).strings()
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		id, ours := session.ParseID(n)
		if !ours || len(list) == otp.MaxOf {
			continue
		}
		rec, err := s.Get(ctx, scope, id, now)
		switch {
		case errors.Is(err, otp.ErrNoChallenge), errors.Is(err, otp.ErrExpired):
			continue
		case err != nil && !errors.Is(err, otp.ErrTooManyAttempts):
			return nil, err
		}
		rec.Sealed = nil
		list = append(list, rec)
	}
	return list, nil
}

// errReply means that a reply of Redis has another form than its script returns.
var errReply = unavailable(errors.New("redis gave a reply of an unexpected form"))

// read parses a reply that answer() in record.lua has made.
func read(id otp.ID, reply []string) (rec otp.Record, err error) {
	if len(reply) == 0 {
		return rec, errReply
	}
	if len(reply) >= 11 && reply[3] != "" {
		if rec, err = readRecord(id, reply[3:11]); err != nil {
			return rec, err
		}
	}
	if reply[0] == "used" && len(reply) > 2 {
		at, err := strconv.ParseInt(reply[1], 10, 64)
		if err != nil {
			return rec, errReply
		}
		return otp.Record{Challenge: otp.Challenge{ID: id, VerifiedAt: time.Unix(0, at)}}, otp.ErrUsed
	}
	var limit *otp.LimitError
	if len(reply) > 2 && reply[1] != "" {
		wait, err := strconv.ParseInt(reply[2], 10, 64)
		if err != nil {
			return rec, errReply
		}
		limit = &otp.LimitError{Limit: reply[1], RetryAfter: time.Duration(wait) * time.Microsecond}
	}
	switch reply[0] {
	case "ok":
		return rec, nil
	case "done":
		return otp.Record{}, otp.ErrDone
	case "none":
		return otp.Record{}, otp.ErrNoChallenge
	case "expired":
		return rec, otp.ErrExpired
	case "dead":
		return rec, otp.ErrTooManyAttempts
	case "limit":
		return rec, limit
	case "wrong":
		if limit != nil {
			return rec, errors.Join(otp.ErrWrongCode, limit)
		}
		return rec, otp.ErrWrongCode
	}
	return rec, errReply
}

// readRecord reads the fields u l a d e t n s of a challenge.
func readRecord(id otp.ID, fields []string) (otp.Record, error) {
	var n [6]int64
	for i, field := range []string{fields[1], fields[2], fields[3], fields[4], fields[5], fields[6]} {
		var err error
		if n[i], err = strconv.ParseInt(field, 10, 64); err != nil {
			return otp.Record{}, errReply
		}
	}
	return otp.Record{
		Challenge: otp.Challenge{
			ID: id, Status: otp.Status(fields[0]), CodeLength: int(n[0]), AttemptsLeft: int(n[1]),
			ExpiresAt: time.UnixMicro(n[2]), ResendAt: time.UnixMicro(n[3]), Settled: n[4] == 1,
		},
		Sending: int(n[5]), Sealed: []byte(fields[7]),
	}, nil
}
