package session

import (
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Revocations is the list of sessions that were ended early. It is kept in memory.
// It ends a single session by its ID. It ends all sessions of a subject that were
// issued at or before a cutoff, the subject's not-before time.
//
// Revocations is safe for concurrent use, and its zero value is ready. Ended and
// NotBefore take no lock and allocate nothing.
type Revocations struct {
	ids   sync.Map // ID → time.Time, when the session ends by itself
	count atomic.Int64

	mu       sync.Mutex // held by a call that replaces subjects
	subjects atomic.Pointer[subjects]
}

// subjects holds the not-before times of each kind, by name. It never changes once
// a reader can see it: an addition makes a new one.
type subjects [kinds]map[string][]cutoff

type cutoff struct {
	realm     string
	notBefore int64 // nanoseconds since 1970
}

// Add ends the session id. The time until is its regular end: Sweep may forget the
// entry after that.
func (r *Revocations) Add(id ID, until time.Time) {
	if _, known := r.ids.Swap(id, until); !known {
		r.count.Add(1)
	}
}

// Revoke ends the sessions of each subject that were issued at or before its time.
// A subject keeps the latest of the times that it was given. A call copies all
// known subjects, so pass many subjects in one call.
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

// add adds the times. It copies a list before it changes it.
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

// Ended reports whether s, a session of realm, was ended early. Its ID may have
// been added. Or it was issued at or before the not-before time of its number, of
// its user or of everyone.
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

// NotBefore returns the latest not-before time of a number or a user in realm, or
// of everyone there. It returns the zero time if there is none. Use it for things
// other than sessions, such as device cookies, that end with a revocation too.
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

// latest returns the latest not-before time of a name, in realm or in all realms.
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

// All returns a copy of the list: the IDs with the regular ends of their sessions,
// and the subjects with their not-before times.
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

// Sweep forgets the entries that no session can match any more at now, if no
// session lives longer than life. It returns the IDs that it has forgotten, with
// the regular ends of their sessions.
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

// sweepSubjects forgets the not-before times up to over, in ns since 1970.
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
	var next *subjects // nil if none is left, which makes Ended cheaper
	if len(kept) > 0 {
		next = new(subjects)
		next.add(kept)
	}
	r.subjects.Store(next)
}
