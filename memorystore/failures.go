package memorystore

import (
	"math"
	"time"

	"github.com/caddy-websms/websms/otp"
)

// runs counts wrong codes in a row: for each number those of strangers, and
// apart from them those of every device that has verified it. The store's
// mutex guards it.
type failureTable struct {
	table[numberFailures]
	notes *notebook
}

// failures are those that count for one number.
type numberFailures struct {
	strangers failures
	devices   map[tableKey]*failures
}

// streak is so many wrong codes in a row, and the lock that they led to.
//
// Gates of one scope may have lockouts that differ, and a reload may change
// one. So a lock that one of them has brought about stands by itself until its
// time is over; and each gate judges the run by its own lockout besides,
// wherever the codes were entered.
type failures struct {
	moments []int64 // when each came, in nanoseconds since 1970; the latest maxMoments of them
	until   int64   // when the latest lock ends, likewise; or forever
	count   int32
	noted   bool // of the strangers': the number's row is to be written
}

const (
	forever    = math.MaxInt64
	maxMoments = otp.MaxFailures // as many as any lockout counts
)

// last returns when the latest came.
func (s *failures) last() int64 {
	if len(s.moments) == 0 {
		return 0
	}
	return s.moments[len(s.moments)-1]
}

// by returns when the lock ends that the latest Count-th of them makes by l.
func (s *failures) by(l otp.Lockout) int64 {
	if l.Count <= 0 || int(s.count) < l.Count {
		return 0
	}
	i := len(s.moments) - 1 - int(s.count)%l.Count
	if i < 0 {
		return 0
	}
	return time.Unix(0, s.moments[i]).Add(l.For).UnixNano()
}

// maxNumbers bounds how many numbers have wrong codes counted: more than the
// default budget can bring about in a year, which is how long they count.
const maxNumbers = 1 << 23

func newFailureTable() failureTable {
	return failureTable{table: table[numberFailures]{max: maxNumbers}}
}

// of returns the streak of a run, or nil if it has none.
func (t *failureTable) of(run *otp.Run) *failures {
	known := t.get(run.Number)
	switch {
	case known == nil:
		return nil
	case run.Device == otp.Digest{}:
		return &known.strangers
	}
	return known.devices[known.place(run.Device)]
}

// maxDevices bounds the devices of one number that have a run of their own.
// The others share one.
const maxDevices = otp.MaxDevices

// others is under what they share it.
var others = tableKey{}

// place returns under what a device's wrong codes are counted.
func (f *numberFailures) place(device otp.Digest) tableKey {
	key := keyOf(device)
	if f.devices[key] == nil && len(f.devices) >= maxDevices {
		return others
	}
	return key
}

// settle has what a clock that was ahead has counted for a number count as now.
func (t *failureTable) settle(key tableKey, known *numberFailures, now time.Time) {
	moved := known.strangers.settle(now)
	for _, s := range known.devices {
		moved = s.settle(now) || moved
	}
	if moved {
		t.notes.add(noteFailures, key, 0)
	}
}

// settle moves what is in the future to now, and reports whether anything was.
// The lock that one of them has made ends as much later than now as it would
// have after that one; a lock of before they came stands as it is.
func (s *failures) settle(now time.Time) (moved bool) {
	at := now.UnixNano()
	maker := int64(0)
	for _, m := range s.moments {
		if m-at > int64(otp.Disorder) {
			moved = true
			if m <= s.until {
				maker = max(maker, m)
			}
		}
	}
	if !moved {
		return false
	}
	for i, m := range s.moments {
		s.moments[i] = min(m, at)
	}
	if maker != 0 && s.until != forever {
		s.until -= maker - at
	}
	return true
}

// locked returns the refusal of a run that is locked, or nil.
func (t *failureTable) locked(run *otp.Run, now time.Time) *otp.LimitError {
	if known := t.get(run.Number); known != nil {
		t.settle(keyOf(run.Number), known, now)
	}
	s := t.of(run)
	if s == nil {
		return nil
	}
	if l := run.Lockout; s.until == forever || l.Max > 0 && int(s.count) >= l.Max {
		return &otp.LimitError{Limit: "max_failures"}
	}
	if wait := time.Unix(0, max(s.until, s.by(run.Lockout))).Sub(now); wait > 0 {
		return &otp.LimitError{Limit: "lockout", RetryAfter: wait}
	}
	return nil
}

// admit sees that there is room to count a wrong code of the run. It is asked
// before the code is compared: else whoever finds no room guesses for free.
func (t *failureTable) admit(run *otp.Run, now time.Time) error {
	if run.Number == (otp.Digest{}) || t.get(run.Number) != nil {
		return nil
	}
	t.sweep(2, func(key tableKey, f *numberFailures) bool {
		t.settle(key, f, now)
		return f.idle(now)
	})
	if !t.room(1) {
		return &otp.UnavailableError{Reason: "the memory store counts the wrong codes of as many numbers as it can", RetryAfter: time.Minute}
	}
	return nil
}

// fail counts one more wrong code, which admit has found room for and locked
// has let through, and locks the run if that is one too many.
func (t *failureTable) fail(run *otp.Run, now time.Time) {
	if run.Number == (otp.Digest{}) {
		return
	}
	known := t.get(run.Number)
	if known == nil {
		known = t.add(run.Number)
	}
	s := &known.strangers
	if run.Device != (otp.Digest{}) {
		key := known.place(run.Device)
		if s = known.devices[key]; s == nil {
			if known.devices == nil {
				known.devices = make(map[tableKey]*failures)
			}
			s = new(failures)
			known.devices[key] = s
		}
	}
	s.count++
	if s.moments = append(s.moments, now.UnixNano()); len(s.moments) > maxMoments {
		s.moments = s.moments[1:]
	}
	if l := run.Lockout; l.Max > 0 && int(s.count) >= l.Max {
		s.until = forever
	} else {
		s.until = max(s.until, s.by(l))
	}
	if !known.strangers.noted { // once, however many there are until it is written
		known.strangers.noted = true
		t.notes.add(noteFailures, keyOf(run.Number), 0)
	}
}

// succeed ends a run, and no other: not the one that several devices share.
func (t *failureTable) succeed(run *otp.Run) {
	known := t.get(run.Number)
	if known == nil || t.of(run) == nil {
		return
	}
	if run.Device == (otp.Digest{}) {
		known.strangers = failures{}
	} else {
		delete(known.devices, keyOf(run.Device))
	}
	if known.strangers.count == 0 && len(known.devices) == 0 {
		t.remove(keyOf(run.Number))
	} else {
		t.notes.add(noteFailures, keyOf(run.Number), 0)
	}
}

// unlock forgets every run of a number, and reports whether there was one.
func (t *failureTable) unlock(number otp.Digest) bool {
	known := t.get(number) != nil
	t.remove(keyOf(number))
	return known
}

// idle reports whether nothing was wrong for so long that it counts no more.
// What only an operator unlocks is never idle.
func (f *numberFailures) idle(now time.Time) bool {
	if !f.strangers.idle(now) {
		return false
	}
	for _, s := range f.devices {
		if !s.idle(now) {
			return false
		}
	}
	return true
}

func (s *failures) idle(now time.Time) bool {
	return s.until != forever && now.Sub(time.Unix(0, s.last())) >= otp.RunLife
}
