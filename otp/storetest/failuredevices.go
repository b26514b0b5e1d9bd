package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/caddy-websms/websms/otp"
)

// deviceFailures: strangers do not lock out the owner's device. A device that is lost
// or lent locks out no other device.
func deviceFailures(t *testing.T, open Open) {
	strangers, device, other := failuresOf("n", "", strict), failuresOf("n", "d", strict), failuresOf("n", "e", strict)
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
			for _, f := range c.others {
				d.open(f)
				d.fail(f, 2) // the first failures of these
				d.succeed(f)
				d.open(f)
				d.fail(f, 2)
			}
			d.locked(c.guesser, limit, wait)
		}
	}
}

// manyDevices: an attacker with many devices of one number gets no more guesses than
// otp.MaxDevices devices and strangers have. A right code of the owner gives back none.
func manyDevices(t *testing.T, open Open) {
	d := newDesk(t, open, 1000)
	lockout := otp.Lockout{Max: 3}
	guesses := 0
	for i := range 50 {
		f := failuresOf("n", fmt.Sprint("d", i), lockout)
		for range 3 {
			id := d.ready()
			_, err := d.answer(id, wrong(0), f)
			if errors.Is(err, otp.ErrWrongCode) {
				guesses++
			}
		}
		d.succeed(failuresOf("n", "", lockout))
	}
	if want := (otp.MaxDevices + 1) * 3; guesses != want {
		t.Errorf("%d guesses by 50 devices of one number, want %d", guesses, want)
	}
}

// places lets otp.MaxDevices devices of a number fail once, so that all further devices
// share their failures.
func (d *desk) places(number string, lockout otp.Lockout) {
	d.Helper()
	for i := range otp.MaxDevices {
		d.fail(failuresOf(number, fmt.Sprint("d", i), lockout), 1)
	}
}

// rightOfMany: right codes lock nobody out, for any number of codes and devices and in
// any order.
func rightOfMany(t *testing.T, open Open) {
	lockout := otp.Lockout{Count: 3, For: time.Hour, Max: 10}
	for taken := range 2 {
		d := newDesk(t, open, 10)
		if taken == 1 {
			d.places("n", lockout)
		}
		for i := range 40 {
			for _, device := range []int{i, 0, otp.MaxDevices, otp.MaxDevices + 1} {
				d.succeed(failuresOf("n", fmt.Sprint("d", taken*otp.MaxDevices+device), lockout))
			}
			d.succeed(failuresOf("n", "", lockout))
		}
		for i := range 2 * otp.MaxDevices {
			d.open(failuresOf("n", fmt.Sprint("d", i), lockout))
		}
		if taken == 0 {
			d.unlock(failuresOf("n", "", lockout), false) // right codes leave nothing
		}
	}
}

// sharedFailures: the devices beyond the limit share their failures. The right code of
// one of them takes no failure back and adds none.
func sharedFailures(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	device := func(i int) otp.Failures { return failuresOf("n", fmt.Sprint("d", i), strict) }
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
		d.fail(device(i), 1) // these devices have failures of their own
		d.succeed(device(i))
	}
}

// rightWithoutPlace: a device beyond the limit gives a right code when one more failure
// would lock. It succeeds, and the next failure locks.
func rightWithoutPlace(t *testing.T, open Open) {
	for _, lockout := range []otp.Lockout{strict, {Max: 3}} {
		d := newDesk(t, open, 10)
		limit, wait := "lockout", lockout.For
		if lockout.Max == 3 {
			limit, wait = "max_failures", 0
		}
		d.places("n", lockout)
		beyond := failuresOf("n", "beyond", lockout)
		d.fail(beyond, 2)
		d.succeed(beyond)
		d.open(beyond)
		d.failAndLock(beyond, limit, wait)
		d.locked(beyond, limit, wait)
	}
}
