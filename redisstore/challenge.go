package redisstore

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
)

const (
	// maxSendings bounds the sendings of one challenge, because each of them
	// doubles the cooldown. A challenge lives for ten minutes at most, and no
	// sane limit allows sixteen sendings in that time.
	maxSendings = 16

	// settleTime is how long Settle tries to reach Redis. Caddy waits as long
	// for sendings when it shuts down.
	settleTime = 10 * time.Second

	// messageLife is how long Redis keeps a message id, or a report that came
	// before Settle. It is the longest life of a challenge, and one minute more
	// because the clocks of nodes differ.
	messageLife = otp.MaxLife + time.Minute
)

// Reserve implements otp.Store.
func (s *store) Reserve(_ context.Context, r *otp.Reservation) error {
	former, formerKey := "", s.challenge(r.Scope, r.ID)
	if r.Replaces != (otp.ID{}) {
		former, formerKey = name(r.Replaces), s.challenge(r.Scope, r.Replaces)
	}
	member := memberOf(r.ID)
	keys := []string{
		s.challenge(r.Scope, r.ID), formerKey, s.failures(r.Scope, r.Failures.Number),
		s.windows(r.Scope), s.asked(r.Scope, r.Failures.Number),
	}
	args := []string{
		micros(r.Now), name(r.ID), former, s.wake(r.Replaces), member + "1",
		string(r.Sealed), string(r.Proof[:]), strconv.Itoa(r.Length), strconv.Itoa(r.Attempts),
		micros(r.Now.Add(min(r.TTL, otp.MaxLife))), micros(r.Now.Add(r.Cooldown)), failuresOf(&r.Failures),
		micros(r.Now.Add(otp.MaxLife)), millis(otp.MaxLife), string(r.Envelope),
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
	nonce, member, unpaid := newNonce(), memberOf(id), s.node.hurries()
	keys := []string{s.challenge(r.Scope, id), s.failures(r.Scope, r.Failures.Number), s.windows(r.Scope)}
	args := []string{
		micros(r.Now), s.wake(id), nonce,
		span(r.TTL), span(r.Cooldown), span(otp.MaxLife), strconv.Itoa(maxSendings), member, failuresOf(&r.Failures),
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
	rec, err := read(id, answer)
	return rec, s.node.certain(err, unpaid)
}

// Attempt implements otp.Store.
func (s *store) Attempt(_ context.Context, id otp.ID, a *otp.Answer) (otp.Record, error) {
	nonce, unpaid := newNonce(), s.node.hurries()
	keys := []string{s.challenge(a.Scope, id), s.failures(a.Scope, a.Failures.Number)}
	args := []string{
		micros(a.Now), s.wake(id), nonce, string(a.Proof[:]), failuresOf(&a.Failures),
		span(otp.ReuseTime), nanos(a.Exact), flag(a.Again),
	}
	answer, died, err := s.node.do(call(scriptAttempt, keys, args)).verdict()
	if err != nil {
		s.node.takeBack(err, call(scriptUnmeet, keys[:1], []string{args[1], nonce}))
		return otp.Record{}, err
	}
	s.wakes.Wake(id)
	if answer == nil { // the code was right
		s.lives.add(died, -1)
		return otp.Record{}, nil
	}
	rec, err := read(id, answer)
	return rec, s.node.certain(err, unpaid)
}

// Settle implements otp.Store. No request waits for it, so it waits up to
// settleTime for Redis to come back.
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
	t.Early = connexus.State(state)
	args := []string{micros(t.Now), s.wake(id), strconv.Itoa(t.Sending), string(t.Status), flag(t.Refused), "", "", ""}
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
