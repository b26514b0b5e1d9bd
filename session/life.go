package session

import "time"

// Life holds the current limits on how long sessions last. A shorter limit also
// ends existing sessions. A longer limit applies to new sessions only, so that an
// ended session never becomes valid again.
type Life struct {
	TTL      time.Duration // from the proof to the absolute end
	Idle     time.Duration // from the last renewal; 0 stands for no limit
	Remember time.Duration // the TTL on a trusted device; 0 if no device is trusted
}

// Renewal is the least time between two renewals of a session's cookie.
const Renewal = time.Minute

// absolute returns how long s lasts, in use or not.
func (l Life) absolute(s *Session) time.Duration {
	if s.Remember && l.Remember > 0 {
		return l.Remember
	}
	return l.TTL
}

// Begin sets the times of s for a proof at now.
func (l Life) Begin(s *Session, now time.Time) {
	s.Issued, s.Seen = now, now
	s.Ends = now.Add(l.absolute(s))
}

// Expires returns the absolute end of s, which no renewal changes.
func (l Life) Expires(s *Session) time.Time {
	if today := s.Issued.Add(l.absolute(s)); today.Before(s.Ends) {
		return today
	}
	return s.Ends
}

// idle returns how long s stays valid without a renewal; 0 stands for no limit. The
// idle limit does not apply to a trusted device: with the limit, a person would be
// asked again after an hour, and "trust this device" would mean nothing.
func (l Life) idle(s *Session) time.Duration {
	if s.Remember && l.Remember > 0 {
		return 0
	}
	return l.Idle
}

// Alive reports whether s is within its absolute and its idle limit at now. It does
// not know revocations: see Revocations.Ended.
func (l Life) Alive(s *Session, now time.Time) bool {
	if !now.Before(l.Expires(s)) {
		return false
	}
	idle := l.idle(s)
	return idle == 0 || now.Before(s.Seen.Add(idle))
}

// Stale reports whether the cookie of s should be renewed at now. It should if s
// has an idle limit and was renewed at least Renewal ago, or half the idle limit
// ago if that is shorter.
func (l Life) Stale(s *Session, now time.Time) bool {
	idle := l.idle(s)
	return idle > 0 && now.Sub(s.Seen) >= min(Renewal, idle/2)
}
