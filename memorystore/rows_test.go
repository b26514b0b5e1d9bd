package memorystore

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
)

// rowsOf describes all counters and failures of a store that count at a time.
func rowsOf(m *memory, now time.Time) map[string]string {
	all := make(map[string]string)
	for key, place := range m.counters.places {
		c := m.counters.at(int(place)).value
		if c.idle(now) {
			continue
		}
		var text strings.Builder
		fmt.Fprint(&text, *c.demand)
		for _, w := range []*otp.Window{&c.window, c.returns} {
			text.WriteString(" -")
			if w == nil {
				continue
			}
			for i := w.Count(now, c.demand.longest); i > 0; i-- { // earlier moments do not count any more
				fmt.Fprint(&text, " ", momentAt(w, i))
			}
		}
		all[fmt.Sprintf("counter %x", key)] = text.String()
	}
	for key, place := range m.failures.places {
		f := m.failures.at(int(place)).value
		if f.idle(now) {
			continue
		}
		text := fmt.Sprint(f.strangers.count, f.strangers.until, f.strangers.moments)
		for _, device := range slices.SortedFunc(maps.Keys(f.devices), func(a, b tableKey) int { return slices.Compare(a[:], b[:]) }) {
			s := f.devices[device]
			text += fmt.Sprintf(" %x %v %v %v", device, s.count, s.until, s.moments)
		}
		all[fmt.Sprintf("failures %x", key)] = text
	}
	return all
}

// wantSameRows sees that two stores count the same.
func wantSameRows(t interface {
	Helper()
	Errorf(string, ...any)
}, got, want *memory, now time.Time) {
	t.Helper()
	gotRows, wantRows := rowsOf(got, now), rowsOf(want, now)
	for key, row := range wantRows {
		if gotRows[key] != row {
			t.Errorf("%s is %q, want %q", key, gotRows[key], row)
		}
	}
	for key, row := range gotRows {
		if _, ok := wantRows[key]; !ok {
			t.Errorf("%s is %q, and there should be none", key, row)
		}
	}
}

// twins are a store that is closed and opened again at random times, and a
// store that never is. To every call they give the same answer.
type twins struct {
	t      *testing.T
	dir    string
	saved  *savedStore
	other  *memory
	now    time.Time
	asked  []*otp.Reservation
	name   int // of the sequence: each has counters of its own
	serial int
}

// TestFileTwins plays random calls to both stores, and compares their rows
// after a crash.
func TestFileTwins(t *testing.T) {
	day, name := storeEpoch, 0
	check(t, func(r *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			r.Fatal(err)
		}
		name++
		p := &twins{t: t, dir: dir, other: openMemory(t, 1000), now: day, name: name}
		p.open()
		defer func() { p.saved.close() }()
		r.Repeat(map[string]func(*rapid.T){
			"reserve": p.reserve, "attempt": p.attempt, "resend": p.resend, "settle": p.settle, "report": p.report,
			"first": p.first, "unlock": p.unlock, "wait": p.wait, "restart": p.restart, "crash": p.crash, "flush": p.flush,
			"": p.compare,
		})
	})
}

func (p *twins) open() {
	p.saved = openSaved(p.t, p.dir, p.now)
}

// counters are few and small, so that limits are reached.
func (p *twins) counters(t *rapid.T) (list []otp.Counter) {
	for i := range 3 {
		if !rapid.Bool().Draw(t, "counted") {
			continue
		}
		rates := []otp.Rate{{Count: 1 + i, Window: time.Minute}, {Count: 3 + i, Window: 10 * time.Minute}}
		c := testCounter(p.name*10+i, rates[:1+i%2]...)
		c.Limit = fmt.Sprint("limit ", i)
		list = append(list, c)
	}
	return list
}

func (p *twins) run(t *rapid.T) otp.Failures {
	run := testFailures(p.name*10+rapid.IntRange(0, 1).Draw(t, "number"), rapid.IntRange(0, 6).Draw(t, "device"))
	run.Lockout = otp.Lockout{Count: 2, For: time.Minute, Max: rapid.IntRange(5, 6).Draw(t, "max")}
	return run
}

// both asks both, and sees that they answer alike.
func (p *twins) both(t *rapid.T, what string, ask func(otp.Store) string) {
	if got, want := ask(p.saved), ask(p.other); got != want {
		t.Fatalf("%s: %s, and %s where it was never closed", what, got, want)
	}
}

func recordText(rec otp.Record, err error) string {
	if errors.Is(err, otp.ErrUsed) { // the file does not say which codes were right
		rec, err = otp.Record{}, otp.ErrNoChallenge
	}
	rec.ExpiresAt, rec.ResendAt = rec.ExpiresAt.UTC(), rec.ResendAt.UTC()
	return fmt.Sprintf("%+v %v", rec, err)
}

func (p *twins) any(t *rapid.T) otp.ID {
	if len(p.asked) == 0 {
		t.Skip("none yet")
	}
	latest := p.asked[max(0, len(p.asked)-4):]
	return latest[rapid.IntRange(0, len(latest)-1).Draw(t, "challenge")].ID
}

func (p *twins) reserve(t *rapid.T) {
	r := testReservation(p.now, p.counters(t)...)
	r.Failures, r.Sealed = p.run(t), []byte("sealed")
	r.TTL = rapid.SampledFrom([]time.Duration{time.Minute, 5 * time.Minute}).Draw(t, "ttl")
	if len(p.asked) > 0 && rapid.Bool().Draw(t, "replaces") {
		r.Replaces = p.any(t)
	}
	p.both(t, "Reserve", func(s otp.Store) string { return fmt.Sprint(s.Reserve(ctxBg, r)) })
	p.asked = append(p.asked, r)
}

func (p *twins) attempt(t *rapid.T) {
	id := p.any(t)
	a := &otp.Answer{Failures: p.run(t), Now: p.now}
	if rapid.IntRange(0, 3).Draw(t, "right") == 0 {
		a.Proof = testProof(id)
	}
	p.both(t, "Attempt", func(s otp.Store) string { return recordText(s.Attempt(ctxBg, id, a)) })
}

func (p *twins) resend(t *rapid.T) {
	id := p.any(t)
	r := &otp.Renewal{Now: p.now, TTL: 5 * time.Minute, Cooldown: time.Second, Counters: p.counters(t), Failures: p.run(t)}
	p.both(t, "Resend", func(s otp.Store) string { return recordText(s.Resend(ctxBg, id, r)) })
}

func (p *twins) settle(t *rapid.T) {
	if len(p.asked) == 0 {
		t.Skip("none yet")
	}
	r := p.asked[rapid.IntRange(max(0, len(p.asked)-4), len(p.asked)-1).Draw(t, "challenge")]
	s := &otp.Settlement{Sending: 1, Status: otp.Accepted, Taken: r.Now, Now: p.now}
	// A sending that counts no more is not given back to a counter that is forgotten, and may be to one that is idle.
	if p.now.Sub(r.Now) < time.Minute && rapid.Bool().Draw(t, "refused") {
		s.Refused, s.Status, s.Return = true, otp.Failed, r.Counters
	} else {
		s.MessageID = fmt.Sprint("MSG", p.serial)
		p.serial++
	}
	p.both(t, "Settle", func(store otp.Store) string { return fmt.Sprint(store.Settle(ctxBg, r.ID, s)) })
}

func (p *twins) report(t *rapid.T) {
	id := fmt.Sprint("MSG", max(0, p.serial-rapid.IntRange(0, 3).Draw(t, "message")))
	state := rapid.SampledFrom([]connexus.State{connexus.StateQueued, connexus.StateUndelivered, connexus.StateDelivered}).Draw(t, "state")
	p.both(t, "Report", func(s otp.Store) string {
		age, moved, err := s.Report(ctxBg, id, state, p.now)
		return fmt.Sprint(age, moved, err)
	})
}

func (p *twins) first(t *rapid.T) {
	key := testCounter(rapid.IntRange(0, 2).Draw(t, "key")).Key
	p.both(t, "First", func(s otp.Store) string { return fmt.Sprint(s.First(ctxBg, key, time.Minute, p.now)) })
	if rapid.IntRange(0, 3).Draw(t, "done") == 0 {
		p.both(t, "Done", func(s otp.Store) string { return fmt.Sprint(s.Done(ctxBg, key, time.Minute, p.now)) })
	}
}

func (p *twins) unlock(t *rapid.T) {
	number := p.run(t).Number
	p.both(t, "Unlock", func(s otp.Store) string { return fmt.Sprint(s.Unlock(ctxBg, "", number)) })
}

func (p *twins) wait(t *rapid.T) {
	waits := []int{1, 999_999, 59_999_999, 60_000_000, 600_000_000}
	p.now = p.now.Add(time.Duration(rapid.SampledFrom(waits).Draw(t, "µs")) * time.Microsecond)
	// Live removes expired challenges from both stores. Otherwise a store may choose between two refusals.
	p.both(t, "Live", func(s otp.Store) string { return fmt.Sprint(s.Live(ctxBg, p.now)) })
}

func (p *twins) flush(*rapid.T) { p.saved.flush() }

// restart closes the one and opens it again.
func (p *twins) restart(*rapid.T) {
	p.saved.close()
	p.open()
}

// crash compares the rows that a crash would leave now. The store itself goes
// on.
func (p *twins) crash(t *rapid.T) {
	p.saved.flush()
	c := p.saved.crashed(p.now)
	defer c.close()
	wantSameRows(t, c.memory, p.other, p.now)
}

// compare looks at the latest challenges and at every counter.
func (p *twins) compare(t *rapid.T) {
	for _, r := range p.asked[max(0, len(p.asked)-4):] {
		p.both(t, "Get", func(s otp.Store) string { return recordText(s.Get(ctxBg, "", r.ID, p.now)) })
	}
	wantSameRows(t, p.saved.memory, p.other, p.now)
}

// A gate that needs less than other gates did before a restart does not shorten
// the memory of a counter.
func TestFileDemand(t *testing.T) {
	t.Parallel()
	dir, now := t.TempDir(), storeEpoch
	daily := testCounter(1, otp.Rate{Count: 2, Window: time.Minute}, otp.Rate{Count: 3, Window: 24 * time.Hour})
	short := testCounter(1, daily.Rates[0])
	take := func(s *savedStore, c otp.Counter) {
		t.Helper()
		if err := s.Reserve(ctxBg, testReservation(now, c)); err != nil {
			t.Fatal(err)
		}
	}
	s := openSaved(t, dir, now)
	take(s, daily)
	for range 2 {
		s.close()
		now = now.Add(time.Hour)
		s = openSaved(t, dir, now)
		take(s, short)
	}
	wantLimit(t, s.Reserve(ctxBg, testReservation(now, daily)), "number", 22*time.Hour)
}
