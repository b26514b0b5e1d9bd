package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/caddy-websms/websms/otp"
)

var failureTests = []test{
	{"nobody's", nobodysFailures},
	{"numbers are apart", numbersApart},
	{"a right code ends its own", successEndsItsOwn},
	{"a device has its own", deviceFailures},
	{"unlock", unlock},
	{"one number, two gates", twoLockouts},
	{"one number, a short lockout beside a long one", shortBesideLong},
	{"one number, two limits for good", twoMaxima},
	{"many devices", manyDevices},
	{"right codes of many devices", rightOfMany},
	{"a right code ends no shared failures", sharedFailures},
	{"a right code where every place is taken", rightWithoutPlace},
	{"remembered for its life", failuresLife},
	{"a flood of others ends none", floodEndsNone},
	{"a crowd of guessers", crowdOfGuessers},
	{"a crowd, one of them right", crowdWithRight},
	{"a crowd of strangers, and the owner", crowdAndOwner},
}

func nobodysFailures(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	lockout := otp.Lockout{Count: 2, For: time.Hour, Max: 5}
	nobody := otp.Failures{Lockout: lockout}
	device := otp.Failures{Lockout: lockout, Device: failuresOf("", "d", lockout).Device}
	for _, f := range []otp.Failures{{}, nobody, device} {
		d.fail(f, 20)
		d.open(f)
		d.unlock(f, false)
		d.succeed(f)
	}
}

func numbersApart(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	a, b := failuresOf("a", "", strict), failuresOf("b", "", strict)
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

// successEndsItsOwn: four groups of failures are one failure away from a lock. A right
// code ends only its own group.
func successEndsItsOwn(t *testing.T, open Open) {
	all := []otp.Failures{
		failuresOf("n", "", strict), failuresOf("n", "d", strict), failuresOf("n", "e", strict), failuresOf("m", "d", strict),
	}
	for winner := range all {
		d := newDesk(t, open, 10)
		for _, f := range all {
			d.fail(f, 2)
		}
		d.succeed(all[winner])
		for i, f := range all {
			if i == winner {
				d.fail(f, 2)
			}
			d.failAndLock(f, "lockout", time.Minute)
		}
	}
}

func unlock(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	strangers, device, other := failuresOf("n", "", strict), failuresOf("n", "d", strict), failuresOf("n", "e", strict)
	bystander := failuresOf("m", "", strict)
	d.unlock(strangers, false)
	d.fail(bystander, 2)
	for range 2 {
		for _, f := range []otp.Failures{strangers, device} {
			d.fail(f, 2)
			d.failAndLock(f, "lockout", time.Minute)
		}
		d.fail(other, 2)
		d.unlock(strangers, true)
		d.unlock(strangers, false)
		for _, f := range []otp.Failures{strangers, device, other} {
			d.open(f)
			d.fail(f, 2) // nothing is left from before
		}
		d.unlock(device, true) // Unlock looks at the number only
	}
	d.fail(device, 1)
	d.unlock(strangers, true) // there are only failures of a device
	for _, f := range []otp.Failures{strangers, device} {
		d.fail(f, 1)
		d.succeed(f)
		d.unlock(f, false)
	}
	d.failAndLock(bystander, "lockout", time.Minute)
}

// failuresLife: a store keeps failures for otp.FailuresLife after the latest one. The
// suite does not look at them later.
func failuresLife(t *testing.T, open Open) {
	for _, device := range []string{"", "d"} {
		d := newDesk(t, open, 10)
		f := failuresOf("n", device, strict)
		for i := range 2 {
			d.fail(f, 1)
			d.now = d.now.Add(otp.FailuresLife - tick)
			d.failures(t, fmt.Sprint("others", i), 100) // a store may want room for these
		}
		d.failAndLock(f, "lockout", time.Minute)
	}
}
