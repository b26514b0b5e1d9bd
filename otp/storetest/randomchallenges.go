package storetest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
)

func (p *player) reserve(t *rapid.T) {
	former, id := p.any(t)
	if former == nil && rapid.Bool().Draw(t, "of a new browser") {
		id = otp.ID{}
	}
	r := p.d.usual(p.some(t)...)
	r.Replaces, r.Failures = id, p.failures(t)
	r.Attempts = rapid.IntRange(1, 5).Draw(t, "attempts")
	r.TTL = rapid.SampledFrom([]time.Duration{30 * time.Second, ttl, otp.MaxLife, time.Hour}).Draw(t, "ttl")
	r.Cooldown = rapid.SampledFrom([]time.Duration{0, time.Second, cooldown}).Draw(t, "cooldown")
	p.ask(t, r, former)
}

// ask makes a challenge that replaces former, if that is not nil.
func (p *player) ask(t *rapid.T, r *otp.Reservation, former *modelled) {
	p.change(r.Replaces, former, func() {
		err := p.d.store.Reserve(ctx, r)
		least, most := p.m.room(r.Replaces, p.d.now)
		if most >= p.m.capacity && errors.As(err, new(*otp.UnavailableError)) {
			return
		}
		if least >= p.m.capacity && !errors.As(err, new(*otp.LimitError)) {
			t.Fatalf("Reserve in a full store: %v", err)
		}
		if p.limited(t, r.Failures, r.Counters, 0, err) {
			return
		}
		p.m.reserve(r)
	})
}

// attempt gives one to three codes for one challenge.
func (p *player) attempt(t *rapid.T) {
	c, id := p.any(t)
	f := p.failures(t)
	for range rapid.IntRange(1, 3).Draw(t, "codes") {
		p.answer(t, c, id, f)
	}
}

// guess makes a new challenge, perhaps at the end of a lock, and gives codes for it.
func (p *player) guess(t *rapid.T) {
	f := p.failures(t)
	if until, _ := p.m.lock(f); until.After(p.d.now) && rapid.Bool().Draw(t, "wait for the lock's end") {
		p.d.now = until.Add(tick * time.Duration(rapid.IntRange(-1, 1).Draw(t, "off by")))
	}
	r := p.d.usual()
	p.ask(t, r, nil)
	c := p.m.find(r.ID)
	if c == nil {
		t.Skip("no room")
	}
	for range rapid.IntRange(1, attempts).Draw(t, "codes") {
		p.answer(t, c, r.ID, f)
	}
}

// devices gives one code from each of many devices of one number. The first devices with
// a wrong code get failures of their own, and all others share theirs.
func (p *player) devices(t *rapid.T) {
	number := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "number")
	for _, device := range rapid.SliceOfN(rapid.IntRange(0, 2*otp.MaxDevices), 1, 2*otp.MaxDevices).Draw(t, "devices") {
		r := p.d.usual()
		p.ask(t, r, nil)
		c := p.m.find(r.ID)
		if c == nil {
			t.Skip("no room")
		}
		p.answer(t, c, r.ID, failuresOf(p.name+number, fmt.Sprint("d", device), p.lockout))
		if !c.gone {
			p.d.mustMeet(r.ID) // counts to no failures, and makes room for the next challenge
			c.gone = true
		}
	}
}

func (p *player) answer(t *rapid.T, c *modelled, id otp.ID, f otp.Failures) {
	proof := wrong(rapid.IntRange(0, 2).Draw(t, "wrong"))
	correct := c != nil && rapid.IntRange(0, 3).Draw(t, "right") == 3
	if correct {
		proof = c.proof
	}
	p.change(id, c, func() {
		rec, err := p.d.answer(id, proof, f)
		if p.refused(t, c, err) {
			return
		}
		if p.m.locked(f, p.d.now) {
			if p.limited(t, f, nil, 0, err); errors.Is(err, otp.ErrWrongCode) {
				t.Fatalf("locked, and still compared: %v", err)
			}
			return
		}
		c.AttemptsLeft--
		if correct && c.possible() {
			c.gone = true
			p.m.succeed(f)
			if err != nil {
				t.Fatalf("Attempt with the right proof: %v", err)
			}
			return
		}
		p.m.fail(f, p.d.now)
		if !errors.Is(err, otp.ErrWrongCode) {
			t.Fatalf("Attempt with a wrong proof: %v", err)
		}
		var limit *otp.LimitError
		switch locks := errors.As(err, &limit); {
		case locks != p.m.locked(f, p.d.now):
			t.Fatalf("Attempt with a wrong proof: %v, want it to lock: %v", err, !locks)
		case locks:
			p.limited(t, f, nil, 0, limit)
		}
		if diff := same(rec, c.record()); diff != "" {
			t.Fatalf("Attempt returned %s", diff)
		}
	})
}

// refused checks the error for a challenge that cannot be used, and reports whether it is
// one.
func (p *player) refused(t *rapid.T, c *modelled, err error) bool {
	refusals := []error{otp.ErrNoChallenge}
	if c != nil {
		refusals = c.refusals(p.d.now)
	}
	if len(refusals) > 0 && !oneOf(err, refusals) {
		t.Fatalf("got %v, want %v", err, refusals)
	}
	return len(refusals) > 0
}

func (p *player) resend(t *rapid.T) {
	c, id := p.any(t)
	if c != nil && c.Sending > 8 {
		t.Skip("sent often enough")
	}
	r := p.d.renewal(p.some(t)...)
	r.Failures = p.failures(t)
	r.Cooldown = rapid.SampledFrom([]time.Duration{0, time.Second, cooldown}).Draw(t, "cooldown")
	r.TTL = rapid.SampledFrom([]time.Duration{30 * time.Second, ttl, otp.MaxLife}).Draw(t, "ttl")
	p.change(id, c, func() {
		rec, err := p.d.store.Resend(ctx, id, r)
		if p.refused(t, c, err) || p.limited(t, r.Failures, r.Counters, max(0, c.ResendAt.Sub(p.d.now)), err) {
			return
		}
		p.m.resend(c, r)
		if diff := same(rec, c.record()); diff != "" {
			t.Fatalf("Resend returned %s", diff)
		}
	})
}

// settle settles one sending of a challenge, which may have ended. It settles no sending
// twice.
func (p *player) settle(t *rapid.T) {
	c, id := p.any(t)
	if c == nil {
		p.d.mustSettle(id, &otp.Settlement{Sending: 1, Status: otp.Failed, Taken: p.d.now, Now: p.d.now})
		return
	}
	n := rapid.IntRange(1, c.Sending).Draw(t, "sending")
	if c.sendings[n-1].settled {
		t.Skip("settled")
	}
	taken := c.sendings[n-1]
	s := &otp.Settlement{Sending: n, Taken: taken.taken, Now: p.d.now}
	s.Status = rapid.SampledFrom([]otp.Status{otp.Accepted, otp.Failed}).Draw(t, "status")
	if s.Status == otp.Failed && rapid.Bool().Draw(t, "certainly") {
		s.Refused, s.Return = true, taken.counters
	} else if rapid.Bool().Draw(t, "with id") {
		if len(p.m.early[p.next(0)]) > 0 && p.d.now.Sub(p.early) > time.Minute { // a store may forget an early report after a minute
			p.message++
		}
		s.MessageID = p.next(0)
		p.message++
	}
	if s.Status == otp.Accepted && rapid.Bool().Draw(t, "made") {
		s.Made = &otp.Made{Sealed: fmt.Appendf(nil, "made %d", n), Proof: right(p.d.usual().ID), Length: 4 + n%5}
	}
	p.change(id, c, func() {
		p.d.mustSettle(id, s)
		p.m.settle(c, s)
	})
}

// next returns a message id of the sequence, counted from the next unused one.
func (p *player) next(ahead int) string { return fmt.Sprintf("%s %d", p.name, p.message+ahead) }

func (p *player) report(t *rapid.T) {
	state := connexus.State(rapid.IntRange(int(queued), int(delivered)).Draw(t, "state"))
	id := p.next(rapid.IntRange(-min(4, p.message), 0).Draw(t, "message"))
	sent, known := p.m.messages[id]
	if !known {
		if slices.Contains(p.m.early[id], blocked) {
			t.Skip("nothing follows blocked")
		}
		_, moved, err := p.d.store.Report(ctx, id, state, p.d.now)
		if moved || err != nil {
			t.Fatalf("early report: moved %v, %v", moved, err)
		}
		if len(p.m.early[id]) == 0 && id == p.next(0) {
			p.early = p.d.now
		}
		p.m.early[id] = append(p.m.early[id], state)
		return
	}
	c := sent.challenge
	was := c.status()
	p.change(c.ID, c, func() {
		age, moved, err := p.d.store.Report(ctx, id, state, p.d.now)
		if err != nil {
			t.Fatalf("Report: %v", err)
		}
		if c.gone && moved {
			t.Fatalf("a report moved a challenge that is gone")
		}
		if c.gone || c.over(p.d.now) {
			return
		}
		sent.report(state)
		if moved != (c.status() != was) {
			t.Fatalf("report of %v: moved %v, from %v to %v", state, moved, was, c.status())
		}
		if want := p.d.now.Sub(c.sendings[sent.sending-1].taken); moved && age != want {
			t.Fatalf("report %v after the sending, want %v", age, want)
		}
	})
}

// live checks Live. A store may count expired challenges until it needs their room.
func (p *player) live(t *rapid.T) {
	n, err := p.d.store.Live(ctx, p.d.now)
	least, most := p.m.room(otp.ID{}, p.d.now)
	for _, c := range p.m.challenges {
		if !c.gone && c.over(p.d.now) {
			most++
		}
	}
	if err != nil || n < least || n > most {
		t.Fatalf("Live: %d, %v; want %d to %d", n, err, least, most)
	}
}
