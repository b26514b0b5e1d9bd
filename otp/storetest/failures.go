package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/caddy-websms/websms/otp"
)

var runTests = []test{
	{"nobody's", nobodysRun},
	{"numbers are apart", numbersApart},
	{"a success ends its own", successEndsItsOwn},
	{"a device has its own", deviceRun},
	{"unlock", unlock},
	{"one number, two gates", twoLockouts},
	{"one number, a short lockout beside a long one", shortBesideLong},
	{"one number, two limits for good", twoMaxima},
	{"many devices", manyDevices},
	{"right codes of many devices", rightOfMany},
	{"a right code ends no shared run", sharedRun},
	{"a right code where every place is taken", rightWithoutPlace},
	{"remembered for its life", runLife},
	{"a flood of others ends none", floodEndsNone},
	{"a crowd of guessers", crowdOfGuessers},
	{"a crowd, one of them right", crowdWithRight},
	{"a crowd of strangers, and the owner", crowdAndOwner},
}

func nobodysRun(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	lockout := otp.Lockout{Count: 2, For: time.Hour, Max: 5}
	nobody := otp.Failures{Lockout: lockout}
	device := otp.Failures{Lockout: lockout, Device: runOf("", "d", lockout).Device}
	for _, run := range []otp.Failures{{}, nobody, device} {
		d.fail(run, 20)
		d.open(run)
		d.unlock(run, false)
		d.succeed(run)
	}
}

func numbersApart(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	a, b := runOf("a", "", strict), runOf("b", "", strict)
	d.fail(a, 2)
	d.fail(b, 2)
	d.failAndLock(a, "lockout", time.Minute)
	d.open(b)
	d.now = d.now.Add(time.Second)
	d.failAndLock(b, "lockout", time.Minute)
	d.locked(a, "lockout", 59*time.Second)
	d.now = d.now.Add(59 * time.Second)
	d.succeed(a)
	d.locked(b, "lockout", time.Second)
}

// successEndsItsOwn has four runs one failure from their locks.
func successEndsItsOwn(t *testing.T, open Open) {
	runs := []otp.Failures{
		runOf("n", "", strict), runOf("n", "d", strict), runOf("n", "e", strict), runOf("m", "d", strict),
	}
	for winner := range runs {
		d := newDesk(t, open, 10)
		for _, run := range runs {
			d.fail(run, 2)
		}
		d.succeed(runs[winner])
		for i, run := range runs {
			if i == winner {
				d.fail(run, 2)
			}
			d.failAndLock(run, "lockout", time.Minute)
		}
	}
}

func unlock(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	strangers, device, other := runOf("n", "", strict), runOf("n", "d", strict), runOf("n", "e", strict)
	bystander := runOf("m", "", strict)
	d.unlock(strangers, false)
	d.fail(bystander, 2)
	for range 2 {
		for _, run := range []otp.Failures{strangers, device} {
			d.fail(run, 2)
			d.failAndLock(run, "lockout", time.Minute)
		}
		d.fail(other, 2)
		d.unlock(strangers, true)
		d.unlock(strangers, false)
		for _, run := range []otp.Failures{strangers, device, other} {
			d.open(run)
			d.fail(run, 2) // none is left of before
		}
		d.unlock(device, true) // it is the number's, whose the run is
	}
	d.fail(device, 1)
	d.unlock(strangers, true) // of a device alone
	for _, run := range []otp.Failures{strangers, device} {
		d.fail(run, 1)
		d.succeed(run)
		d.unlock(run, false)
	}
	d.failAndLock(bystander, "lockout", time.Minute)
}

// runLife: a run is known until its life is over, and it begins anew with
// each failure. What then becomes of it is the store's.
func runLife(t *testing.T, open Open) {
	for _, device := range []string{"", "d"} {
		d := newDesk(t, open, 10)
		run := runOf("n", device, strict)
		for i := range 2 {
			d.fail(run, 1)
			d.now = d.now.Add(otp.FailuresLife - tick)
			d.failures(t, fmt.Sprint("others", i), 100) // for which a store may want room
		}
		d.failAndLock(run, "lockout", time.Minute)
	}
}
