package otp_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
)

// TestEnginePerIP: per_ip limits an address across all numbers. A sending counts in all
// of its counters or in none.
func TestEnginePerIP(t *testing.T) {
	withEngine(t, nil, func(e *engineBench) {
		e.policy.PerNumber = []otp.Rate{{Count: 1, Window: 30 * time.Minute}}
		e.policy.PerIP = []otp.Rate{{Count: 2, Window: time.Hour}}
		ask := func(number int, ip string) error {
			_, err := e.Issue(context.Background(), &e.policy, otp.Sending{Number: fmt.Sprintf("+642100%04d", number), IP: ip}, otp.ID{})
			synctest.Wait()
			return err
		}
		must := func(number int, ip string) {
			t.Helper()
			if err := ask(number, ip); err != nil {
				t.Fatal(err)
			}
		}
		const ip, another = "192.0.2.1", "2001:db8:1:2::/64"
		must(1, ip)
		for range 3 { // a refusal for the number counts nothing for the address
			e.limited(ask(1, ip), "per_number", 30*time.Minute)
		}
		must(2, ip)
		for i := range 3 { // and a refusal for the address nothing for the numbers
			e.limited(ask(10+i, ip), "per_ip", time.Hour)
		}
		e.limited(ask(1, ip), "per_ip", time.Hour) // the longer wait of two
		must(10, another)
		must(11, another)
		e.limited(ask(12, another), "per_ip", time.Hour)
		must(12, "")
		for i := range 5 { // a sending without an address has no counter per IP
			must(20+i, "")
		}
		other := e.policy
		other.Scope = "other.example.com"
		s := otp.Sending{Number: "+6421000099", IP: ip}
		if _, err := e.Issue(context.Background(), &other, s, otp.ID{}); err != nil {
			t.Errorf("the same address in another scope: %v", err)
		}
		synctest.Wait()
		time.Sleep(time.Hour)
		must(3, ip)
	})
}

// TestEnginePerIPReturn: a sending that was certainly refused is given back to the address
// too. One that may have arrived is not. A resend counts.
func TestEnginePerIPReturn(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		back bool
	}{
		{"sent", nil, false},
		{"refused", &connexus.Error{Kind: connexus.KindFunds}, true},
		{"perhaps sent", &connexus.Error{Kind: connexus.KindTimeout, MaybeAccepted: true}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			withEngine(t, nil, func(e *engineBench) {
				e.policy.PerIP = []otp.Rate{{Count: 2, Window: time.Hour}}
				e.outbox.reply = func(context.Context, connexus.OTP) (connexus.Receipt, error) { return connexus.Receipt{}, c.err }
				s := otp.Sending{IP: "192.0.2.1"}
				e.resend(e.issue(s).ID, s)
				s.Number = "+6421999999"
				for range 2 {
					_, err := e.Issue(context.Background(), &e.policy, s, otp.ID{})
					if c.back && err != nil {
						t.Errorf("after two that were given back: %v", err)
					} else if !c.back {
						e.limited(err, "per_ip", time.Hour-30*time.Second)
					}
				}
			})
		})
	}
}

// strain is one call of a Sending's Strained, with its time.
type strain struct {
	used int
	of   otp.Rate
	at   time.Time
}

// strains collects the calls of Strained.
type strains struct {
	mu   sync.Mutex
	list []strain
}

func (s *strains) tell(used int, of otp.Rate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, strain{used, of, time.Now()})
}

// take returns the calls since the last take.
func (s *strains) take() []strain {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.list = nil }()
	return s.list
}

// TestEngineStrained: Strained is called for the sending that brings a budget to four
// fifths. It is not called for those before and after, and again in the next window.
func TestEngineStrained(t *testing.T) {
	for _, c := range []struct{ budget, told int }{
		{1, 1}, {2, 2}, {3, 3}, {4, 4}, {5, 4}, {6, 5}, {9, 8}, {10, 8}, {100, 80}, {101, 81},
	} {
		withEngine(t, nil, func(e *engineBench) {
			rate := otp.Rate{Count: c.budget, Window: time.Hour}
			e.policy.Budget = []otp.Rate{rate}
			var told strains
			for window := range 3 {
				for i := range c.budget {
					e.issue(otp.Sending{Unlisted: i%3 == 1, Strained: told.tell}) // unlisted numbers count as well
					got := told.take()
					if want := i+1 == c.told; (len(got) == 1) != want || len(got) > 1 || want && (got[0].used != c.told || got[0].of != rate) {
						t.Fatalf("window %d, sending %d of %d: told %v", window, i+1, c.budget, got)
					}
				}
				if _, err := e.Issue(context.Background(), &e.policy, otp.Sending{Number: someNumber, Strained: told.tell}, otp.ID{}); err == nil {
					t.Fatal("a sending beyond the budget")
				}
				if got := told.take(); len(got) != 0 {
					t.Errorf("a refused sending told %v", got)
				}
				time.Sleep(time.Hour)
			}
		})
	}
}

// TestEngineStrainedAgain: if a budget stays at four fifths or more, Strained is called
// again exactly one window later.
func TestEngineStrainedAgain(t *testing.T) {
	withEngine(t, nil, func(e *engineBench) {
		e.policy.Budget = []otp.Rate{{Count: 5, Window: time.Hour}}
		var told strains
		began := time.Now()
		for range 4 {
			e.issue(otp.Sending{Strained: told.tell})
		}
		time.Sleep(time.Hour - 1)
		e.issue(otp.Sending{Strained: told.tell}) // the fifth
		time.Sleep(time.Nanosecond)
		for range 3 { // up to four again
			e.issue(otp.Sending{Strained: told.tell})
		}
		var after []time.Duration
		for _, strain := range told.take() {
			after = append(after, strain.at.Sub(began))
		}
		if want := []time.Duration{0, time.Hour}; !slices.Equal(after, want) {
			t.Errorf("told after %v, want %v", after, want)
		}
	})
}

// TestEngineStrainedCleared: after ClearBudget, Strained is called again in the same
// window.
func TestEngineStrainedCleared(t *testing.T) {
	withEngine(t, nil, func(e *engineBench) {
		e.policy.Budget = []otp.Rate{{Count: 5, Window: time.Hour}, {Count: 5, Window: 90 * time.Second}}
		var told strains
		for range 2 {
			for range 4 {
				e.issue(otp.Sending{Strained: told.tell})
			}
			if got := told.take(); len(got) != 2 {
				t.Errorf("told %v, want each rate once", got)
			}
			if had, err := e.ClearBudget(context.Background(), e.policy.Scope, e.policy.Budget); err != nil || !had {
				t.Fatalf("ClearBudget: %t, %v", had, err)
			}
		}
	})
}

// TestEngineStrainedAtOnce: of many sendings at the same moment, one calls Strained for
// each rate. Resends count too, and scopes are counted apart.
func TestEngineStrainedAtOnce(t *testing.T) {
	withEngine(t, nil, func(e *engineBench) {
		rates := []otp.Rate{{Count: 50, Window: time.Hour}, {Count: 60, Window: 24 * time.Hour}}
		e.policy.Budget, e.policy.Cooldown = rates, 0
		other := e.policy
		other.Scope = "other.example.com"
		var told, elsewhere strains
		s := otp.Sending{Number: someNumber, Strained: told.tell}
		first := e.issue(s)
		for range 14 {
			if _, err := e.Resend(context.Background(), &e.policy, s, first.ID); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if got := told.take(); len(got) != 0 {
			t.Errorf("told %v of 15 sendings", got)
		}
		var crowd sync.WaitGroup
		issue := func(p *otp.Policy, s otp.Sending) {
			crowd.Go(func() {
				if _, err := e.Issue(context.Background(), p, s, otp.ID{}); err != nil {
					t.Errorf("Issue: %v", err)
				}
			})
		}
		for range 35 {
			issue(&e.policy, s)
		}
		for range 45 {
			issue(&other, otp.Sending{Number: someNumber, Strained: elsewhere.tell})
		}
		crowd.Wait()
		synctest.Wait()
		for _, c := range []struct {
			told []strain
			want []otp.Rate
		}{
			{told.take(), rates},          // 50 sendings
			{elsewhere.take(), rates[:1]}, // 45
		} {
			var of []otp.Rate
			for _, strain := range c.told {
				of = append(of, strain.of)
				if strain.used*5 < strain.of.Count*4 || strain.used > strain.of.Count {
					t.Errorf("told of %d of %v", strain.used, strain.of)
				}
			}
			slices.SortFunc(of, func(a, b otp.Rate) int { return a.Count - b.Count })
			if !slices.Equal(of, c.want) {
				t.Errorf("told of %v, want each of %v once", of, c.want)
			}
		}
		e.policy.Budget = nil // without a budget there are no calls
		e.issue(s)
		e.policy.Budget = []otp.Rate{{Count: 1, Window: time.Minute}}
		time.Sleep(24 * time.Hour)
		e.issue(otp.Sending{}) // without Strained there are no calls
		if got := told.take(); len(got) != 0 {
			t.Errorf("told %v without a budget", got)
		}
	})
}
