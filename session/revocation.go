package session

import (
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Revocations remembers, in memory, which sessions were ended before their
// time: one by one, by their ids, and all at once those of a subject that were
// issued up to some time, its not-before time.
//
// Looking up takes no lock and allocates nothing. It is safe for concurrent
// use, and its zero value is ready.
type Revocations struct {
	ids   sync.Map // ID → time.Time, when the session ends by itself
	count atomic.Int64

	mu       sync.Mutex // of those who change subjects
	subjects atomic.Pointer[subjects]
}

// subjects are the not-before times, by the names of each kind. What a reader
// holds never changes: who adds to it makes another.
type subjects [kinds]map[string][]cutoff

type cutoff struct {
	realm     string
	notBefore int64 // nanoseconds since 1970
}

// Add ends the session id; until is when it would have ended by itself.
func (r *Revocations) Add(id ID, until time.Time) {
	if _, known := r.ids.Swap(id, until); !known {
		r.count.Add(1)
	}
}

// Revoke ends the sessions of subjects that were issued at or before the time
// beside each. Of several times for one subject the latest is kept. A call
// costs the more the more subjects are known, so it takes many at a time.
func (r *Revocations) Revoke(notBefore map[Subject]time.Time) {
	if len(notBefore) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	next := new(subjects)
	if former := r.subjects.Load(); former != nil {
		for kind := range former {
			next[kind] = maps.Clone(former[kind])
		}
	}
	next.add(notBefore)
	r.subjects.Store(next)
}

// add puts the times in. What it changes of a list is a copy.
func (s *subjects) add(notBefore map[Subject]time.Time) {
	for subject, t := range notBefore {
		names := &s[subject.Kind]
		if *names == nil {
			*names = make(map[string][]cutoff)
		}
		list, added := slices.Clone((*names)[subject.Name]), cutoff{subject.Realm, t.UnixNano()}
		at := slices.IndexFunc(list, func(c cutoff) bool { return c.realm == subject.Realm })
		if at < 0 {
			list = append(list, added)
		} else {
			list[at].notBefore = max(list[at].notBefore, added.notBefore)
		}
		(*names)[subject.Name] = list
	}
}

// Ended reports whether s, a session of realm, was ended: by its id, or
// because it was issued at or before the not-before time of everyone, of its
// number or of its user.
func (r *Revocations) Ended(s *Session, realm string) bool {
	if r.count.Load() > 0 {
		if _, ended := r.ids.Load(s.ID); ended {
			return true
		}
	}
	all := r.subjects.Load()
	if all == nil {
		return false
	}
	issued := s.Issued.UnixNano()
	return issued <= all.latest(ByNumber, realm, s.Number) ||
		s.User != "" && issued <= all.latest(ByUser, realm, s.User) ||
		issued <= all.latest(Everyone, realm, "")
}

// NotBefore returns the latest not-before time that concerns a number or a
// user in realm; the zero time if there is none. It is for what is no session,
// and is good only if it was issued after that.
func (r *Revocations) NotBefore(kind Kind, realm, name string) time.Time {
	all := r.subjects.Load()
	if all == nil {
		return time.Time{}
	}
	latest := max(all.latest(kind, realm, name), all.latest(Everyone, realm, ""))
	if latest == math.MinInt64 {
		return time.Time{}
	}
	return time.Unix(0, latest)
}

// latest returns the latest not-before time of a name, in realm or in all.
func (s *subjects) latest(kind Kind, realm, name string) int64 {
	latest := int64(math.MinInt64)
	if len(s[kind]) == 0 {
		return latest
	}
	for _, c := range s[kind][name] {
		if c.realm == "" || c.realm == realm {
			latest = max(latest, c.notBefore)
		}
	}
	return latest
}

// All returns what is remembered: the ids, with the ends of their sessions,
// and the not-before times of the subjects.
func (r *Revocations) All() (ids map[ID]time.Time, notBefore map[Subject]time.Time) {
	ids, notBefore = make(map[ID]time.Time), make(map[Subject]time.Time)
	r.ids.Range(func(id, until any) bool {
		ids[id.(ID)] = until.(time.Time)
		return true
	})
	if all := r.subjects.Load(); all != nil {
		all.each(func(subject Subject, t time.Time) { notBefore[subject] = t })
	}
	return ids, notBefore
}

// each calls visit with every subject and its not-before time.
func (s *subjects) each(visit func(Subject, time.Time)) {
	for kind, names := range s {
		for name, list := range names {
			for _, c := range list {
				visit(Subject{Kind(kind), c.realm, name}, time.Unix(0, c.notBefore))
			}
		}
	}
}

// Sweep forgets what concerns no session any more at now, if none lives longer
// than life. It returns those that it forgets by their id, with their ends.
func (r *Revocations) Sweep(now time.Time, life time.Duration) map[ID]time.Time {
	gone := make(map[ID]time.Time)
	r.ids.Range(func(key, until any) bool {
		if !now.Before(until.(time.Time)) {
			id := key.(ID)
			if _, known := r.ids.LoadAndDelete(id); known {
				r.count.Add(-1)
				gone[id] = until.(time.Time)
			}
		}
		return true
	})
	r.sweepSubjects(now.Add(-life).UnixNano())
	return gone
}

// sweepSubjects forgets the not-before times up to over.
func (r *Revocations) sweepSubjects(over int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	former := r.subjects.Load()
	if former == nil {
		return
	}
	kept := make(map[Subject]time.Time)
	former.each(func(subject Subject, t time.Time) {
		if t.UnixNano() > over {
			kept[subject] = t
		}
	})
	var next *subjects // nil where nothing is left: looking up then costs nothing
	if len(kept) > 0 {
		next = new(subjects)
		next.add(kept)
	}
	r.subjects.Store(next)
}
