package redisstore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/redisstore/redistest"
	"github.com/caddy-websms/websms/session"
)

var ctx = context.Background()

// now is the time as a store is told it.
func now() time.Time { return time.Now().Truncate(time.Microsecond) }

// right is the proof of the right code, wrong of one that is not.
func right(id otp.ID) otp.Digest { return sha256.Sum256([]byte("right " + id.String())) }

var wrong = otp.Digest(sha256.Sum256([]byte("wrong")))

func reservation(counters ...otp.Counter) *otp.Reservation {
	id := session.NewID()
	return &otp.Reservation{
		ID: id, Sealed: []byte("sealed"), Proof: right(id), Length: 6, Attempts: 5,
		Now: now(), TTL: 5 * time.Minute, Cooldown: 0, Counters: counters,
	}
}

func perNumber(number string, rates ...otp.Rate) otp.Counter {
	return otp.Counter{Limit: "per_number", Key: sha256.Sum256([]byte(number)), Rates: rates}
}

func lockout(number string, l otp.Lockout) otp.Failures {
	return otp.Failures{Number: sha256.Sum256([]byte(number)), Lockout: l}
}

// desk is a store whose answers can be lost, and another one on the same
// Redis that sees what became of what was asked for.
type desk struct {
	*testing.T
	redis *redistest.Redis
	proxy *redistest.FaultProxy
	store *process // through the proxy
	other *process
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{T: t, redis: redistest.Server(t)}
	d.proxy = redistest.Proxy(t, d.redis.Addr())
	d.store = openProcess(t, at(d.proxy.Addr()))
	d.other = unclosedProcess(t, at(d.redis.Addr()), "websms:other")
	t.Cleanup(d.other.node.close)
	d.store.wantWorks(t)
	d.other.wantWorks(t)
	d.cacheScripts()
	return d
}

// cacheScripts has Redis know the scripts: else what is lost is its answer
// that it does not.
func (d *desk) cacheScripts() {
	d.Helper()
	r := reservation()
	d.must(d.other.Reserve(ctx, r))
	_, err := d.other.Resend(ctx, r.ID, &otp.Renewal{Now: now(), TTL: time.Minute})
	d.must(err)
	d.must(d.other.Settle(ctx, r.ID, &otp.Settlement{Sending: 1, Status: otp.Accepted, MessageID: "MSG0", Taken: r.Now, Now: now()}))
	_, err = d.other.First(ctx, wrong, time.Minute, now())
	d.must(err)
	_, err = d.other.Attempt(ctx, r.ID, &otp.Answer{Proof: r.Proof, Now: now()})
	d.must(err)
}

// cut has all answers lost from now on. Every connection that the store may
// choose is there before, and no beat comes now that would use one up: what is
// asked for next reaches Redis.
func (d *desk) cut() {
	d.Helper()
	// How many live is told now, and so not while answers are lost: whether
	// that was counted would not be known.
	d.must(d.store.tellLives(now(), math.MaxInt32).failed)
	d.redis.Do("DEL", "websms:alive")
	redistest.Eventually(d.T, "there is a beat", func() error {
		if d.redis.Do("EXISTS", "websms:alive") == int64(0) {
			return errors.New("there is none")
		}
		return nil
	})
	for range 64 {
		if _, err := d.store.Get(ctx, "", session.NewID(), now()); !errors.Is(err, otp.ErrNoChallenge) {
			d.Fatal(err)
		}
	}
	d.proxy.CutReplies(true)
}

// lose has the answer to what is asked lost, and all others until the budget
// is used up, and waits until what is owed is paid.
func (d *desk) lose(ask func() error) {
	d.Helper()
	d.cut()
	err := ask()
	wantUnavailable(d.T, err)
	if !errors.Is(err, errLost) {
		d.Fatalf("what was lost is %v", err)
	}
	d.proxy.CutReplies(false)
	d.paid()
}

// paid waits until what is owed now is paid: debts are paid in turn, and one
// that cannot be goes to the end once, behind the first of these two.
func (d *desk) paid() {
	d.Helper()
	for range 2 {
		done := make(chan struct{})
		var once sync.Once
		d.store.node.takeBack(errLost, func(ctx context.Context, c rueidis.Client) rueidis.RedisResult {
			result := c.Do(ctx, c.B().Ping().Build())
			if result.Error() == nil {
				once.Do(func() { close(done) })
			}
			return result
		})
		select {
		case <-done:
		case <-time.After(patience):
			d.Fatal("what is owed is not paid")
		}
	}
	redistest.Eventually(d.T, "it is there", func() error {
		if !d.store.node.up.Load() {
			return errAway
		}
		return nil
	})
}

// repeat has only the first answer lost: ask is asked again until it gets one.
// done reports whether Redis has done what is asked for.
func (d *desk) repeat(ask func() error, done func() bool) error {
	d.Helper()
	d.cut()
	d.store.node.budget = patience
	result := make(chan error, 1)
	go func() { result <- ask() }()
	// A machine so busy that a connection was pinged just then has nothing lost.
	for deadline := time.Now().Add(2 * time.Second); !done() && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	d.proxy.CutReplies(false)
	select {
	case err := <-result:
		return err
	case <-time.After(2 * patience):
		d.Fatal("no answer")
		return nil
	}
}

func (d *desk) must(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

func (d *desk) reserve(counters ...otp.Counter) *otp.Reservation {
	d.Helper()
	r := reservation(counters...)
	d.must(d.store.Reserve(ctx, r))
	return r
}

// want asks the other store for an attempt, and compares what comes of it.
func (d *desk) want(what string, id otp.ID, proof otp.Digest, want error) {
	d.Helper()
	if _, err := d.other.Attempt(ctx, id, &otp.Answer{Proof: proof, Now: now()}); !errors.Is(err, want) {
		d.Errorf("%s: %v, want %v", what, err, want)
	}
}

func (d *desk) wantUsed(c otp.Counter, want int) {
	d.Helper()
	if used, err := d.other.Used(ctx, "", c, now()); err != nil || used[0] != want {
		d.Errorf("counted are %v, %v, want %d", used, err, want)
	}
}

func (d *desk) wantLive(want int) {
	d.Helper()
	if live, err := d.store.Live(ctx, now()); err != nil || live != want {
		d.Errorf("live are %d, %v, want %d", live, err, want)
	}
}

func (d *desk) get(id otp.ID) otp.Record {
	d.Helper()
	rec, err := d.other.Get(ctx, "", id, now())
	if err != nil {
		d.Fatal(err)
	}
	return rec
}

// A right answer that nobody got word of is right again, once.
func TestAttemptRightLost(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	r := d.reserve()
	d.lose(func() error {
		_, err := d.store.Attempt(ctx, r.ID, &otp.Answer{Proof: r.Proof, Now: now()})
		return err
	})
	d.wantLive(1)
	d.want("right again", r.ID, r.Proof, nil)
	d.want("right twice", r.ID, r.Proof, otp.ErrNoChallenge)
}

// It is right as soon as anything is answered again: nobody is told meanwhile
// that there is no such challenge.
func TestRightAsSoonAsBack(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	r := d.reserve()
	answer := func() error {
		_, err := d.store.Attempt(ctx, r.ID, &otp.Answer{Proof: r.Proof, Now: now()})
		return err
	}
	d.cut()
	wantUnavailable(t, answer())
	d.proxy.CutReplies(false)
	var err error
	deadline := time.Now().Add(patience)
	for away := (*otp.UnavailableError)(nil); ; {
		if err = answer(); !errors.As(err, &away) || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		t.Errorf("the right code: %v", err)
	}
}

// Asked again within the budget, it is right once.
func TestAttemptRightRepeated(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	r := d.reserve()
	run := lockout("+64210000001", otp.Lockout{Count: 3, For: time.Hour})
	if _, err := d.store.Attempt(ctx, r.ID, &otp.Answer{Proof: wrong, Failures: run, Now: now()}); !errors.Is(err, otp.ErrWrongCode) {
		t.Fatal(err)
	}
	d.must(d.repeat(func() error {
		_, err := d.store.Attempt(ctx, r.ID, &otp.Answer{Proof: r.Proof, Failures: run, Now: now()})
		return err
	}, func() bool { return d.redis.Do("HGET", d.store.challenge("", r.ID), "m") != nil }))
	d.want("right twice", r.ID, r.Proof, otp.ErrNoChallenge)
	if had, err := d.other.Unlock(ctx, "", run.Number); had || err != nil {
		t.Errorf("the run of failures is there: %t, %v", had, err)
	}
}

// A wrong answer counts, whether its answer arrives or not, and counts once
// though it is asked for twice.
func TestAttemptWrongLost(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	run := lockout("+64210000001", otp.Lockout{Count: 3, For: time.Hour})
	r := d.reserve()
	answer := func() error {
		_, err := d.store.Attempt(ctx, r.ID, &otp.Answer{Proof: wrong, Failures: run, Now: now()})
		return err
	}
	d.lose(answer)
	if left := d.get(r.ID).AttemptsLeft; left != 4 {
		t.Errorf("%d attempts are left, want 4", left)
	}
	left := func() any { return d.redis.Do("HGET", d.store.challenge("", r.ID), "a") }
	if err := d.repeat(answer, func() bool { return left() == "3" }); !errors.Is(err, otp.ErrWrongCode) {
		t.Errorf("repeated: %v", err)
	}
	if left() != "3" {
		t.Errorf("%v attempts are left, want 3", left())
	}
	var limit *otp.LimitError
	if err := d.repeat(answer, func() bool { return left() == "2" }); !errors.Is(err, otp.ErrWrongCode) || !errors.As(err, &limit) || limit.Limit != "lockout" {
		t.Errorf("the third wrong code: %v", err)
	}
}

// A reservation that nobody got word of is none: what was counted is given
// back, and the challenge that it replaced is there again.
func TestReserveLost(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	former := d.reserve()
	number := perNumber("+64210000001", otp.Rate{Count: 1, Window: time.Hour})
	next := reservation(number)
	next.Replaces = former.ID
	d.lose(func() error { return d.store.Reserve(ctx, next) })
	d.wantUsed(number, 0)
	d.wantLive(1)
	d.want("a code that was not sent", next.ID, next.Proof, otp.ErrNoChallenge)
	d.want("the former code", former.ID, former.Proof, nil)
	d.reserve(number)
}

func TestReserveRepeated(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	number := perNumber("+64210000001", otp.Rate{Count: 1, Window: time.Hour})
	r := reservation(number)
	d.must(d.repeat(func() error { return d.store.Reserve(ctx, r) },
		func() bool { return d.redis.Do("EXISTS", d.store.challenge("", r.ID)) == int64(1) }))
	d.wantUsed(number, 1)
	d.want("its code", r.ID, r.Proof, nil)
}

// Whoever asked for a code, got no word and asks again has the new code alone,
// though the first answer is taken back afterwards: of a reservation or of a
// right code.
func TestReplacedWhileOwed(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"reservation", "right code"} {
		t.Run(first, func(t *testing.T) {
			d := newDesk(t)
			former := d.reserve()
			d.cut()
			if first == "reservation" {
				lost := reservation()
				lost.Replaces = former.ID
				wantUnavailable(t, d.store.Reserve(ctx, lost))
			} else {
				_, err := d.store.Attempt(ctx, former.ID, &otp.Answer{Proof: former.Proof, Now: now()})
				wantUnavailable(t, err)
			}
			next := reservation()
			next.Replaces = former.ID
			d.must(d.other.Reserve(ctx, next)) // before the other node can pay
			d.proxy.CutReplies(false)
			d.paid()
			d.want("the replaced code", former.ID, former.Proof, otp.ErrNoChallenge)
			d.want("its code", next.ID, next.Proof, nil)
		})
	}
}

// What replaced a challenge and is taken back does not bring back one that was
// met.
func TestReserveLostAfterMet(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	former := d.reserve()
	d.want("the code", former.ID, former.Proof, nil)
	lost := reservation()
	lost.Replaces = former.ID
	d.lose(func() error { return d.store.Reserve(ctx, lost) })
	d.want("the code again", former.ID, former.Proof, otp.ErrNoChallenge)
	d.wantLive(0)
}

// A resend that nobody got word of was not sent: it counts for nothing.
func TestResendLost(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	number := perNumber("+64210000001", otp.Rate{Count: 2, Window: time.Hour})
	resend := func(id otp.ID) func() error {
		return func() error {
			_, err := d.store.Resend(ctx, id, &otp.Renewal{Now: now(), TTL: time.Minute, Counters: []otp.Counter{number}})
			return err
		}
	}
	r := d.reserve(number)
	d.lose(resend(r.ID))
	d.wantUsed(number, 1)
	if rec := d.get(r.ID); !rec.Settled || rec.Status != otp.Failed {
		t.Errorf("the sending is %+v, want one that failed", rec.Challenge)
	}
	d.want("the first sending's code", r.ID, r.Proof, nil)

	refused := d.reserve()
	d.must(d.store.Settle(ctx, refused.ID, &otp.Settlement{Sending: 1, Status: otp.Failed, Refused: true, Taken: refused.Now, Now: now()}))
	d.lose(resend(refused.ID))
	d.wantUsed(number, 1)
	d.want("a code that was never sent", refused.ID, refused.Proof, otp.ErrWrongCode)
}

func TestResendRepeated(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	number := perNumber("+64210000001", otp.Rate{Count: 3, Window: time.Hour})
	r := d.reserve(number)
	d.must(d.repeat(func() error {
		rec, err := d.store.Resend(ctx, r.ID, &otp.Renewal{Now: now(), TTL: time.Minute, Cooldown: time.Minute, Counters: []otp.Counter{number}})
		if err == nil && rec.Sending != 2 {
			err = fmt.Errorf("it is sending %d", rec.Sending)
		}
		return err
	}, func() bool { return d.redis.Do("HGET", d.store.challenge("", r.ID), "n") == "2" }))
	d.wantUsed(number, 2)
}

// How a sending went is told when Redis is there again, and gives it back once,
// though it is told twice.
func TestSettleWaits(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	number := perNumber("+64210000001", otp.Rate{Count: 3, Window: time.Hour})
	r := d.reserve(number)
	renewed, err := d.store.Resend(ctx, r.ID, &otp.Renewal{Now: now(), TTL: time.Minute, Counters: []otp.Counter{number}})
	d.must(err)
	settle := func(p *process, sending int) error {
		taken := r.Now
		return p.Settle(ctx, r.ID, &otp.Settlement{
			Sending: sending, Status: otp.Failed, Refused: true, Taken: taken, Now: now(), Return: []otp.Counter{number},
		})
	}
	_ = renewed
	key := d.store.challenge("", r.ID)
	d.must(d.repeat(func() error { return settle(d.store, 2) }, func() bool { return d.redis.Do("HGET", key, "f") == ",2," }))
	if o := d.redis.Do("HGET", key, "o"); o != "1" {
		t.Errorf("%v sendings may have arrived, want 1", o)
	}
	d.want("the first sending's code", r.ID, r.Proof, nil)
}

// Given back is what was counted, once, at whatever time Redis is there again.
func TestSettleGivesBackOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	number := perNumber("+64210000001", otp.Rate{Count: 3, Window: time.Hour})
	d.reserve(number)
	r := d.reserve(number)
	d.wantUsed(number, 2)
	d.proxy.HalfOpen(true)
	d.store.wantRefuses(t)
	settled := make(chan error, 1)
	go func() {
		settled <- d.store.Settle(ctx, r.ID, &otp.Settlement{
			Sending: 1, Status: otp.Failed, Refused: true, MessageID: "MSG1", Taken: r.Now, Now: now(), Return: []otp.Counter{number},
		})
	}()
	d.proxy.HalfOpen(false)
	select {
	case err := <-settled:
		d.must(err)
	case <-time.After(patience):
		t.Fatal("Settle does not return")
	}
	d.wantUsed(number, 1)
	d.must(d.other.Settle(ctx, r.ID, &otp.Settlement{Sending: 1, Status: otp.Failed, Refused: true, Taken: r.Now, Now: now(), Return: []otp.Counter{number}}))
	d.wantUsed(number, 1)
	d.want("a code that was refused", r.ID, r.Proof, otp.ErrWrongCode)
}

// Settle waits no longer than its caller, nor than ten seconds.
func TestSettleGivesUp(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	r := d.reserve()
	d.proxy.Partition(true)
	d.store.wantRefuses(t)
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	wantUnavailable(t, d.store.Settle(short, r.ID, &otp.Settlement{Sending: 1, Status: otp.Accepted, MessageID: "MSG1", Taken: r.Now, Now: now()}))
	if took := time.Since(began); took > slack {
		t.Errorf("it took %v", took)
	}
}

// What is first stays so though its answer is lost and asked for again.
func TestFirstRepeated(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	key := otp.Digest(sha256.Sum256([]byte("dlr MSG1 1")))
	ask := func(p *process) error {
		first, err := p.First(ctx, key, time.Hour, now())
		if err == nil && !first {
			err = errors.New("it is not the first")
		}
		return err
	}
	d.must(d.repeat(func() error { return ask(d.store) }, func() bool { return d.redis.Do("EXISTS", d.store.seen(key)) == int64(1) }))
	if err := ask(d.other); err == nil {
		t.Error("there are two firsts")
	}
}

// Nodes whose clocks differ: what one has forgotten still counts for another
// whose window it is in.
func TestLimitUnderTwoClocks(t *testing.T) {
	t.Parallel()
	s := openProcess(t, at(redistest.Server(t).Addr()))
	s.wantWorks(t)
	const window = 10 * time.Minute
	number := perNumber("+64210000001", otp.Rate{Count: 3, Window: window})
	start := now()
	taken := 0
	for _, after := range []time.Duration{0, 0, window + time.Second, window - time.Second, window - time.Second} {
		r := reservation(number)
		r.Now = start.Add(after)
		if err := s.Reserve(ctx, r); err == nil && after < window {
			taken++
		}
	}
	if taken > 3 {
		t.Errorf("%d were sent within one window of a clock, want 3 at most", taken)
	}
}

// A thousand right codes whose answers are lost are all good again.
func TestManyOwed(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	var list []*otp.Reservation
	for range 1000 {
		list = append(list, d.reserve())
	}
	d.proxy.CutReplies(true)
	var all sync.WaitGroup
	for _, r := range list {
		all.Go(func() {
			if _, err := d.store.Attempt(ctx, r.ID, &otp.Answer{Proof: r.Proof, Now: now()}); err == nil {
				t.Error("an answer that was lost arrived")
			}
		})
	}
	all.Wait()
	d.proxy.CutReplies(false)
	d.paid()
	for _, r := range list {
		d.want("right again", r.ID, r.Proof, nil)
		d.want("right twice", r.ID, r.Proof, otp.ErrNoChallenge)
	}
}
