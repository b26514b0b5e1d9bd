package redisstore

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

// Report implements otp.Store. If Redis is away, the node applies the report
// later, because WebSMS sends each report only once.
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

// report returns the operation that applies a delivery report. The operation sets
// of to the sending of the message. It takes two steps, because the message id and
// its challenge are in two slots. Settle takes two steps as well, and all orders
// of these steps have the same result.
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

// sent is the sending of a challenge that has a message id.
type sent struct {
	id      otp.ID
	sending string
	taken   time.Time
	scope   string
}

// parseSent reads the value of a message id as Settle writes it. It returns the
// zero value if text is anything else.
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

// failedStates are the states after which a challenge may have a second try.
var failedStates = "," + strconv.Itoa(int(connexus.StateUndelivered)) + "," + strconv.Itoa(int(connexus.StateRejected)) + ","

// Second implements otp.Store. It takes three steps: the sending of the message, the
// envelope, and the claim. Only the last one changes anything.
func (s *store) Second(
	_ context.Context, messageID string, now time.Time, renewal func(otp.Record) (otp.Renewal, error),
) (otp.Record, error) {
	stands, err := s.node.do(func(ctx context.Context, c rueidis.Client) rueidis.RedisResult {
		return c.Do(ctx, c.B().Get().Key(s.message(messageID)).Build())
	}).string()
	if err != nil {
		return otp.Record{}, err
	}
	_, stands, _ = strings.Cut(stands, " ")
	of := parseSent(stands)
	if of == (sent{}) {
		return otp.Record{}, otp.ErrNoChallenge
	}
	fields, err := s.node.do(func(ctx context.Context, c rueidis.Client) rueidis.RedisResult {
		return c.Do(ctx, c.B().Hmget().Key(s.challenge(of.scope, of.id)).Field("q", "s").Build())
	}).strings()
	if err != nil {
		return otp.Record{}, err
	}
	if len(fields) != 2 || fields[0] == "" {
		return otp.Record{}, otp.ErrDone
	}
	found := otp.Record{Challenge: otp.Challenge{ID: of.id}, Sealed: []byte(fields[1]), Envelope: []byte(fields[0])}
	r, err := renewal(found)
	if err != nil {
		return otp.Record{}, err
	}
	before := time.Duration(0)
	for i := range r.Counters {
		before = max(before, r.Counters[i].Before)
	}
	keys := []string{s.challenge(of.scope, of.id), s.failures(of.scope, r.Failures.Number), s.windows(of.scope)}
	args := []string{micros(now), of.sending, failedStates, memberOf(of.id) + "second", span(before), failuresOf(&r.Failures)}
	keys, args = s.appendCounters(keys, args, of.scope, r.Counters)
	answer, err := s.node.do(call(scriptSecond, keys, args)).strings()
	if err != nil {
		return otp.Record{}, err
	}
	rec, err := read(of.id, answer)
	rec.Envelope = found.Envelope
	return rec, err
}
