package storetest

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/internal/testlevel"
	"github.com/caddy-websms/websms/otp"
)

// randomSequences plays random calls to a store and to the model, and
// compares every answer. The stores are few and live long: each sequence has
// challenges, counters and messages of its own, and days of its own.
// Of the hundred sequences a plain run plays as many as plain says.
func randomSequences(t *testing.T, open Open, capacities []int, plain int) {
	stores := make(map[int]otp.Store)
	for _, capacity := range capacities {
		stores[capacity] = open(t, capacity)
	}
	day := epoch
	sequences(t, plain, func(t *rapid.T) {
		capacity := rapid.SampledFrom(capacities).Draw(t, "capacity")
		p := &player{
			d:    &desk{reporter: t, store: stores[capacity], now: day},
			m:    newModel(capacity),
			name: day.String(),
			lockout: otp.Lockout{
				Count: rapid.IntRange(2, 3).Draw(t, "lockout"),
				For:   time.Minute,
				Max:   rapid.IntRange(5, 6).Draw(t, "max failures"),
			},
		}
		defer func() { day = p.d.now.Add(48 * time.Hour) }()
		p.d.mustMeet(p.d.reserve()) // puts the challenges of days before out
		t.Repeat(map[string]func(*rapid.T){
			"":        p.compare,
			"wait":    p.wait,
			"reserve": p.reserve,
			"attempt": p.attempt,
			"guess":   p.guess,
			"devices": p.devices,
			"resend":  p.resend,
			"settle":  p.settle,
			"report":  p.report,
			"first":   p.first,
			"begin":   p.begin,
			"done":    p.done,
			"forget":  p.forget,
			"live":    p.live,
			"unlock":  p.unlock,
			"used":    p.used,
			"clear":   p.clear,
		})
	})
}

// fewSequences are played of what asks a store over a network for each step.
const fewSequences = 30

// sequences is rapid.Check for sequences of calls. A plain run plays no more of
// them than plain says, a whole one all hundred. Where -rapid.checks is set, that
// many are played.
func sequences(t *testing.T, plain int, play func(t *rapid.T)) {
	few := testlevel.Size(plain, math.MaxInt)
	flag.Visit(func(f *flag.Flag) {
		if f.Name == "rapid.checks" {
			few = math.MaxInt
		}
	})
	played, failed := 0, false
	rapid.Check(t, func(t *rapid.T) {
		if played++; played > few && !failed { // one that fails is played again, to shorten it
			return
		}
		defer func() { failed = failed || t.Failed() }()
		play(t)
	})
}

// player plays the calls of one sequence to both.
type player struct {
	d       *desk
	m       *model
	name    string
	lockout otp.Lockout
	message int       // how many message ids are used up
	early   time.Time // the first report of the next one
}

// compare sees that every challenge is as the model has it.
func (p *player) compare(t *rapid.T) {
	for i, c := range p.m.challenges {
		rec, err := p.d.store.Get(ctx, scope, c.ID, p.d.now)
		if refusals := c.refusals(p.d.now); refusals != nil {
			if !oneOf(err, refusals) {
				t.Fatalf("challenge %d: Get: %v, want %v", i, err, refusals)
			}
			if !errors.Is(err, otp.ErrTooManyAttempts) {
				continue
			}
		} else if err != nil {
			t.Fatalf("challenge %d: Get: %v", i, err)
		}
		if diff := same(rec, c.record()); diff != "" {
			t.Fatalf("challenge %d: %s", i, diff)
		}
	}
}

// wait moves the clock: by a little, or to just before, at or after a moment
// at which something ends.
func (p *player) wait(t *rapid.T) {
	if rapid.Bool().Draw(t, "just wait") {
		p.d.now = p.d.now.Add(tick * time.Duration(rapid.Int64Range(0, int64(2*time.Minute/tick)).Draw(t, "for")))
		return
	}
	var moments []time.Time
	for _, c := range p.m.challenges {
		moments = append(moments, c.ExpiresAt, c.ResendAt)
	}
	for _, c := range p.counters() {
		for _, r := range c.Rates {
			for _, event := range p.m.events[c.Key] {
				moments = append(moments, event.Add(r.Window))
			}
		}
	}
	for _, until := range p.m.seen {
		moments = append(moments, until)
	}
	for _, work := range p.m.work {
		moments = append(moments, work.until)
	}
	for _, run := range p.runs() {
		until, _ := p.m.lock(run)
		moments = append(moments, until)
	}
	moments = slices.DeleteFunc(moments, p.d.now.After)
	if len(moments) == 0 {
		t.Skip("nothing ends")
	}
	slices.SortFunc(moments, time.Time.Compare)
	moment := rapid.SampledFrom(moments[:min(4, len(moments))]).Draw(t, "to")
	moment = moment.Add(tick * time.Duration(rapid.IntRange(-1, 1).Draw(t, "off by")))
	if moment.After(p.d.now) {
		p.d.now = moment
	}
}

// any draws one of the latest challenges, nil for one that never was.
func (p *player) any(t *rapid.T) (*modelled, otp.ID) {
	latest := p.m.challenges[max(0, len(p.m.challenges)-4):]
	if i := rapid.IntRange(-1, len(latest)-1).Draw(t, "challenge"); i >= 0 {
		return latest[i], latest[i].ID
	}
	return nil, p.d.usual().ID
}

// change calls one method for a challenge and sees that its watchers wake,
// if the model changes with it.
func (p *player) change(id otp.ID, c *modelled, call func()) {
	changed, stop := p.d.store.Watch(id)
	defer stop()
	var was otp.Record
	var gone bool
	if c != nil {
		was, gone = c.record(), c.gone
	}
	call()
	if c != nil && !c.over(p.d.now) && (gone != c.gone || same(c.record(), was) != "") {
		p.d.woken(changed, "a change")
	}
}

func (p *player) reserve(t *rapid.T) {
	former, id := p.any(t)
	if former == nil && rapid.Bool().Draw(t, "of a new browser") {
		id = otp.ID{}
	}
	r := p.d.usual(p.some(t)...)
	r.Replaces, r.Failures = id, p.run(t)
	r.Attempts = rapid.IntRange(1, 5).Draw(t, "attempts")
	r.TTL = rapid.SampledFrom([]time.Duration{30 * time.Second, ttl, otp.MaxLife, time.Hour}).Draw(t, "ttl")
	r.Cooldown = rapid.SampledFrom([]time.Duration{0, time.Second, cooldown}).Draw(t, "cooldown")
	p.ask(t, r, former)
}

// ask makes a challenge in place of the former one, if there is any.
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

// attempt gives codes in a row to one challenge, within one run.
func (p *player) attempt(t *rapid.T) {
	c, id := p.any(t)
	run := p.run(t)
	for range rapid.IntRange(1, 3).Draw(t, "codes") {
		p.answer(t, c, id, run)
	}
}

// guess comes again, with a new challenge, perhaps as soon as the run's lock ends.
func (p *player) guess(t *rapid.T) {
	run := p.run(t)
	if until, _ := p.m.lock(run); until.After(p.d.now) && rapid.Bool().Draw(t, "wait for the lock's end") {
		p.d.now = until.Add(tick * time.Duration(rapid.IntRange(-1, 1).Draw(t, "off by")))
	}
	r := p.d.usual()
	p.ask(t, r, nil)
	c := p.m.find(r.ID)
	if c == nil {
		t.Skip("no room")
	}
	for range rapid.IntRange(1, attempts).Draw(t, "codes") {
		p.answer(t, c, r.ID, run)
	}
}

// devices answers from many devices of one number, one code each: the first
// wrong ones fill the places of those with a run of their own.
func (p *player) devices(t *rapid.T) {
	number := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "number")
	for _, device := range rapid.SliceOfN(rapid.IntRange(0, 2*otp.MaxDevices), 1, 2*otp.MaxDevices).Draw(t, "devices") {
		r := p.d.usual()
		p.ask(t, r, nil)
		c := p.m.find(r.ID)
		if c == nil {
			t.Skip("no room")
		}
		p.answer(t, c, r.ID, runOf(p.name+number, fmt.Sprint("d", device), p.lockout))
		if !c.gone {
			p.d.mustMeet(r.ID) // in nobody's run, for the next one's room
			c.gone = true
		}
	}
}

func (p *player) answer(t *rapid.T, c *modelled, id otp.ID, run otp.Failures) {
	proof := wrong(rapid.IntRange(0, 2).Draw(t, "wrong"))
	correct := c != nil && rapid.IntRange(0, 3).Draw(t, "right") == 3
	if correct {
		proof = c.proof
	}
	p.change(id, c, func() {
		rec, err := p.d.answer(id, proof, run)
		if p.refused(t, c, err) {
			return
		}
		if p.m.locked(run, p.d.now) {
			if p.limited(t, run, nil, 0, err); errors.Is(err, otp.ErrWrongCode) {
				t.Fatalf("locked, and still compared: %v", err)
			}
			return
		}
		c.AttemptsLeft--
		if correct && c.possible() {
			c.gone = true
			p.m.succeed(run)
			if err != nil {
				t.Fatalf("Attempt with the right proof: %v", err)
			}
			return
		}
		p.m.fail(run, p.d.now)
		if !errors.Is(err, otp.ErrWrongCode) {
			t.Fatalf("Attempt with a wrong proof: %v", err)
		}
		var limit *otp.LimitError
		switch locks := errors.As(err, &limit); {
		case locks != p.m.locked(run, p.d.now):
			t.Fatalf("Attempt with a wrong proof: %v, want it to lock: %v", err, !locks)
		case locks:
			p.limited(t, run, nil, 0, limit)
		}
		if diff := same(rec, c.record()); diff != "" {
			t.Fatalf("Attempt returned %s", diff)
		}
	})
}

// refused checks the refusal of a challenge that is none, or not any more.
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
	r.Failures = p.run(t)
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

// settle settles one sending of a challenge, once, whatever became of it.
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
		if len(p.m.early[p.next(0)]) > 0 && p.d.now.Sub(p.early) > time.Minute { // a store need not keep it for longer
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

// next returns the message id that is ahead in the sequence's order.
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

func (p *player) first(t *rapid.T) {
	key := p.key(t)
	within := rapid.SampledFrom([]time.Duration{time.Second, time.Minute, 24 * time.Hour}).Draw(t, "within")
	until, seen := p.m.seen[key]
	want := !seen || !p.d.now.Before(until)
	p.d.first(key, within, want)
	if want {
		p.m.seen[key] = p.d.now.Add(within)
		delete(p.m.work, key)
	}
}

func (p *player) begin(t *rapid.T) {
	key, holder := p.key(t), p.holder(t)
	work := p.m.work[key]
	var want time.Duration
	switch {
	case p.d.now.Before(p.m.seen[key]):
		want = -1
	case work.holder != holder && p.d.now.Before(work.until):
		want = work.until.Sub(p.d.now)
	default:
		p.m.work[key] = heldWork{holder, p.d.now.Add(lease)}
	}
	p.d.begin(key, holder, want)
}

func (p *player) done(t *rapid.T) {
	key := p.key(t)
	within := rapid.SampledFrom([]time.Duration{time.Second, time.Minute, 24 * time.Hour}).Draw(t, "within")
	until := p.d.now.Add(within)
	if until.Before(p.m.seen[key]) {
		t.Skip("done for longer")
	}
	p.d.done(key, within)
	p.m.seen[key] = until
	delete(p.m.work, key)
}

func (p *player) forget(t *rapid.T) {
	key, holder := p.key(t), p.holder(t)
	p.d.forget(key, holder)
	if p.m.work[key].holder == holder {
		delete(p.m.work, key)
	}
}

func (p *player) holder(t *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "b"}).Draw(t, "holder")
}

func (p *player) key(t *rapid.T) otp.Digest {
	return counter("", p.name+rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "key")).Key
}

// live lets a store count the expired until it needs their room.
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
