package redisstore

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/redisstore/redistest"
)

// leaseOf returns a lease that is longer than any test.
func leaseOf(holder string) otp.Lease {
	return otp.Lease{Holder: holder, For: time.Hour, Now: now()}
}

// wantBegin checks the answer of Begin at another node: nil, otp.ErrDone, or an
// *otp.InWorkError.
func (d *desk) wantBegin(what string, key otp.Digest, holder string, want error) {
	d.Helper()
	err := d.other.Begin(ctx, key, leaseOf(holder))
	if errors.As(want, new(*otp.InWorkError)) && errors.As(err, new(*otp.InWorkError)) {
		return
	}
	if !errors.Is(err, want) {
		d.Errorf("%s: %v, want %v", what, err, want)
	}
}

var inWork = new(otp.InWorkError)

// If the answer of Done or Forget is lost, or Redis is away, the change holds as soon as
// Redis is back.
func TestWorkOwed(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	key := func(name string) otp.Digest { return sha256.Sum256([]byte(name)) }
	for _, k := range []string{"done", "forgotten", "away done", "away forgotten", "known"} {
		d.must(d.store.Begin(ctx, key(k), leaseOf("a")))
		d.wantBegin(k, key(k), "b", inWork)
	}
	d.lose(func() error { return d.store.Done(ctx, key("done"), time.Hour, now()) })
	d.wantBegin("a Done whose answer was lost", key("done"), "b", otp.ErrDone)
	d.lose(func() error { return d.store.Forget(ctx, key("forgotten"), "a") })
	d.wantBegin("a Forget whose answer was lost", key("forgotten"), "b", nil)
	d.paid() // once more, because a lost command may arrive late
	d.wantBegin("the work of who came next", key("forgotten"), "c", inWork)

	d.redis.Pause()
	redistest.Eventually(t, "it is away", func() error {
		if d.store.node.up.Load() {
			return errors.New("it is there")
		}
		return nil
	})
	wantUnavailable(t, d.store.Begin(ctx, key("never begun"), leaseOf("a")))
	wantUnavailable(t, d.store.Done(ctx, key("never begun"), time.Hour, now()))
	wantUnavailable(t, d.store.Done(ctx, key("away done"), time.Hour, now()))
	wantUnavailable(t, d.store.Forget(ctx, key("away forgotten"), "a"))
	d.redis.Resume()
	redistest.Eventually(t, "it is back", func() error {
		if !d.store.node.up.Load() || !d.other.node.up.Load() {
			return errors.New("it is away")
		}
		return nil
	})
	// The node pays its debts before it takes requests again.
	d.wantBegin("done while Redis was away", key("away done"), "b", otp.ErrDone)
	d.wantBegin("done while Redis was away, and never begun", key("never begun"), "b", otp.ErrDone)
	d.wantBegin("forgotten while Redis was away", key("away forgotten"), "b", nil)
	d.wantBegin("in work all the while", key("known"), "b", inWork)
}

// A Done that is paid late neither shortens a later mark nor outlives its own.
func TestDoneLate(t *testing.T) {
	s := openStore(t, redistest.Server(t).Addr())
	key := otp.Digest(sha256.Sum256([]byte("mo MO1")))
	at := now()
	begin := func(after time.Duration) error {
		return s.Begin(ctx, key, otp.Lease{Holder: "b", For: otp.LeaseTime, Now: at.Add(after)})
	}
	for _, c := range []struct{ done, ttl time.Duration }{{5 * time.Minute, time.Hour}, {0, time.Hour}} {
		if err := s.Done(ctx, key, c.ttl, at.Add(c.done)); err != nil {
			t.Fatal(err)
		}
	}
	if err := begin(65*time.Minute - 1000); !errors.Is(err, otp.ErrDone) {
		t.Errorf("the later mark is cut short: %v", err)
	}
	if err := begin(65 * time.Minute); err != nil {
		t.Errorf("the later mark outlives its life: %v", err)
	}
}

// If the answer of Begin is lost and the holder asks again, it gets the same lease.
func TestBeginRepeated(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	key := otp.Digest(sha256.Sum256([]byte("mo MO1")))
	d.must(d.other.Begin(ctx, otp.Digest{1}, leaseOf("x"))) // Redis knows the script
	d.must(d.repeat(func() error { return d.store.Begin(ctx, key, leaseOf("a")) },
		func() bool { return d.redis.Do("EXISTS", d.store.seen(key)) == int64(1) }))
	d.wantBegin("another node", key, "b", inWork)
}

// During a rolling upgrade, marks of the version before leases count. That version reads
// our marks too: it sees keys that are done, but no leases.
func TestMarksOfTheVersionBefore(t *testing.T) {
	redis := redistest.Server(t)
	s := openStore(t, redis.Addr())
	key := otp.Digest(sha256.Sum256([]byte("mo MO1")))
	at := now()
	redis.Do("SET", s.seen(key), micros(at.Add(time.Hour))+" NONCE")
	if err := s.Begin(ctx, key, leaseOf("a")); !errors.Is(err, otp.ErrDone) {
		t.Errorf("Begin of what was seen: %v", err)
	}
	if first, err := s.First(ctx, key, time.Hour, at); first || err != nil {
		t.Errorf("First of what was seen: %v, %v", first, err)
	}
	if err := s.Forget(ctx, key, "NONCE"); err != nil || redis.Do("EXISTS", s.seen(key)) != int64(1) {
		t.Error("Forget took a mark of the version before")
	}
	if err := s.Begin(ctx, key, otp.Lease{Holder: "a", For: otp.LeaseTime, Now: at.Add(time.Hour)}); err != nil {
		t.Errorf("Begin when the mark is over: %v", err)
	}
	// The version before reads the first number as the end of the mark.
	var until, made, lease int64
	var nonce string
	text := redis.Do("GET", s.seen(key)).(string)
	if n, _ := fmt.Sscan(text, &until, &nonce, &made, &lease); n != 4 || until != 0 || lease != at.Add(time.Hour+otp.LeaseTime).UnixMicro() {
		t.Errorf("a mark in work is %q", text)
	}
	if err := s.Done(ctx, key, time.Hour, at.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	text = redis.Do("GET", s.seen(key)).(string)
	if n, _ := fmt.Sscan(text, &until); n != 1 || until != at.Add(2*time.Hour).UnixMicro() {
		t.Errorf("a mark that is done is %q", text)
	}
}

// A refused try is one script, for any rate.
func TestTryCostsOneScript(t *testing.T) {
	redis := redistest.Server(t)
	s := openStore(t, redis.Addr())
	c := otp.Counter{Limit: "recovery_tries", Key: sha256.Sum256([]byte("a")), Rates: []otp.Rate{{Count: 10, Window: 10 * time.Minute}}}
	for range 10 {
		if err := s.Try(ctx, "staff", c, now()); err != nil {
			t.Fatal(err)
		}
	}
	calls := func() (n int) {
		scripts := regexp.MustCompile(`cmdstat_eval(?:sha)?:calls=(\d+)`)
		for _, command := range scripts.FindAllStringSubmatch(redis.Do("INFO", "commandstats").(string), -1) {
			some, err := strconv.Atoi(command[1])
			if err != nil {
				t.Fatal(err)
			}
			n += some
		}
		return n
	}
	before := calls()
	err := s.Try(ctx, "staff", c, now())
	var limit *otp.LimitError
	if !errors.As(err, &limit) || limit.Limit != "recovery_tries" || limit.RetryAfter <= 0 || limit.RetryAfter > 10*time.Minute {
		t.Errorf("the eleventh: %v", err)
	}
	if n := calls() - before; n != 1 {
		t.Errorf("a refused try costs %d scripts", n)
	}
}
