package memorystore

import (
	"container/heap"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
)

// record is one challenge. It is put into the cache once and changes in place,
// under its own mutex.
type record struct {
	id  otp.ID
	tag uint64 // see tagOf; 0: the challenge has no number
	// Guarded by the store's mutex:
	place   int  // in the heap of live challenges; -1: in none
	claimed bool // the challenge that replaces it gets its room
	filed   bool // the store's file may have a row of it

	mu       sync.Mutex
	sealed   []byte
	envelope []byte // for a second try; not in the file
	proof    otp.Digest
	length   uint8
	left     uint8 // attempts that are left
	sending  uint8 // the number of the latest sending, from 1
	begun    uint8 // attempts that were left when the latest sending began
	possible uint8 // sendings that may have arrived
	made     uint8 // the latest sending for which WebSMS made the code
	second   bool  // the second try was claimed
	settled  bool  // the result of the latest sending is known
	finished bool  // verified or replaced
	status   otp.Status
	state    connexus.State // of the latest delivery report
	born     instant        // the first sending
	dies     instant        // the code expires
	sent     instant        // the latest sending; 0: the file of an earlier release did not say
	resend   instant        // the earliest time for a resend
}

// instant is a time in microseconds since 1970, which is the resolution of
// every time that a store is given. It has a third of the size of a time.Time,
// and no pointer for the garbage collector to follow.
type instant int64

func instantOf(t time.Time) instant { return instant(t.UnixMicro()) }

func (i instant) time() time.Time { return time.UnixMicro(int64(i)) }

func (i instant) add(d time.Duration) instant { return i + instant(d.Microseconds()) }

func newRecord(r *otp.Reservation) *record {
	return &record{
		id: r.ID, tag: tagOf(r.Failures.Number), place: -1, sealed: r.Sealed, envelope: r.Envelope, proof: r.Proof, length: uint8(r.Length),
		left: uint8(r.Attempts), sending: 1, begun: uint8(r.Attempts), possible: 1, status: otp.Queued,
		born: instantOf(r.Now), dies: instantOf(r.Now.Add(min(r.TTL, otp.MaxLife))),
		sent: instantOf(r.Now), resend: instantOf(r.Now.Add(r.Cooldown)),
	}
}

// disorder is otp.Disorder between instants.
const disorder = instant(otp.Disorder / time.Microsecond)

// settleClock moves times that are in the future to now, because the clock was
// ahead when they were set. The challenge's life and cooldown begin now.
func (r *record) settleClock(now instant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sent := r.sent
	if sent == 0 {
		sent = r.born
	}
	if ahead := r.born - now; ahead > disorder {
		r.born -= ahead
		r.dies -= ahead
	}
	if ahead := sent - now; ahead > disorder {
		r.sent = now
		r.resend -= ahead
	}
}

// tagOf returns the part of a number's keyed hash by which its challenges are
// found.
func tagOf(number otp.Digest) uint64 { return binary.NativeEndian.Uint64(number[:]) }

func (r *record) expires() instant {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dies
}

// usable returns the error of a challenge that takes no more answers. The
// caller holds r.mu.
func (r *record) usable(now time.Time) error {
	switch {
	case r.finished:
		return otp.ErrNoChallenge
	case instantOf(now) >= r.dies:
		return otp.ErrExpired
	case r.left == 0:
		return otp.ErrTooManyAttempts
	}
	return nil
}

// snapshot returns the record as the engine sees it. The caller holds r.mu.
func (r *record) snapshot() otp.Record {
	return otp.Record{
		Challenge: otp.Challenge{
			ID: r.id, Status: r.status, CodeLength: int(r.length), AttemptsLeft: int(r.left),
			ExpiresAt: r.dies.time(), ResendAt: r.resend.time(), Settled: r.settled,
		},
		Sending: int(r.sending),
		Sealed:  r.sealed,
	}
}

func (r *record) get(now time.Time) (otp.Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.snapshot(), r.usable(now)
}

// attempt counts an attempt, compares the code, and counts a wrong one in
// failures. The caller holds the store's mutex, so other calls see none of the
// steps. If no sending can have arrived, no code is right. If a wrong code
// could not be counted, the code is not compared.
func (r *record) attempt(a *otp.Answer, failures *failureTable) (otp.Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.usable(a.Now); err != nil {
		return r.snapshot(), err
	}
	if lock := failures.locked(&a.Failures, a.Now); lock != nil {
		return r.snapshot(), lock
	}
	if err := failures.admit(&a.Failures, a.Now); err != nil {
		return r.snapshot(), err
	}
	r.left--
	if right := constantTimeEqual(&a.Proof, &r.proof); right && r.possible > 0 {
		failures.succeed(&a.Failures)
		r.finished = true
		return r.snapshot(), nil
	}
	failures.fail(&a.Failures, a.Now)
	if lock := failures.locked(&a.Failures, a.Now); lock != nil {
		return r.snapshot(), errors.Join(otp.ErrWrongCode, lock)
	}
	return r.snapshot(), otp.ErrWrongCode
}

func (r *record) finish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.finished = true
}

// maxSendings bounds the sendings of a challenge, because each doubles the
// cooldown. Sixteen within the ten minutes of a challenge are more than any
// limit should allow.
const maxSendings = 16

// renew counts another sending. It calls take last, which counts in the
// counters. take gets the refusal of the cooldown, if there is one, so that the
// caller is told the longest wait of all.
func (r *record) renew(n *otp.Renewal, take func(cooldown *otp.LimitError) error) (otp.Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.usable(n.Now); err != nil {
		return r.snapshot(), err
	}
	wait := r.resend.time().Sub(n.Now)
	if r.sending >= maxSendings {
		wait = max(wait, r.dies.time().Sub(n.Now))
	}
	var cooldown *otp.LimitError
	if wait > 0 {
		cooldown = &otp.LimitError{Limit: "cooldown", RetryAfter: wait}
	}
	if err := take(cooldown); err != nil {
		return r.snapshot(), err
	}
	r.sent = instantOf(n.Now)
	r.resend = instantOf(n.Now.Add(n.Cooldown << r.sending))
	r.sending++
	if r.sending >= maxSendings {
		r.resend = max(r.resend, r.dies)
	}
	r.possible++
	r.begun, r.settled = r.left, false
	r.status, r.state = otp.Queued, connexus.StateUnknown
	r.dies = min(max(r.dies, instantOf(n.Now.Add(n.TTL))), r.born.add(otp.MaxLife))
	return r.snapshot(), nil
}

// settle records the result of a sending. It reports whether the sending may be
// given back.
func (r *record) settle(s *otp.Settlement) (returnable bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.Made != nil && s.Sending > int(r.made) {
		r.sealed, r.proof, r.length = s.Made.Sealed, s.Made.Proof, uint8(s.Made.Length)
		r.made = uint8(s.Sending)
	}
	latest := s.Sending == int(r.sending)
	r.settled = r.settled || latest
	if latest && r.state == connexus.StateUnknown {
		r.status = s.Status
	}
	if s.Refused && r.possible > 0 {
		r.possible--
	}
	return s.Refused && latest && !r.finished && instantOf(s.Now) < r.dies && r.left == r.begun
}

// report applies a delivery report of one sending, and reports whether the
// status changed. A report of a sending before the latest one counts only if it
// says that the message was delivered, because all sendings carry the same
// code.
func (r *record) report(sending uint8, state connexus.State) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if sending != r.sending && state != connexus.StateDelivered || !state.Supersedes(r.state) {
		return false
	}
	r.state = state
	status := r.status
	switch {
	case state == connexus.StateDelivered:
		status = otp.Delivered
	case state.Final() || state == connexus.StateExpired:
		status = otp.Failed
	case status == otp.Queued || status == otp.Failed:
		status = otp.Accepted // the network has the message, even if the API's reply was an error
	}
	changed := status != r.status
	r.status = status
	return changed
}

// claimSecond claims the second try, if the report of this sending says that the message was
// not delivered. It calls take last, which counts the try.
func (r *record) claimSecond(sending uint8, now time.Time, take func(otp.Record) error) (otp.Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.usable(now); err != nil {
		return otp.Record{}, err
	}
	failed := r.state == connexus.StateUndelivered || r.state == connexus.StateRejected
	if r.second || len(r.envelope) == 0 || sending != r.sending || !failed {
		return otp.Record{}, otp.ErrDone
	}
	found := r.snapshot()
	found.Envelope = r.envelope
	if err := take(found); err != nil {
		return otp.Record{}, err
	}
	r.second = true
	return found, nil
}

// expiries is a heap of the live challenges. The one that expires first is on
// top.
type expiries []*record

var _ heap.Interface = (*expiries)(nil)

func (e expiries) Len() int           { return len(e) }
func (e expiries) Less(i, j int) bool { return e[i].expires() < e[j].expires() }
func (e expiries) Swap(i, j int) {
	e[i], e[j] = e[j], e[i]
	e[i].place, e[j].place = i, j
}
func (e *expiries) Push(x any) {
	r := x.(*record)
	r.place = len(*e)
	*e = append(*e, r)
}
func (e *expiries) Pop() any {
	old := *e
	last := old[len(old)-1]
	old[len(old)-1] = nil
	last.place = -1
	*e = old[:len(old)-1]
	return last
}
