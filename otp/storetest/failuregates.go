package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/caddy-websms/websms/otp"
)

// twoLockouts: gates share a scope, each with a lockout of its own. No wrong
// code at the one ends what those at the other brought about, and a guesser
// who goes to and fro is locked as often as the laxer of them locks.
func twoLockouts(t *testing.T, open Open) {
	lax := runOf("n", "", otp.Lockout{Count: 10, For: time.Hour, Max: 100})
	harsh := runOf("n", "", otp.Lockout{Count: 3, For: time.Hour, Max: 100})
	d := newDesk(t, open, 10)
	d.fail(harsh, 2)
	d.failAndLock(harsh, "lockout", time.Hour)
	last := d.now
	try := func(run otp.Failures) (compared bool) {
		t.Helper()
		id := d.ready()
		_, err := d.answer(id, wrong(0), run)
		d.mustMeet(id)
		compared = errors.Is(err, otp.ErrWrongCode)
		if !compared && !errors.As(err, new(*otp.LimitError)) {
			t.Fatalf("a wrong code: %v", err)
		}
		return compared
	}
	for range 5 {
		d.now = d.now.Add(time.Minute)
		try(lax)
		d.locked(harsh, "lockout", last.Add(time.Hour).Sub(d.now))
	}
	gates := []otp.Failures{lax, harsh}
	for round := range 6 {
		d.now = d.now.Add(time.Hour)
		compared := 0
		for try(gates[compared%2]) || try(gates[(compared+1)%2]) {
			if compared++; compared > 10 {
				t.Fatalf("round %d: %d wrong codes compared, and there is a gate that takes more", round, compared)
			}
		}
	}
}

// twoMaxima: each gate judges the run by its own limit, wherever the codes
// were entered.
func twoMaxima(t *testing.T, open Open) {
	d := newDesk(t, open, 100)
	lax, strict := runOf("n", "", otp.Lockout{Max: 100}), runOf("n", "", otp.Lockout{Max: 10})
	d.fail(lax, 10)
	d.locked(strict, "max_failures", 0)
	d.open(lax)
}

// shortBesideLong: who enters every fifth wrong code at the gate whose lock
// is over in a second is locked out all the same of the one that locks for a day.
func shortBesideLong(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	long := runOf("n", "", otp.Lockout{Count: 5, For: 24 * time.Hour, Max: 100})
	short := runOf("n", "", otp.Lockout{Count: 5, For: time.Second, Max: 100})
	d.fail(long, 4)
	d.failAndLock(short, "lockout", time.Second)
	d.locked(long, "lockout", 24*time.Hour)
	d.now = d.now.Add(time.Second)
	d.open(short)
	d.fail(short, 1)
	d.locked(long, "lockout", 24*time.Hour-time.Second)
}
