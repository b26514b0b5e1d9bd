package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/caddy-websms/websms/otp"
)

// deviceRun: strangers do not lock an owner out, nor does a device that is
// lost or lent lock out any other.
func deviceRun(t *testing.T, open Open) {
	strangers, device, other := runOf("n", "", strict), runOf("n", "d", strict), runOf("n", "e", strict)
	for _, c := range []struct {
		guesser otp.Failures
		others  []otp.Failures
	}{
		{strangers, []otp.Failures{device, other}},
		{device, []otp.Failures{strangers, other}},
	} {
		for _, lockout := range []otp.Lockout{strict, {Max: 3}} {
			d := newDesk(t, open, 10)
			limit, wait := "lockout", lockout.For
			if lockout.Max == 3 {
				limit = "max_failures"
			}
			c.guesser.Lockout = lockout
			d.fail(c.guesser, 2)
			d.failAndLock(c.guesser, limit, wait)
			for _, run := range c.others {
				d.open(run)
				d.fail(run, 2) // these are the first that count here
				d.succeed(run)
				d.open(run)
				d.fail(run, 2)
			}
			d.locked(c.guesser, limit, wait)
		}
	}
}

// manyDevices: who has kept many devices of one number has not as many runs,
// and its owner's success ends none of theirs.
func manyDevices(t *testing.T, open Open) {
	d := newDesk(t, open, 1000)
	lockout := otp.Lockout{Max: 3}
	guesses := 0
	for i := range 50 {
		run := runOf("n", fmt.Sprint("d", i), lockout)
		for range 3 {
			id := d.ready()
			_, err := d.answer(id, wrong(0), run)
			if errors.Is(err, otp.ErrWrongCode) {
				guesses++
			}
		}
		d.succeed(runOf("n", "", lockout))
	}
	if want := (otp.MaxDevices + 1) * 3; guesses != want {
		t.Errorf("%d guesses by 50 devices of one number, want %d", guesses, want)
	}
}

// places has the first devices of a number take all runs that are to be had.
func (d *desk) places(number string, lockout otp.Lockout) {
	d.Helper()
	for i := range otp.MaxDevices {
		d.fail(runOf(number, fmt.Sprint("d", i), lockout), 1)
	}
}

// rightOfMany: right codes lock nobody out, however many there are, on however
// many devices, in whatever order.
func rightOfMany(t *testing.T, open Open) {
	lockout := otp.Lockout{Count: 3, For: time.Hour, Max: 10}
	for taken := range 2 {
		d := newDesk(t, open, 10)
		if taken == 1 {
			d.places("n", lockout)
		}
		for i := range 40 {
			for _, device := range []int{i, 0, otp.MaxDevices, otp.MaxDevices + 1} {
				d.succeed(runOf("n", fmt.Sprint("d", taken*otp.MaxDevices+device), lockout))
			}
			d.succeed(runOf("n", "", lockout))
		}
		for i := range 2 * otp.MaxDevices {
			d.open(runOf("n", fmt.Sprint("d", i), lockout))
		}
		if taken == 0 {
			d.unlock(runOf("n", "", lockout), false) // right codes leave nothing
		}
	}
}

// sharedRun: what the devices beyond the limit share counts the wrong codes of
// all, and the right code of one takes none of them back and adds none.
func sharedRun(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	device := func(i int) otp.Failures { return runOf("n", fmt.Sprint("d", i), strict) }
	d.places("n", strict)
	d.fail(device(10), 1)
	for i := range 5 {
		d.succeed(device(10 + i))
	}
	d.fail(device(11), 1)
	d.succeed(device(10))
	d.failAndLock(device(12), "lockout", time.Minute)
	d.locked(device(10), "lockout", time.Minute)
	for i := range otp.MaxDevices {
		d.fail(device(i), 1) // each has its own
		d.succeed(device(i))
	}
}

// rightWithoutPlace: one right code of a device beyond the limit, one failure
// before the shared run locks.
func rightWithoutPlace(t *testing.T, open Open) {
	for _, lockout := range []otp.Lockout{strict, {Max: 3}} {
		d := newDesk(t, open, 10)
		limit, wait := "lockout", lockout.For
		if lockout.Max == 3 {
			limit, wait = "max_failures", 0
		}
		d.places("n", lockout)
		beyond := runOf("n", "beyond", lockout)
		d.fail(beyond, 2)
		d.succeed(beyond)
		d.open(beyond)
		d.failAndLock(beyond, limit, wait)
		d.locked(beyond, limit, wait)
	}
}
