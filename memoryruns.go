package websms

import (
	"time"

	"github.com/caddy-websms/websms/otp"
)

// runs counts wrong codes in a row: for each number those of strangers, and
// apart from them those of every device that has verified it. The store's
// mutex guards it.
type runs struct {
	table[failures]
}

// failures are those that count for one number.
type failures struct {
	strangers streak
	devices   map[tableKey]*streak
}

// streak is so many wrong codes in a row.
type streak struct {
	last  int64 // when the latest came, in nanoseconds since 1970
	count int32
}

func newRuns() runs { return runs{table[failures]{max: maxCounters}} }

// of returns the streak of a run, or nil if it has none.
func (r *runs) of(run *otp.Run) *streak {
	known := r.get(run.Number)
	switch {
	case known == nil:
		return nil
	case run.Device == otp.Digest{}:
		return &known.strangers
	}
	return known.devices[keyOf(run.Device)]
}

// locked returns the refusal of a run that is locked, or nil.
func (r *runs) locked(run *otp.Run, now time.Time) *otp.LimitError {
	s := r.of(run)
	if s == nil {
		return nil
	}
	return run.Lockout.Locked(int(s.count), time.Unix(0, s.last), now)
}

// fail counts one more wrong code.
func (r *runs) fail(run *otp.Run, now time.Time) error {
	if run.Number == (otp.Digest{}) {
		return nil
	}
	known := r.get(run.Number)
	if known == nil {
		r.sweep(2, func(f *failures) bool { return f.idle(now) })
		if !r.room(1) {
			return &otp.UnavailableError{Reason: "the memory store counts the wrong codes of as many numbers as it can", RetryAfter: time.Minute}
		}
		known = r.add(run.Number)
	}
	s := &known.strangers
	if run.Device != (otp.Digest{}) {
		key := keyOf(run.Device)
		if s = known.devices[key]; s == nil {
			if known.devices == nil {
				known.devices = make(map[tableKey]*streak)
			}
			s = new(streak)
			known.devices[key] = s
		}
	}
	s.count++
	s.last = now.UnixNano()
	return nil
}

// succeed ends a run, and no other.
func (r *runs) succeed(run *otp.Run) {
	known := r.get(run.Number)
	if known == nil {
		return
	}
	if run.Device == (otp.Digest{}) {
		known.strangers = streak{}
	} else {
		delete(known.devices, keyOf(run.Device))
	}
	if known.strangers.count == 0 && len(known.devices) == 0 {
		r.remove(keyOf(run.Number))
	}
}

// unlock forgets every run of a number, and reports whether there was one.
func (r *runs) unlock(number otp.Digest) bool {
	known := r.get(number) != nil
	r.remove(keyOf(number))
	return known
}

// idle reports whether nothing was wrong for so long that it counts no more.
func (f *failures) idle(now time.Time) bool {
	latest := f.strangers.last
	for _, s := range f.devices {
		latest = max(latest, s.last)
	}
	return now.Sub(time.Unix(0, latest)) >= otp.RunLife
}
