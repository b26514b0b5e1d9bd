package redisstore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/redisstore/redistest"
	"github.com/caddy-websms/websms/session"
)

var ctx = context.Background()

// now returns the time in whole microseconds, as stores get it.
func now() time.Time { return time.Now().Truncate(time.Microsecond) }

// right is the proof of the right code, and wrong that of a wrong one.
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

// desk is a store whose answers can be lost, and another store on the same Redis that sees
// the outcome.
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

// cacheScripts makes Redis cache the scripts. Otherwise the lost answer would be NOSCRIPT.
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

// cut loses all answers from now on. Before that it opens every connection of the store,
// and makes sure that no beat comes. So the next command reaches Redis.
func (d *desk) cut() {
	d.Helper()
	// Tell Redis the live count now. If that answer were lost, the count would be
	// uncertain.
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

// lose calls ask, loses all answers until the budget is used up, and waits until the debts
// are paid.
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

// paid waits until the current debts are paid. The node pays debts in turn. A debt that
// cannot be paid goes to the end, behind the first of two more debts that paid adds.
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

// repeat loses only the first answer, so that the node asks again. done reports whether
// Redis has carried out the command.
func (d *desk) repeat(ask func() error, done func() bool) error {
	d.Helper()
	d.cut()
	d.store.node.budget = patience
	result := make(chan error, 1)
	go func() { result <- ask() }()
	// On a busy machine, a PING may come in between, and then no answer is lost.
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

// want makes an attempt at the other store, and compares the outcome.
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

// If the answer to a right code was lost, the code is right once more.
func TestAttemptRightLost(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	r := d.reserve()
	d.lose(func() error {
		_, err := d.store.Attempt(ctx, r.ID, &otp.Answer{Proof: r.Proof, Now: now()})
		return err
	})
	d.wantLive(1)
	d.rightOnce(r)
}

// rightOnce fails the test unless the right code of a challenge is good, and good only once.
func (d *desk) rightOnce(r *otp.Reservation) {
	d.Helper()
	d.want("right once more", r.ID, r.Proof, nil)
	d.want("right twice", r.ID, r.Proof, otp.ErrNoChallenge)
}

// undo undoes the attempt that met a challenge, as its node does if the answer was lost.
func (d *desk) undo(id otp.ID) {
	d.Helper()
	key := d.other.challenge("", id)
	nonce, _, _ := strings.Cut(d.redis.Do("HGET", key, "m").(string), " ")
	if _, err := d.other.node.do(call(scriptUnmeet, []string{key}, []string{d.other.wake(id), nonce})).int(); err != nil {
		d.Fatal(err)
	}
}

// The answer to a right code was lost, and before the node undoes the attempt, another node
// refuses the same code of a program, which has no session of the first attempt. Then the code
// is right once more.
func TestAttemptRefusedIsUndone(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	r := d.reserve()
	d.want("right", r.ID, r.Proof, nil)
	d.want("right again", r.ID, r.Proof, otp.ErrNoChallenge)
	d.undo(r.ID)
	d.rightOnce(r)
}

// The answer to a right code was lost, and so was the answer of another attempt that would have
// been told that the code was used. Nobody got in, so the code is right once more.
func TestAttemptUsedLost(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	r := d.reserve()
	d.want("right", r.ID, r.Proof, nil)
	d.lose(func() error {
		_, err := d.store.Attempt(ctx, r.ID, &otp.Answer{Proof: r.Proof, Now: now(), Again: true})
		return err
	})
	if _, err := d.other.Get(ctx, "", r.ID, now()); !errors.Is(err, otp.ErrNoChallenge) {
		t.Errorf("the challenge: %v, want %v", err, otp.ErrNoChallenge)
	}
	d.undo(r.ID)
	d.rightOnce(r)
}

// The answer to a right code was lost, and before the node undoes the attempt, another node
// tells the browser that the code was used, so that it gets the session. Then the code is not
// right once more.
func TestAttemptUsedIsNotUndone(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	r := d.reserve()
	d.want("right", r.ID, r.Proof, nil)
	for range 3 {
		if _, err := d.other.Attempt(ctx, r.ID, &otp.Answer{Proof: r.Proof, Now: now(), Again: true}); !errors.Is(err, otp.ErrUsed) {
			t.Fatalf("used: %v, want %v", err, otp.ErrUsed)
		}
	}
	d.undo(r.ID)
	if _, err := d.other.Get(ctx, "", r.ID, now()); !errors.Is(err, otp.ErrNoChallenge) {
		t.Errorf("the challenge: %v, want %v", err, otp.ErrNoChallenge)
	}
	d.want("right once more", r.ID, r.Proof, otp.ErrNoChallenge)
}

// Until the undoing of a lost attempt is paid, Redis does not have a challenge that the
// node may bring back. So the answer is not ErrNoChallenge before.
func TestNoChallengeIsCertain(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	r := d.reserve()
	d.want("the right code", r.ID, r.Proof, nil)
	asks := map[string]func() error{
		"Attempt": func() error {
			_, err := d.store.Attempt(ctx, r.ID, &otp.Answer{Proof: r.Proof, Now: now()})
			return err
		},
		"Resend": func() error {
			_, err := d.store.Resend(ctx, r.ID, &otp.Renewal{Now: now(), TTL: time.Minute})
			return err
		},
		"Get": func() error {
			_, err := d.store.Get(ctx, "", r.ID, now())
			return err
		},
	}
	d.store.node.owe(debt{op: call(scriptUnmeet, nil, nil), begun: time.Now(), due: time.Now().Add(time.Hour), undo: true})
	for name, ask := range asks {
		if err := ask(); !errors.As(err, new(*otp.UnavailableError)) {
			t.Errorf("%s, in debt: %v", name, err)
		}
	}
	d.store.node.mu.Lock()
	d.store.node.owed = nil
	d.store.node.mu.Unlock()
	for name, ask := range asks {
		if err := ask(); !errors.Is(err, otp.ErrNoChallenge) {
			t.Errorf("%s, without debts: %v", name, err)
		}
	}
}

// What is owed of a webhook event leaves no doubt about a challenge.
func TestEventsOwedAreCertain(t *testing.T) {
	t.Parallel()
	n := newDesk(t).store.node
	s := &store{node: n}
	if err := s.orOwe(24*time.Hour, refusedBy("CLUSTERDOWN Hash slot not served")); err == nil {
		t.Fatal("it was not refused")
	}
	if err := n.certain(otp.ErrNoChallenge, n.hurries()); !errors.Is(err, otp.ErrNoChallenge) {
		t.Errorf("%v, want ErrNoChallenge", err)
	}
}

// A report that is owed leaves no doubt either: it brings no challenge back.
func TestReportsOwedAreCertain(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t)
	s := openStore(t, redis.Addr())
	redis.Stop()
	if _, _, err := s.Report(ctx, "MSG1", connexus.StateDelivered, time.Now()); err == nil {
		t.Fatal("the report was applied without Redis")
	}
	if s.node.hurries() {
		t.Error("a report that is owed counts as an undoing")
	}
}

// A debt is unpaid until Redis has carried it out, also while the node is paying it.
func TestHurriesWhilePaying(t *testing.T) {
	t.Parallel()
	n := newDesk(t).store.node
	begun, goOn := make(chan struct{}), make(chan struct{})
	n.takeBack(unavailable(errLost), func(ctx context.Context, c rueidis.Client) rueidis.RedisResult {
		begun <- struct{}{}
		<-goOn
		return c.Do(ctx, c.B().Pttl().Key(n.alive).Build())
	})
	<-begun
	if !n.hurries() {
		t.Error("a debt counts as paid before Redis has answered")
	}
	close(goOn)
	redistest.Eventually(t, "it is paid", func() error {
		if n.hurries() {
			return errors.New("not yet")
		}
		return nil
	})
	<-begun // the node pays it once more, and does not hurry
	if n.hurries() {
		t.Error("a debt that was paid once counts as unpaid")
	}
}

// After a lost answer, the code is right as soon as Redis answers again. No request is
// refused with ErrNoChallenge before.
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

// If the node asks again within the budget, the code is right once.
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

// A wrong code counts even if the answer is lost. It counts once if the node asks twice.
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
	err := d.repeat(answer, func() bool { return left() == "2" })
	if !errors.Is(err, otp.ErrWrongCode) || !errors.As(err, &limit) || limit.Limit != "lockout" {
		t.Errorf("the third wrong code: %v", err)
	}
}

// A reservation with a lost answer is taken back: its sending is given back, and the
// challenge that it replaced can be used again.
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

// The answer to a reservation or to a right code is lost, and the person asks for another
// code. Then only the new code is right, even though the first change is taken back later.
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

// A reservation that is taken back does not bring back a challenge that was answered with
// the right code.
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

// A resend with a lost answer was not sent, and does not count.
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

// Settle succeeds when Redis is back. It gives a sending back once, even if it runs twice.
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

// A sending is given back once, no matter when Redis is back.
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
	d.must(d.other.Settle(ctx, r.ID, &otp.Settlement{
		Sending: 1, Status: otp.Failed, Refused: true, Taken: r.Now, Now: now(), Return: []otp.Counter{number},
	}))
	d.wantUsed(number, 1)
	d.want("a code that was refused", r.ID, r.Proof, otp.ErrWrongCode)
}

// Settle waits no longer than its context, and ten seconds at most.
func TestSettleGivesUp(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	r := d.reserve()
	d.proxy.Partition(true)
	d.store.wantRefuses(t)
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	settlement := &otp.Settlement{Sending: 1, Status: otp.Accepted, MessageID: "MSG1", Taken: r.Now, Now: now()}
	wantUnavailable(t, d.store.Settle(short, r.ID, settlement))
	if took := time.Since(began); took > slack {
		t.Errorf("it took %v", took)
	}
}

// If the answer of First is lost and the node asks again, the key is still new.
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

// The clocks of nodes differ. A sending outside the window of one node still counts for
// another whose window it is in.
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

// A thousand right codes with lost answers are all right again.
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
