package redisstore

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

// store is the otp.Store of all processes that share a Redis. What it does in
// Redis is in scripts.
type store struct {
	keys
	node   *node
	wakes  otp.Wakes
	listen *listener
	lives  lives
}

func newStore(n *node, prefix string) *store {
	s := &store{keys: keys{prefix}, node: n}
	s.listen = newListener(n, prefix+wakeChannel, s.wakes.Wake)
	n.tasks.Go(s.run)
	return s
}

// run tells how many challenges live, as long as the node lives.
func (s *store) run() {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.node.ctx.Done():
			return
		case <-ticker.C:
			if s.lives.changed() {
				s.tellLives(time.Now(), math.MaxInt32) // who asks judges by a clock that may be another
			}
		}
	}
}

const (
	// maxSendings bounds the doubling of the cooldown; sixteen sendings of one
	// challenge within its ten minutes are beyond any sane limit.
	maxSendings = 16

	// settleTime is how long Redis may be away before it is given up to tell
	// it how a sending went: as long as a graceful end waits for sendings.
	settleTime = 10 * time.Second

	// messageLife is how long a message id is remembered, and a report that
	// came before it: a challenge's longest life, and a minute for clocks.
	messageLife = otp.MaxLife + time.Minute
)

// Reserve implements otp.Store.
func (s *store) Reserve(_ context.Context, r *otp.Reservation) error {
	former, formerKey := "", s.challenge(r.Scope, r.ID)
	if r.Replaces != (otp.ID{}) {
		former, formerKey = name(r.Replaces), s.challenge(r.Scope, r.Replaces)
	}
	member := memberOf(r.ID)
	keys := []string{s.challenge(r.Scope, r.ID), formerKey, s.failures(r.Scope, r.Failures.Number), s.windows(r.Scope), s.asked(r.Scope, r.Failures.Number)}
	args := []string{
		micros(r.Now), name(r.ID), former, s.wake(r.Replaces), member + "1",
		string(r.Sealed), string(r.Proof[:]), strconv.Itoa(r.Length), strconv.Itoa(r.Attempts),
		micros(r.Now.Add(min(r.TTL, otp.MaxLife))), micros(r.Now.Add(r.Cooldown)), runOf(&r.Failures),
		micros(r.Now.Add(otp.MaxLife)), millis(otp.MaxLife),
	}
	keys, args = s.appendCounters(keys, args, r.Scope, r.Counters)
	answer, err := s.node.do(call(scriptReserve, keys, args)).strings()
	if err != nil {
		undo := []string{keys[0], formerKey}
		for i := range r.Counters {
			undo = append(undo, s.taken(r.Scope, &r.Counters[i]))
		}
		s.node.takeBack(err, call(scriptUnreserve, undo, []string{name(r.ID), former, member + "1"}))
		return err
	}
	if _, err = read(r.ID, answer); err != nil {
		return err
	}
	s.lives.add(args[9], 1)
	if len(answer) > 3 {
		s.lives.add(answer[3], -1)
		s.wakes.Wake(r.Replaces)
	}
	return nil
}

// Resend implements otp.Store.
func (s *store) Resend(_ context.Context, id otp.ID, r *otp.Renewal) (otp.Record, error) {
	nonce, member := newNonce(), memberOf(id)
	keys := []string{s.challenge(r.Scope, id), s.failures(r.Scope, r.Failures.Number), s.windows(r.Scope)}
	args := []string{
		micros(r.Now), s.wake(id), nonce,
		span(r.TTL), span(r.Cooldown), span(otp.MaxLife), strconv.Itoa(maxSendings), member, runOf(&r.Failures),
	}
	keys, args = s.appendCounters(keys, args, r.Scope, r.Counters)
	answer, err := s.node.do(call(scriptResend, keys, args)).strings()
	if err != nil {
		undo := keys[:1:1]
		for i := range r.Counters {
			undo = append(undo, s.taken(r.Scope, &r.Counters[i]))
		}
		s.node.takeBack(err, call(scriptUnresend, undo, []string{micros(r.Now), s.wake(id), nonce, member}))
		return otp.Record{}, err
	}
	s.wakes.Wake(id)
	if len(answer) > 11 {
		s.lives.add(answer[11], -1)
		s.lives.add(answer[6], 1)
	}
	return read(id, answer)
}

// Attempt implements otp.Store.
func (s *store) Attempt(_ context.Context, id otp.ID, a *otp.Answer) (otp.Record, error) {
	nonce := newNonce()
	keys := []string{s.challenge(a.Scope, id), s.failures(a.Scope, a.Failures.Number)}
	args := []string{micros(a.Now), s.wake(id), nonce, string(a.Proof[:]), runOf(&a.Failures)}
	answer, died, err := s.node.do(call(scriptAttempt, keys, args)).verdict()
	if err != nil {
		s.node.takeBack(err, call(scriptUnmeet, keys[:1], []string{args[1], nonce}))
		return otp.Record{}, err
	}
	s.wakes.Wake(id)
	if answer == nil { // right
		s.lives.add(died, -1)
		return otp.Record{}, nil
	}
	return read(id, answer)
}

// Settle implements otp.Store. It is off the request path, and waits for Redis
// to come back.
func (s *store) Settle(ctx context.Context, id otp.ID, t *otp.Settlement) error {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	early := "0"
	if t.MessageID != "" {
		stands := strings.Join([]string{name(id), strconv.Itoa(t.Sending), micros(t.Taken), t.Scope}, " ")
		var err error
		early, err = s.node.insist(ctx, call(scriptSent, []string{s.message(t.MessageID)},
			[]string{micros(t.Now), millis(messageLife), stands})).string()
		if err != nil {
			return err
		}
	}
	state, err := strconv.ParseUint(early, 10, 8)
	if err != nil {
		return understood(err)
	}
	args := []string{micros(t.Now), s.wake(id), strconv.Itoa(t.Sending), string(t.Status), "0", "", "", ""}
	if t.Refused {
		args[4] = "1"
	}
	if t.Made != nil {
		args[5], args[6], args[7] = string(t.Made.Sealed), string(t.Made.Proof[:]), strconv.Itoa(t.Made.Length)
	}
	args = appendState(args, connexus.State(state))
	args = append(args, memberOf(id)+strconv.Itoa(t.Sending), micros(t.Taken))
	keys, args := s.appendCounters([]string{s.challenge(t.Scope, id), s.windows(t.Scope)}, args, t.Scope, t.Return)
	err = s.node.insist(ctx, call(scriptSettle, keys, args)).err()
	s.wakes.Wake(id)
	return err
}

// Report implements otp.Store. What cannot be told now is told when Redis is
// there again: who brought the report does not come twice for it.
func (s *store) Report(_ context.Context, messageID string, state connexus.State, now time.Time) (time.Duration, bool, error) {
	var of sent
	r := s.node.do(s.report(messageID, state, now, &of))
	if r.failed != nil {
		s.node.owe(debt{op: s.report(messageID, state, now, new(sent)), begun: time.Now(), due: time.Now()})
		return 0, false, r.failed
	}
	if of == (sent{}) {
		return 0, false, nil
	}
	moved, err := r.int()
	if err != nil {
		return 0, false, err
	}
	if moved == 1 {
		s.wakes.Wake(of.id)
	}
	return max(0, now.Sub(of.taken)), moved == 1, nil
}

// report applies a delivery report, to what it sets of. A message id and its
// challenge are in two slots, so it takes two steps; they commute with those
// of Settle.
func (s *store) report(messageID string, state connexus.State, now time.Time, of *sent) operation {
	return func(ctx context.Context, c rueidis.Client) rueidis.RedisResult {
		r := scriptHeard.Exec(ctx, c, []string{s.message(messageID)},
			[]string{micros(now), millis(messageLife), strconv.Itoa(int(state)), superseded(state)})
		stands, err := r.ToString()
		if err != nil {
			return r
		}
		if *of = parseSent(stands); *of == (sent{}) {
			return r
		}
		args := appendState([]string{micros(now), s.wake(of.id), of.sending}, state)
		return scriptArrive.Exec(ctx, c, []string{s.challenge(of.scope, of.id)}, args)
	}
}

// Get implements otp.Store.
func (s *store) Get(_ context.Context, scope string, id otp.ID, now time.Time) (otp.Record, error) {
	fields, err := s.node.do(func(ctx context.Context, c rueidis.Client) rueidis.RedisResult {
		return c.Do(ctx, c.B().Hmget().Key(s.challenge(scope, id)).Field("u", "l", "a", "d", "e", "t", "n", "s", "m").Build())
	}).strings()
	if err != nil {
		return otp.Record{}, err
	}
	if len(fields) != 9 || fields[0] == "" || fields[8] != "" {
		return otp.Record{}, otp.ErrNoChallenge
	}
	rec, err := readRecord(id, fields[:8])
	// If a time is so far in the future, a clock may have been ahead.
	if err == nil && max(rec.ExpiresAt.Sub(now), rec.ResendAt.Sub(now)) > otp.Skew {
		return s.look(scope, id, now)
	}
	return rec, overdue(&rec, err, now)
}

// look is Get for a challenge whose times may have to be corrected, because they
// are far in the future.
func (s *store) look(scope string, id otp.ID, now time.Time) (otp.Record, error) {
	fields, err := s.node.do(call(scriptLook, []string{s.challenge(scope, id)}, []string{micros(now)})).strings()
	if err != nil {
		return otp.Record{}, err
	}
	if len(fields) != 9 || fields[0] == "" || fields[8] != "" {
		return otp.Record{}, otp.ErrNoChallenge
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

// Watch implements otp.Store: it hears of the changes of every node.
func (s *store) Watch(id otp.ID) (<-chan struct{}, func()) {
	changed, stop := s.wakes.Watch(id)
	forget := s.listen.want(id)
	return changed, func() {
		stop()
		forget()
	}
}

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

// Done implements otp.Store. What cannot be marked now is marked when Redis is
// there again, as long as the mark would count.
func (s *store) Done(_ context.Context, key otp.Digest, ttl time.Duration, now time.Time) error {
	return s.orOwe(ttl, call(scriptDone, []string{s.seen(key)}, []string{micros(now), micros(now.Add(ttl)), newNonce()}))
}

// Forget implements otp.Store.
func (s *store) Forget(_ context.Context, key otp.Digest, holder string) error {
	return s.orOwe(0, call(scriptForget, []string{s.seen(key)}, []string{holder}))
}

// orOwe makes Redis do op now. If Redis is away, op is owed and done later.
func (s *store) orOwe(life time.Duration, op operation) error {
	r := s.node.do(op)
	if r.failed != nil {
		s.node.owe(debt{op: op, begun: time.Now(), due: time.Now(), life: life})
	}
	return r.failed
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

// Live implements otp.Store, of all nodes: what each has told last, twice a
// second. It counts a challenge until the minute is over in which it dies.
func (s *store) Live(_ context.Context, now time.Time) (int, error) {
	n, err := s.tellLives(now, minute(now.Add(otp.MaxLife+otp.Skew).UnixMicro())).int()
	return int(n), err
}

// tellLives counts no challenge that died before now, nor any that dies after
// the last minute.
func (s *store) tellLives(now time.Time, last int64) reply {
	s.lives.telling.Lock()
	defer s.lives.telling.Unlock()
	change := s.lives.take()
	args := []string{strconv.FormatInt(minute(now.UnixMicro()), 10), strconv.FormatInt(last, 10), millis(2 * otp.MaxLife)}
	for m, n := range change {
		args = append(args, strconv.FormatInt(m, 10), strconv.Itoa(n))
	}
	r := s.node.do(call(scriptLive, []string{s.live()}, args))
	if r.failed != nil && !errors.Is(r.failed, errLost) {
		s.lives.putBack(change)
	}
	return r
}

// count returns how many members of a sorted set are of a later time.
func (s *store) count(key string, after time.Time) (int, error) {
	n, err := s.node.do(func(ctx context.Context, c rueidis.Client) rueidis.RedisResult {
		return c.Do(ctx, c.B().Zcount().Key(key).Min("("+micros(after)).Max("+inf").Build())
	}).int()
	return int(n), err
}

// errReply says that a script has answered what it never does.
var errReply = unavailable(errors.New("redis answered what is not understood"))

// read returns what answer() in record.lua tells.
func read(id otp.ID, reply []string) (rec otp.Record, err error) {
	if len(reply) == 0 {
		return rec, errReply
	}
	if len(reply) >= 11 && reply[3] != "" {
		if rec, err = readRecord(id, reply[3:11]); err != nil {
			return rec, err
		}
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

// sent is what a message id stands for: the sending of a challenge.
type sent struct {
	id      otp.ID
	sending string
	taken   time.Time
	scope   string
}

// parseSent reads a message id's sending, as Settle writes it. It returns the
// zero value for what is none.
func parseSent(text string) sent {
	parts := strings.SplitN(text, " ", 4)
	if len(parts) != 4 {
		return sent{}
	}
	id, known := session.ParseID(parts[0])
	at, err := strconv.ParseInt(parts[2], 10, 64)
	if !known || err != nil {
		return sent{}
	}
	return sent{id, parts[1], time.UnixMicro(at), parts[3]}
}
