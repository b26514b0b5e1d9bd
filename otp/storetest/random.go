package storetest

import (
	"errors"
	"flag"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/internal/testlevel"
	"github.com/caddy-websms/websms/otp"
)

// randomSequences plays random calls to a store and to the model, and compares every
// answer. Many sequences share one store. Each of them has its own challenges,
// counters, messages and days. See sequences for plain.
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
		p.d.mustMeet(p.d.reserve()) // makes the store forget the challenges of earlier days
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

// fewSequences is how many sequences a plain test plays if each step may go over a
// network.
const fewSequences = 30

// sequences is rapid.Check for sequences of calls. It plays up to plain sequences, or all
// hundred with WEBSMS_TEST_FULL=1, or as many as -rapid.checks says if that is set.
func sequences(t *testing.T, plain int, play func(t *rapid.T)) {
	few := testlevel.Size(plain, math.MaxInt)
	flag.Visit(func(f *flag.Flag) {
		if f.Name == "rapid.checks" {
			few = math.MaxInt
		}
	})
	played, failed := 0, false
	rapid.Check(t, func(t *rapid.T) {
		if played++; played > few && !failed { // rapid plays a failed sequence again to shorten it
			return
		}
		defer func() { failed = failed || t.Failed() }()
		play(t)
	})
}

// player plays the calls of one sequence to a store and the model.
type player struct {
	d       *desk
	m       *model
	name    string
	lockout otp.Lockout
	message int       // how many message ids were used
	early   time.Time // when the next message id had its first report
}

// compare checks every challenge against the model.
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

// wait moves the clock: by up to two minutes, or to just before, at or just after a
// moment at which something ends.
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
			for _, taken := range p.m.counted[c.Key] {
				moments = append(moments, taken.Add(r.Window))
			}
		}
	}
	for _, until := range p.m.seen {
		moments = append(moments, until)
	}
	for _, work := range p.m.work {
		moments = append(moments, work.until)
	}
	for _, f := range p.allFailures() {
		until, _ := p.m.lock(f)
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

// any draws one of the latest four challenges, or nil and an unknown id.
func (p *player) any(t *rapid.T) (*modelled, otp.ID) {
	latest := p.m.challenges[max(0, len(p.m.challenges)-4):]
	if i := rapid.IntRange(-1, len(latest)-1).Draw(t, "challenge"); i >= 0 {
		return latest[i], latest[i].ID
	}
	return nil, p.d.usual().ID
}

// change makes one call for a challenge. It checks that watchers wake if the model of
// the challenge changes.
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
