package redisstore

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/redisstore/redistest"
)

const testSchemaKey = "websms:{websms:alive}:schema"

// TestSchema: the value of the schema key decides whether this build works there.
func TestSchema(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, stands, want string
		refused            bool
	}{
		{"nothing, or the version before", "", "2 1", false},
		{"this version", "2 1", "2 1", false},
		{"an older one that says so", "1 1", "2 1", false},
		{"a newer one that this understands", "9 2", "9 2", false},
		{"with what this does not know", "3 1 etc", "3 1 etc", false},
		{"a newer one that this would misread", "3 3", "3 3", true},
		{"far newer", "12 11 etc", "12 11 etc", true},
		{"damaged", "two", "two", true},
		{"damaged numbers", "2 3", "2 3", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Server(t)
			if c.stands != "" {
				redis.Do("SET", testSchemaKey, c.stands)
			}
			p := openProcess(t, at(redis.Addr()))
			<-p.node.known
			err := p.Reserve(ctx, reservation())
			if !c.refused {
				if err != nil {
					t.Fatal(err)
				}
			} else {
				wantUnavailable(t, err)
				for _, part := range []string{"newer build", "key_prefix", fmt.Sprintf("%q", c.stands)} {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("the error does not say %s: %v", part, err)
					}
				}
				p.awaitLogged(t, 1)
				p.wantLogged(t, logNewer)
				if keys := redis.Do("DBSIZE"); keys != int64(2) { // schema and alive
					t.Errorf("%v keys", keys)
				}
			}
			redistest.Eventually(t, "the schema is written", func() error {
				if got := redis.Do("GET", testSchemaKey); got != c.want {
					return fmt.Errorf("%v, want %q", got, c.want)
				}
				return nil
			})
		})
	}
}

// TestSchemaRaised: a node stops working when a newer build writes data that the node would
// misread. It works again when that data is gone. The same holds in a cluster.
func TestSchemaRaised(t *testing.T) {
	t.Parallel()
	raised := func(t *testing.T, do func(args ...string), addrs ...string) {
		p := openProcess(t, &Store{Address: addrs})
		p.wantWorks(t)
		do("SET", testSchemaKey, "3 3")
		redistest.Eventually(t, "it is refused", func() error {
			if err := p.Reserve(ctx, reservation()); !errors.As(err, new(*schemaError)) {
				return fmt.Errorf("it is not: %v", err)
			}
			return nil
		})
		do("SET", testSchemaKey, "3 2")
		p.wantWorks(t)
	}
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		redis := redistest.Server(t)
		raised(t, func(args ...string) { redis.Do(args...) }, redis.Addr())
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		cluster := redistest.Cluster(t)
		owner := cluster.Owner(testSchemaKey)
		raised(t, func(args ...string) { owner.Do(args...) }, cluster.Addrs()...)
	})
}

// TestSchemaRaisedInDebt: a node also stops working while Redis refuses to carry out what
// the node owes.
func TestSchemaRaisedInDebt(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t)
	s := openStore(t, redis.Addr())
	s.node.takeBack(unavailable(errLost), refusedBy("CLUSTERDOWN Hash slot not served"))
	redis.Do("SET", testSchemaKey, "3 3")
	redistest.Eventually(t, "it is refused", func() error {
		if err := s.Reserve(ctx, reservation()); !errors.As(err, new(*schemaError)) {
			return fmt.Errorf("it is not: %v", err)
		}
		return nil
	})
}

// TestSchemaFlushed: a node writes the schema again after Redis was emptied.
func TestSchemaFlushed(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t)
	p := openProcess(t, at(redis.Addr()))
	p.wantWorks(t)
	redis.Do("FLUSHALL")
	redistest.Eventually(t, "the schema is written again", func() error {
		if got := redis.Do("GET", testSchemaKey); got != "2 1" {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	if life := redis.Do("PTTL", testSchemaKey).(int64); life <= 0 {
		t.Errorf("it lives for %d", life)
	}
}

// TestUnknownFieldsStay plays a rolling upgrade. All calls keep the fields of a later
// version, which change nothing. Challenges of the version before, without the field z,
// are read.
func TestUnknownFieldsStay(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t)
	s := openProcess(t, at(redis.Addr()))
	s.wantWorks(t)
	r := reservation()
	r.Failures = otp.Failures{Number: otp.Digest{1}, Device: otp.Digest{2}, Lockout: otp.Lockout{Count: 10, For: time.Minute, Max: 100}}
	failures, challenge := s.failures(r.Scope, r.Failures.Number), s.challenge(r.Scope, r.ID)
	if err := s.Reserve(ctx, r); err != nil {
		t.Fatal(err)
	}
	redis.Do("HSET", challenge, "newer", "a", "z2", "b")
	for i := range otp.MaxDevices + 1 { // these fields are no devices
		redis.Do("HSET", failures, fmt.Sprint("newer", i), "x y z")
	}
	miss := func() {
		t.Helper()
		if _, err := s.Attempt(ctx, r.ID, &otp.Answer{Scope: r.Scope, Failures: r.Failures, Now: r.Now}); !errors.Is(err, otp.ErrWrongCode) {
			t.Fatal(err)
		}
	}
	miss()
	if n := redis.Do("HEXISTS", failures, "o"); n != int64(0) {
		t.Error("the first device has no run of its own")
	}
	redis.Do("HDEL", challenge, "z") // as in the version before
	later := r.Now.Add(r.Cooldown)
	again := &otp.Renewal{Scope: r.Scope, Now: later, TTL: time.Minute, Cooldown: r.Cooldown, Failures: r.Failures}
	if _, err := s.Resend(ctx, r.ID, again); err != nil {
		t.Fatal(err)
	}
	if err := s.Settle(ctx, r.ID, &otp.Settlement{Scope: r.Scope, Sending: 2, Status: otp.Accepted, Taken: later, Now: later}); err != nil {
		t.Fatal(err)
	}
	ahead := r.Now.Add(-720 * time.Hour) // as if a clock that was ahead had made it
	if rec, err := s.Get(ctx, r.Scope, r.ID, ahead); err != nil || rec.ExpiresAt.Sub(ahead) > otp.MaxLife {
		t.Fatal(rec, err)
	}
	r.Now = ahead
	miss()
	if _, err := s.Attempt(ctx, r.ID, &otp.Answer{Scope: r.Scope, Proof: r.Proof, Failures: r.Failures, Now: r.Now}); err != nil {
		t.Fatal(err)
	}
	for _, field := range []struct{ key, name, want string }{
		{challenge, "newer", "a"}, {challenge, "z2", "b"}, {failures, "newer0", "x y z"},
	} {
		if got := redis.Do("HGET", field.key, field.name); got != field.want {
			t.Errorf("%s is %v, want %q", field.name, got, field.want)
		}
	}
}
