package memorystore

import (
	"math"
	"time"

	"github.com/caddy-websms/websms/otp"
)

// failureTable has the failures of all numbers. The store's mutex guards it.
type failureTable struct {
	table[numberFailures]
	notes *notebook
}

// numberFailures are the failures of one number. Those of each device that has verified
// the number count apart from those of strangers.
type numberFailures struct {
	strangers failures
	devices   map[tableKey]*failures
}

// failures are wrong codes in a row, and the lock that they led to.
//
// Gates of one scope may have different lockouts, and a reload may change one. So
// a lock lasts until its time is over, whichever gate made it. Each gate also applies
// its own lockout to all failures, including those at other gates.
type failures struct {
	moments []int64 // of the latest maxMoments failures, in nanoseconds since 1970
	until   int64   // the end of the latest lock, likewise; or forever
	count   int32
	noted   bool // only used in strangers: the number's row is to be written
}

const (
	forever    = math.MaxInt64
	maxMoments = otp.MaxFailures // no lockout counts more
)

// last returns the moment of the latest failure.
func (f *failures) last() int64 {
	if len(f.moments) == 0 {
		return 0
	}
	return f.moments[len(f.moments)-1]
}

// lockedUntil returns the end of the lock by a gate's lockout. Each l.Count-th
// failure makes a lock, and the latest of them counts.
func (f *failures) lockedUntil(l otp.Lockout) int64 {
	if l.Count <= 0 || int(f.count) < l.Count {
		return 0
	}
	i := len(f.moments) - 1 - int(f.count)%l.Count
	if i < 0 {
		return 0
	}
	return time.Unix(0, f.moments[i]).Add(l.For).UnixNano()
}

// maxNumbers bounds how many numbers have failures. The default budget allows
// fewer in a year, and failures count for a year.
const maxNumbers = 1 << 23

func newFailureTable() failureTable {
	return failureTable{table: table[numberFailures]{max: maxNumbers}}
}

// lookup returns the failures that an attempt counts to, or nil if there are none.
func (t *failureTable) lookup(of *otp.Failures) *failures {
	known := t.get(of.Number)
	switch {
	case known == nil:
		return nil
	case of.Device == otp.Digest{}:
		return &known.strangers
	}
	return known.devices[known.place(of.Device)]
}

// maxDevices bounds the devices of one number that have failures of their own.
// All other devices share the failures under others.
const maxDevices = otp.MaxDevices

var others = tableKey{}

// place returns the key in devices under which a device's failures are counted.
func (n *numberFailures) place(device otp.Digest) tableKey {
	key := keyOf(device)
	if n.devices[key] == nil && len(n.devices) >= maxDevices {
		return others
	}
	return key
}

// settle moves a number's failures that are in the future to now, because the
// clock was ahead when they were counted. It notes the change.
func (t *failureTable) settle(key tableKey, known *numberFailures, now time.Time) {
	moved := known.strangers.settle(now)
	for _, f := range known.devices {
		moved = f.settle(now) || moved
	}
	if moved {
		t.notes.add(noteFailures, key, 0)
	}
}

// settle moves failures that are in the future to now, and reports whether there
// were any. If one of them made the lock, the lock keeps its length from now on. A
// lock from before them stays as it is.
func (f *failures) settle(now time.Time) (moved bool) {
	at := now.UnixNano()
	maker := int64(0)
	for _, moment := range f.moments {
		if moment-at > int64(otp.Disorder) {
			moved = true
			if moment <= f.until {
				maker = max(maker, moment)
			}
		}
	}
	if !moved {
		return false
	}
	for i, moment := range f.moments {
		f.moments[i] = min(moment, at)
	}
	if maker != 0 && f.until != forever {
		f.until -= maker - at
	}
	return true
}

// locked returns the refusal if a lock holds for the failures, and nil otherwise.
func (t *failureTable) locked(of *otp.Failures, now time.Time) *otp.LimitError {
	if known := t.get(of.Number); known != nil {
		t.settle(keyOf(of.Number), known, now)
	}
	f := t.lookup(of)
	if f == nil {
		return nil
	}
	if l := of.Lockout; f.until == forever || l.Max > 0 && int(f.count) >= l.Max {
		return &otp.LimitError{Limit: "max_failures"}
	}
	if wait := time.Unix(0, max(f.until, f.lockedUntil(of.Lockout))).Sub(now); wait > 0 {
		return &otp.LimitError{Limit: "lockout", RetryAfter: wait}
	}
	return nil
}

// admit returns an *otp.UnavailableError if there is no room to count a failure. Call
// it before the code is compared, because a guess that is not counted would be free.
func (t *failureTable) admit(of *otp.Failures, now time.Time) error {
	if of.Number == (otp.Digest{}) || t.get(of.Number) != nil {
		return nil
	}
	t.sweep(2, func(key tableKey, known *numberFailures) bool {
		t.settle(key, known, now)
		return known.idle(now)
	})
	if !t.room(1) {
		return &otp.UnavailableError{Reason: "the memory store has no room to count the wrong codes of another number", RetryAfter: time.Minute}
	}
	return nil
}

// fail counts one more failure, and makes a lock if that is one too many. The caller
// has called admit and locked.
func (t *failureTable) fail(of *otp.Failures, now time.Time) {
	if of.Number == (otp.Digest{}) {
		return
	}
	known := t.get(of.Number)
	if known == nil {
		known = t.add(of.Number)
	}
	f := &known.strangers
	if of.Device != (otp.Digest{}) {
		key := known.place(of.Device)
		if f = known.devices[key]; f == nil {
			if known.devices == nil {
				known.devices = make(map[tableKey]*failures)
			}
			f = new(failures)
			known.devices[key] = f
		}
	}
	f.count++
	if f.moments = append(f.moments, now.UnixNano()); len(f.moments) > maxMoments {
		f.moments = f.moments[1:]
	}
	if l := of.Lockout; l.Max > 0 && int(f.count) >= l.Max {
		f.until = forever
	} else {
		f.until = max(f.until, f.lockedUntil(l))
	}
	if !known.strangers.noted { // one note is enough until the row is written
		known.strangers.noted = true
		t.notes.add(noteFailures, keyOf(of.Number), 0)
	}
}

// succeed forgets the failures, because the right code was entered. It does not forget
// those that several devices share.
func (t *failureTable) succeed(of *otp.Failures) {
	known := t.get(of.Number)
	if known == nil || t.lookup(of) == nil {
		return
	}
	if of.Device == (otp.Digest{}) {
		known.strangers = failures{}
	} else {
		delete(known.devices, keyOf(of.Device))
	}
	if known.strangers.count == 0 && len(known.devices) == 0 {
		t.remove(keyOf(of.Number))
	} else {
		t.notes.add(noteFailures, keyOf(of.Number), 0)
	}
}

// unlock forgets all failures of a number, and reports whether there were any.
func (t *failureTable) unlock(number otp.Digest) bool {
	known := t.get(number) != nil
	t.remove(keyOf(number))
	return known
}

// idle reports whether the latest failure is so long ago that none counts any
// more. A lock that only an operator can end is never idle.
func (n *numberFailures) idle(now time.Time) bool {
	if !n.strangers.idle(now) {
		return false
	}
	for _, f := range n.devices {
		if !f.idle(now) {
			return false
		}
	}
	return true
}

func (f *failures) idle(now time.Time) bool {
	return f.until != forever && now.Sub(time.Unix(0, f.last())) >= otp.FailuresLife
}
