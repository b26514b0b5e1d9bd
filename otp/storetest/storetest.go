// Package storetest is the test suite that every otp.Store must pass. A store that
// passes can replace another store.
//
// The suite uses only the methods of otp.Store. The time is an argument of the calls, in
// whole microseconds. The suite moves it without sleeping, so a store must use no other
// clock for its answers. Where otp.Store allows several answers, the suite accepts each
// of them. For example, a store may keep a challenge for a while after it has expired,
// and it may choose between two limits with the same wait.
package storetest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

// Open returns an empty store with room for capacity live challenges. It closes the
// store with t.Cleanup.
type Open func(t *testing.T, capacity int) otp.Store

// Run runs the whole suite. It calls open once for each test. With WEBSMS_TEST_FULL=1,
// crowds, floods and random sequences are several times as large. The flag -rapid.checks
// sets how many random sequences are played.
func Run(t *testing.T, open func(t *testing.T, capacity int) otp.Store) {
	run(t, open)
	for _, test := range append(roomTests, crowdedRoomTests...) {
		t.Run("room/"+test.name, func(t *testing.T) { test.run(t, open) })
	}
	t.Run("random/model", func(t *testing.T) { randomSequences(t, open, []int{1, 2, 3, 4}, math.MaxInt) })
}

// RunUnbounded is Run for a store with room for any number of challenges.
func RunUnbounded(t *testing.T, open func(t *testing.T) otp.Store) {
	one := func(t *testing.T, _ int) otp.Store { return open(t) }
	run(t, one)
	t.Run("random/model", func(t *testing.T) { randomSequences(t, one, []int{math.MaxInt}, fewSequences) })
}

func run(t *testing.T, open Open) {
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"challenge", challengeTests},
		{"reuse", reuseTests},
		{"second try", secondTests},
		{"limits", limitTests},
		{"used", usedTests},
		{"of a number", ofTests},
		{"lockout", lockoutTests},
		{"failures", failureTests},
		{"resend", resendTests},
		{"settle", settleTests},
		{"report", reportTests},
		{"watch", watchTests},
		{"seen", seenTests},
		{"clock", clockTests},
		{"work", workTests},
		{"tries", tryTests},
		{"crowd", crowdTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, test := range group.tests {
				t.Run(test.name, func(t *testing.T) { test.run(t, open) })
			}
		})
	}
	t.Run("random/marks under a clock that leaps", func(t *testing.T) { leaping(t, open) })
}

type test struct {
	name string
	run  func(t *testing.T, open Open)
}

const (
	length   = 6
	attempts = 5
	ttl      = 5 * time.Minute
	cooldown = 30 * time.Second
	tick     = time.Microsecond // the finest step of a clock
	scope    = ""               // the default scope
)

// epoch is when the clock of the suite starts. It is no whole second or millisecond, so
// that the suite detects a store that rounds.
var epoch = time.Date(2030, time.January, 2, 3, 4, 5, 678901000, time.UTC)

// reporter reports failed tests. *testing.T and *rapid.T implement it.
type reporter interface {
	Helper()
	Fatalf(format string, args ...any)
}

// desk is a store under test, with the time that its calls get.
type desk struct {
	reporter
	store otp.Store
	now   time.Time
}

func newDesk(t *testing.T, open Open, capacity int) *desk {
	return &desk{reporter: t, store: open(t, capacity), now: epoch}
}

var ctx = context.Background()

// usual returns a reservation of a fresh challenge at the desk's time.
func (d *desk) usual(counters ...otp.Counter) *otp.Reservation {
	id := session.NewID()
	return &otp.Reservation{
		ID: id, Sealed: []byte("sealed " + id.String()), Proof: right(id), Length: length,
		Attempts: attempts, Now: d.now, TTL: ttl, Cooldown: cooldown, Counters: counters,
	}
}

// renewal returns the usual renewal at the desk's time.
func (d *desk) renewal(counters ...otp.Counter) *otp.Renewal {
	return &otp.Renewal{Now: d.now, TTL: ttl, Cooldown: cooldown, Counters: counters}
}

// right returns the proof of the right code of the challenge id.
func right(id otp.ID) otp.Digest { return sha256.Sum256([]byte("right " + id.String())) }

// wrong returns the i-th proof of a wrong code, for any challenge.
func wrong(i int) otp.Digest {
	return sha256.Sum256(binary.BigEndian.AppendUint64([]byte("wrong"), uint64(i)))
}

// counter returns a counter that no other test of the same store uses.
func counter(limit, key string, rates ...otp.Rate) otp.Counter {
	return otp.Counter{Limit: limit, Key: sha256.Sum256([]byte(key)), Rates: rates}
}

// reserve makes the usual challenge, which must succeed.
func (d *desk) reserve(counters ...otp.Counter) otp.ID {
	d.Helper()
	r := d.usual(counters...)
	d.mustReserve(r)
	return r.ID
}

func (d *desk) mustReserve(r *otp.Reservation) {
	d.Helper()
	if err := d.store.Reserve(ctx, r); err != nil {
		d.Fatalf("Reserve: %v", err)
	}
}

func (d *desk) mustResend(id otp.ID, r *otp.Renewal) otp.Record {
	d.Helper()
	rec, err := d.store.Resend(ctx, id, r)
	if err != nil {
		d.Fatalf("Resend: %v", err)
	}
	return rec
}

func (d *desk) mustGet(id otp.ID) otp.Record {
	d.Helper()
	rec, err := d.store.Get(ctx, scope, id, d.now)
	if err != nil {
		d.Fatalf("Get: %v", err)
	}
	return rec
}

func (d *desk) mustSettle(id otp.ID, s *otp.Settlement) {
	d.Helper()
	if err := d.store.Settle(ctx, id, s); err != nil {
		d.Fatalf("Settle: %v", err)
	}
}

// mustMeet answers the challenge id with the right code.
func (d *desk) mustMeet(id otp.ID) {
	d.Helper()
	if _, err := d.store.Attempt(ctx, id, &otp.Answer{Proof: right(id), Now: d.now, Exact: d.now}); err != nil {
		d.Fatalf("Attempt with the right proof: %v", err)
	}
}

// mustMiss answers the challenge id with a wrong code.
func (d *desk) mustMiss(id otp.ID) otp.Record {
	d.Helper()
	rec, err := d.store.Attempt(ctx, id, &otp.Answer{Proof: wrong(0), Now: d.now})
	if !errors.Is(err, otp.ErrWrongCode) {
		d.Fatalf("Attempt with a wrong proof: %v, want %v", err, otp.ErrWrongCode)
	}
	return rec
}

// kill uses up the attempts at the challenge id.
func (d *desk) kill(id otp.ID) {
	d.Helper()
	for range attempts {
		d.mustMiss(id)
	}
}

// refused checks that err is a *LimitError of limit with exactly that wait. If limit is
// empty, it may be any limit.
func (d *desk) refused(err error, limit string, wait time.Duration) {
	d.Helper()
	var refusal *otp.LimitError
	if !errors.As(err, &refusal) {
		d.Fatalf("got %v, want a *LimitError", err)
	}
	if limit != "" && refusal.Limit != limit {
		d.Fatalf("limit %q reached, want %q", refusal.Limit, limit)
	}
	if refusal.RetryAfter != wait {
		d.Fatalf("limit %q: retry after %v, want %v", refusal.Limit, refusal.RetryAfter, wait)
	}
}

// full checks that err is an *UnavailableError.
func (d *desk) full(err error) {
	d.Helper()
	var refusal *otp.UnavailableError
	if !errors.As(err, &refusal) {
		d.Fatalf("got %v, want an *UnavailableError", err)
	}
	if refusal.RetryAfter <= 0 || refusal.Error() == "" {
		d.Fatalf("%q, retry after %v: want a reason and a wait", refusal.Error(), refusal.RetryAfter)
	}
}

// every calls each method for the challenge id, with the right code, and checks that the
// error is one of want.
func (d *desk) every(id otp.ID, want ...error) {
	d.Helper()
	_, got := d.store.Get(ctx, scope, id, d.now)
	_, attempt := d.store.Attempt(ctx, id, &otp.Answer{Proof: right(id), Now: d.now})
	_, resend := d.store.Resend(ctx, id, d.renewal())
	for _, call := range []struct {
		name string
		err  error
	}{{"Get", got}, {"Attempt", attempt}, {"Resend", resend}} {
		if !oneOf(call.err, want) {
			d.Fatalf("%s: %v, want %v", call.name, call.err, want)
		}
	}
}

func oneOf(err error, list []error) bool {
	for _, want := range list {
		if errors.Is(err, want) {
			return true
		}
	}
	return false
}

// same returns how two records differ, or "" if they are equal.
func same(got, want otp.Record) string {
	switch {
	case got.ID != want.ID:
		return fmt.Sprintf("id %v, want %v", got.ID, want.ID)
	case got.Status != want.Status:
		return fmt.Sprintf("status %v, want %v", got.Status, want.Status)
	case got.CodeLength != want.CodeLength:
		return fmt.Sprintf("code length %d, want %d", got.CodeLength, want.CodeLength)
	case got.AttemptsLeft != want.AttemptsLeft:
		return fmt.Sprintf("%d attempts left, want %d", got.AttemptsLeft, want.AttemptsLeft)
	case !got.ExpiresAt.Equal(want.ExpiresAt):
		return fmt.Sprintf("expires at %v, want %v", got.ExpiresAt, want.ExpiresAt)
	case !got.ResendAt.Equal(want.ResendAt):
		return fmt.Sprintf("resend at %v, want %v", got.ResendAt, want.ResendAt)
	case got.Settled != want.Settled:
		return fmt.Sprintf("settled %t, want %t", got.Settled, want.Settled)
	case got.Sending != want.Sending:
		return fmt.Sprintf("sending %d, want %d", got.Sending, want.Sending)
	case string(got.Sealed) != string(want.Sealed):
		return fmt.Sprintf("sealed %q, want %q", got.Sealed, want.Sealed)
	}
	return ""
}
