package attacks_test

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/testlevel"
	"github.com/caddy-websms/websms/internal/vault"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
	"github.com/caddy-websms/websms/websmstest"
)

// guesses holds the results of an attacker.
type guesses struct {
	sends, wrong int
	sentAt       []time.Time
}

// attackNumber guesses codes for one number for some days, with a new address and browser each
// time, as fast as the gate allows. It waits exactly as long as the gate says. It calls every once
// a day.
func attackNumber(w *harness.World, now *harness.FakeClock, number string, days int, every func(day int)) (g guesses) {
	w.T.Helper()
	end, address := now.Now().AddDate(0, 0, days), netip.MustParseAddr("10.0.0.1")
	day, tomorrow := 0, now.Now()
	for now.Now().Before(end) {
		if every != nil && !now.Now().Before(tomorrow) {
			every(day)
			day, tomorrow = day+1, tomorrow.Add(24*time.Hour)
		}
		address = address.Next()
		b := w.Browser()
		b.Header.Set("X-Forwarded-For", address.String())
		_, asked := tryAsk(b, number)
		if asked.StatusCode == http.StatusAccepted {
			g.sends++
			g.sentAt = append(g.sentAt, now.Now())
			for guess := 0; ; guess++ {
				a := b.AnswerWith("000000") // any guess will do
				if a.StatusCode != http.StatusUnprocessableEntity {
					break
				}
				g.wrong++
			}
			continue
		}
		wait, err := strconv.Atoi(asked.Header.Get("Retry-After"))
		switch {
		case asked.StatusCode != http.StatusTooManyRequests:
			w.T.Fatalf("asking gets %s %s", asked.Status, asked.Text)
		case err != nil:
			w.T.Fatalf("a refusal without a time: %s", asked.Text)
		default:
			now.Advance(time.Duration(wait) * time.Second)
		}
	}
	return g
}

// signInDaily signs in the owner of a number on one day, if the gate sends a code.
func signInDaily(w *harness.World, owner *harness.Browser, number string, day int) {
	w.T.Helper()
	owner.Header.Set("X-Forwarded-For", fmt.Sprintf("172.16.%d.%d", day/250, 1+day%250))
	if code, a := tryAsk(owner, number); a.StatusCode == http.StatusAccepted {
		harness.WantStatus(w.T, "the owner", owner.AnswerWith(code), http.StatusOK)
	}
}

// within returns the largest number of events in any period of that length.
func (g *guesses) within(window time.Duration) int {
	most, first := 0, 0
	for i, at := range g.sentAt {
		for !g.sentAt[first].After(at.Add(-window)) {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// odds returns the probability that at least one of so many guesses is right, for random codes of
// that many digits.
func odds(guesses, digits int) float64 {
	return -math.Expm1(float64(guesses) * math.Log1p(-math.Pow10(-digits)))
}

// An attacker has unlimited addresses and browsers, a year, and another person's number. The limits
// are the gate's defaults.
func TestAttackForAYear(t *testing.T) {
	if testing.Short() {
		t.Skip("a year is played in the full run, without the race detector")
	}
	const gate = "limits {\n per_ip 10/10m 50/24h\n}"
	ownerDays := testlevel.Size(14, 60)
	for _, c := range []struct {
		name  string
		days  int
		daily func(w *harness.World, owner *harness.Browser, number string) func(day int)
		most  int // wrong codes
	}{
		// Only the attacker uses the number: a hundred wrong codes, and then no more.
		{"alone", 365, nil, 100},
		// The owner signs in daily in a browser that has verified the number before. That ends only
		// the browser's own run of failures.
		{"beside the owner's device", testlevel.Size(60, 365), func(w *harness.World, owner *harness.Browser, number string) func(int) {
			return func(day int) {
				signInDaily(w, owner, number, day)
			}
		}, 100},
		// The owner deletes all cookies and signs in daily, which ends a run of failures each time.
		// The sends still limit the attacker: ten a day, one of them the owner's, with five wrong
		// codes each. A part of the year shows it.
		{"beside an owner without a device", ownerDays, func(w *harness.World, _ *harness.Browser, number string) func(int) {
			return func(day int) { signInDaily(w, w.Browser(), number, day) }
		}, ownerDays * 9 * 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := harness.UseClock(t)
			w := harness.Start(t, harness.Setup{Global: harness.TrustLocal, Gate: gate})
			w.Sim.SetWebhook("", "")
			number, owner := harness.FreshNumber(), w.Browser()
			var daily func(int)
			if c.daily != nil {
				daily = c.daily(w, owner, number)
			}
			g := attackNumber(w, now, number, c.days, daily)
			for _, limit := range []struct {
				window time.Duration
				count  int
			}{{10 * time.Minute, 3}, {24 * time.Hour, 10}} {
				if most := g.within(limit.window); most > limit.count {
					t.Errorf("%d codes were sent within %s; the limit is %d", most, limit.window, limit.count)
				}
			}
			if g.wrong > c.most || g.wrong == 0 {
				t.Errorf("%d guesses in %d days; the limits allow %d", g.wrong, c.days, c.most)
			}
			year := g.wrong
			if g.wrong > 100 { // without an end it goes on
				year = g.wrong * 365 / c.days
			}
			t.Logf("in %d days: %d codes sent, %d guesses; probability of success in a year %.2g", c.days, g.sends, g.wrong, odds(year, 6))
		})
	}
}

// tryAsk asks for a code, and waits for it if the gate says that it is sent.
func tryAsk(b *harness.Browser, number string) (code string, a harness.Answer) {
	b.T.Helper()
	newest := func() (m websmstest.Message) {
		if all := b.Sim.Messages(); len(all) > 0 {
			m = all[0]
		}
		return m
	}
	before := newest().ID
	if a = b.Request(number); a.StatusCode == http.StatusAccepted {
		harness.Eventually(b.T, "the message arrives", func() bool { return newest().ID != before })
		code = newest().Code
	}
	return code, a
}

// A million numbers, each from its own address, ask within one window of 24 hours. A plain run has
// 50,000 of them. No counter of an earlier visitor is lost, and the gate still answers.
func TestAttackByAMillion(t *testing.T) {
	if testing.Short() {
		t.Skip("a million asks are made in the full run, without the race detector")
	}
	askers := testlevel.Size(50_000, 1_000_000)
	pause := 22 * time.Hour / time.Duration(askers)
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{
		Global: harness.TrustLocal,
		Gate:   "code {\n ttl 30s\n}\nlimits {\n per_number 1/24h\n per_ip 1/24h\n budget 2000000/24h\n}",
	})
	store, ring := harness.Held(t, "store").(otp.Store), harness.Held(t, "vault").(*vault.Vault).Ring
	number := func(i int) string { return fmt.Sprintf("+6421%07d", i) }
	address := func(i int) string { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String() }
	once := []otp.Rate{{Count: 1, Window: 24 * time.Hour}}
	budget := otp.Counter{Limit: "budget", Key: ring.Digest("budget", ""), Rates: []otp.Rate{{Count: 2_000_000, Window: 24 * time.Hour}}}
	ask := func(i int) error { // only the engine's call of the store; the sends would take an hour
		return store.Reserve(t.Context(), &otp.Reservation{
			ID: session.NewID(), Length: 6, Attempts: 5, Now: now.Now(), TTL: 30 * time.Second,
			Counters: []otp.Counter{
				{Limit: "number", Key: ring.Digest("number", "", number(i)), Rates: once},
				{Limit: "ip", Key: ring.Digest("ip", "", address(i)), Rates: once}, budget,
			},
		})
	}
	before := harness.HeapInUse()
	for i := range askers {
		if err := ask(i); err != nil {
			t.Fatalf("asker %d: %v", i, err)
		}
		now.Advance(pause)
	}
	each := (harness.HeapInUse() - before) / int64(askers)
	t.Logf("%d askers: %d bytes each, for two counters, a place in the budget, and the challenges that live", askers, each)
	// With few visitors, the rest of the process adds some 200 bytes for each.
	if most := testlevel.Size[int64](700, 300); each > most {
		t.Errorf("%d bytes for each asker, want %d at most", each, most)
	}
	var limit *otp.LimitError
	for i := range askers {
		if err := ask(i); !errors.As(err, &limit) {
			t.Fatalf("asker %d, again: %v; want a limit", i, err)
		}
	}
	// The same through HTTP: the number and address of an early visitor still count, and a new
	// visitor is served.
	from := func(i int) http.Header { return harness.With("X-Forwarded-For", address(i)) }
	harness.WantStatus(t, "the first asker's number", w.Browser().Request(number(0), from(askers+1)), http.StatusTooManyRequests)
	harness.WantStatus(t, "the first asker's address", w.Browser().Request(number(askers+2), from(0)), http.StatusTooManyRequests)
	harness.WantStatus(t, "somebody new", w.Browser().Request(number(askers+3), from(askers+3)), http.StatusAccepted)
}
