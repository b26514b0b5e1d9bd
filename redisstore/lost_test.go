package redisstore

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/redisstore/redistest"
	"github.com/caddy-websms/websms/session"
)

// refusedBy returns an operation that Redis refuses with this error.
func refusedBy(text string) operation {
	return func(ctx context.Context, c rueidis.Client) rueidis.RedisResult {
		return c.Do(ctx, c.B().Eval().Script("return redis.error_reply('"+text+"')").Numkeys(0).Build())
	}
}

// After a failover to a replica without the latest entries, a new entry gets a number that
// was never given before. So followers see it.
func TestArchiveFailoverHidesNothing(t *testing.T) {
	redis := redistest.Server(t)
	a, err := newArchive(openStore(t, redis.Addr()).node, "websms:", "secret")
	if err != nil {
		t.Fatal(err)
	}
	keep := func(name string) {
		t.Helper()
		if err := a.Keep(t.Context(), name, []byte("v")); err != nil {
			t.Fatal(err)
		}
	}
	keep("r1")
	before := redis.Do("GET", a.tag+"sequence").(string)
	keep("r2")
	_, mark, _, err := a.Records(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	redis.Do("SET", a.tag+"sequence", before)
	redis.Do("ZREM", a.tag+"log", "r2")
	redis.Do("HDEL", a.tag+"values", "r2")
	keep("r3")
	names, _, emptied, err := a.Records(t.Context(), mark)
	if err != nil || !emptied && !slices.Contains(names, "r3") {
		t.Errorf("%q, emptied %t, %v: want r3", names, emptied, err)
	}
}

// If an answer was lost and the second try returns an error, the outcome is still unknown,
// and the change must be taken back.
func TestLostBeforeAnError(t *testing.T) {
	s := openStore(t, redistest.Server(t).Addr())
	first := true
	r := s.node.do(func(ctx context.Context, c rueidis.Client) rueidis.RedisResult {
		if first {
			first = false
			return rueidis.NewErrorResult(io.EOF)
		}
		return refusedBy("LOADING Redis is loading the dataset in memory")(ctx, c)
	})
	if !errors.Is(r.failed, errLost) || !errors.As(r.failed, new(*otp.UnavailableError)) {
		t.Errorf("%v, want it to be lost", r.failed)
	}
}

// A debt that Redis refuses does not stop the node from paying others.
func TestDebtsPastARefusedOne(t *testing.T) {
	redis := redistest.Server(t)
	s := openStore(t, redis.Addr())
	lost := unavailable(errLost)
	s.node.takeBack(lost, refusedBy("CLUSTERDOWN Hash slot not served"))
	s.node.takeBack(lost, func(ctx context.Context, c rueidis.Client) rueidis.RedisResult {
		return c.Do(ctx, c.B().Set().Key("websms:undone").Value("1").Build())
	})
	redistest.Eventually(t, "the second is paid", func() error {
		if redis.Do("EXISTS", "websms:undone") != int64(1) {
			return errors.New("not yet")
		}
		return nil
	})
}

// A delivery report that comes while Redis stands still is applied when it goes on.
func TestReportDuringAnOutage(t *testing.T) {
	redis := redistest.Server(t)
	s := openWithin(t, requestBudget, &Store{Address: []string{redis.Addr()}})
	r := reservation()
	if err := s.Reserve(ctx, r); err != nil {
		t.Fatal(err)
	}
	if err := s.Settle(ctx, r.ID, &otp.Settlement{Sending: 1, Status: otp.Accepted, MessageID: "m1", Now: now(), Taken: r.Now}); err != nil {
		t.Fatal(err)
	}
	redis.Pause()
	if _, _, err := s.Report(ctx, "m1", connexus.StateDelivered, now()); !errors.As(err, new(*otp.UnavailableError)) {
		t.Errorf("the report of a Redis that stands still: %v", err)
	}
	redis.Resume()
	redistest.Eventually(t, "it is applied", func() error {
		c, err := s.Get(ctx, "", r.ID, now())
		if err == nil && c.Status != otp.Delivered {
			err = errors.New(string(c.Status))
		}
		return err
	})
}

// The network delays a command, and the node asks again. When the delayed command arrives
// after later ones, it changes nothing.
func TestHeldUp(t *testing.T) {
	s := openStore(t, redistest.Server(t).Addr())
	r := reservation()
	r.Attempts = 4
	if err := s.Reserve(ctx, r); err != nil {
		t.Fatal(err)
	}
	keys := []string{s.challenge("", r.ID), s.failures("", otp.Digest{}), s.windows("")}
	attempt := call(scriptAttempt, keys[:2], []string{micros(now()), s.wake(r.ID), newNonce(), string(wrong[:]), ""})
	resend := call(scriptResend, keys, []string{micros(now()), s.wake(r.ID), newNonce(),
		span(r.TTL), "0", span(otp.MaxLife), "5", memberOf(r.ID), "", "0"})
	for i := range 2 {
		for _, held := range []operation{attempt, resend} {
			if err := s.node.do(held).err(); err != nil {
				t.Fatal(err)
			}
		}
		if i == 0 {
			if _, err := s.Attempt(ctx, r.ID, &otp.Answer{Proof: wrong, Now: now()}); !errors.Is(err, otp.ErrWrongCode) {
				t.Fatal(err)
			}
			if _, err := s.Resend(ctx, r.ID, &otp.Renewal{Now: now(), TTL: r.TTL}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if c, err := s.Get(ctx, "", r.ID, now()); err != nil || c.AttemptsLeft != 2 || c.Sending != 3 {
		t.Errorf("%d attempts are left after %d sendings, %v: want 2 after 3", c.AttemptsLeft, c.Sending, err)
	}
}

// If the answer to the last attempt is lost and the node asks again, it is still wrong.
func TestLastAttemptAskedAgain(t *testing.T) {
	s := openStore(t, redistest.Server(t).Addr())
	r := reservation()
	r.Attempts = 1
	if err := s.Reserve(ctx, r); err != nil {
		t.Fatal(err)
	}
	attempt := call(scriptAttempt, []string{s.challenge("", r.ID), s.failures("", otp.Digest{})},
		[]string{micros(now()), s.wake(r.ID), newNonce(), string(wrong[:]), ""})
	for range 2 {
		if answer, _, err := s.node.do(attempt).verdict(); err != nil || answer[0] != "wrong" {
			t.Errorf("%q, %v: want it to be wrong", answer, err)
		}
	}
}

// A node pays its debts before it closes.
func TestCloseAfterAnOutage(t *testing.T) {
	redis := redistest.Server(t)
	s := openStore(t, redis.Addr())
	s.node.owe(debt{due: time.Now(), begun: time.Now(), op: func(ctx context.Context, c rueidis.Client) rueidis.RedisResult {
		return c.Do(ctx, c.B().Set().Key("websms:undone").Value("1").Build())
	}})
	s.node.close()
	if redis.Do("EXISTS", "websms:undone") != int64(1) {
		t.Error("it is not paid")
	}
}

// In a flood against a Redis that hangs, no request waits longer than its budget.
func TestFloodKeepsToTheBudget(t *testing.T) {
	redis := redistest.Server(t)
	s := openWithin(t, requestBudget, &Store{Address: []string{redis.Addr()}})
	redis.Pause()
	defer redis.Resume()
	var all sync.WaitGroup
	var mu sync.Mutex
	var worst time.Duration
	for range 150 {
		for range 100 {
			all.Go(func() {
				began := time.Now()
				if _, err := s.Get(context.Background(), "", session.NewID(), began); err == nil {
					t.Error("a Redis that hangs has answered")
				}
				mu.Lock()
				defer mu.Unlock()
				worst = max(worst, time.Since(began))
			})
		}
		time.Sleep(5 * time.Millisecond) // the pace of the flood
	}
	all.Wait()
	if worst > 4*requestBudget {
		t.Errorf("somebody waited %v", worst)
	}
}
