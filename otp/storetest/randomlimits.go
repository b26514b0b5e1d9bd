package storetest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/otp"
)

// counters returns the counters of the sequence: two of numbers, and a budget for all.
func (p *player) counters() []otp.Counter {
	number := []otp.Rate{{Count: 2, Window: time.Minute}, {Count: 4, Window: 10 * time.Minute}}
	return []otp.Counter{
		counter("number", p.name+"a", number...),
		counter("number", p.name+"b", number...),
		counter("budget", p.name, otp.Rate{Count: 6, Window: 5 * time.Minute}),
	}
}

// some draws counters in some order.
func (p *player) some(t *rapid.T) []otp.Counter {
	all := p.counters()
	picked := rapid.SampledFrom([][]int{{}, {0}, {1}, {2}, {0, 2}, {2, 1}, {1, 2}}).Draw(t, "counters")
	var list []otp.Counter
	for _, i := range picked {
		list = append(list, all[i])
	}
	return list
}

// allFailures returns the failures of the sequence. There are two numbers, each with
// strangers and one device. The first number also has more devices than can have
// failures of their own.
func (p *player) allFailures() []otp.Failures {
	var all []otp.Failures
	for _, number := range []string{"a", "b"} {
		for _, device := range []string{"", "d0"} {
			all = append(all, failuresOf(p.name+number, device, p.lockout))
		}
	}
	for device := 1; device <= 2*otp.MaxDevices; device++ {
		all = append(all, failuresOf(p.name+"a", fmt.Sprint("d", device), p.lockout))
	}
	return all
}

// failures draws the failures that a wrong code counts to. It favours a few, so that
// locks are reached.
func (p *player) failures(t *rapid.T) otp.Failures {
	all := append([]otp.Failures{{Lockout: p.lockout}}, p.allFailures()...)
	favoured := []int{1, 1, 1, 1, 2, 2, 3, 4, 0}
	for i := len(favoured); i < len(all); i++ {
		favoured = append(favoured, i)
	}
	return all[rapid.SampledFrom(favoured).Draw(t, "failures")]
}

// limited checks err against all limits of the model, and reports whether one refuses.
func (p *player) limited(t *rapid.T, f otp.Failures, list []otp.Counter, cooldown time.Duration, err error) bool {
	until, forever := p.m.lock(f)
	if forever {
		p.d.refused(err, "max_failures", 0)
		return true
	}
	wait := p.m.wait(list, p.d.now)
	limits := p.m.last(list, p.d.now, wait)
	for limit, other := range map[string]time.Duration{"cooldown": cooldown, "lockout": until.Sub(p.d.now)} {
		if other == wait {
			limits = append(limits, limit)
		} else if other > wait {
			wait, limits = other, []string{limit}
		}
	}
	if wait == 0 {
		if err != nil {
			t.Fatalf("refused: %v", err)
		}
		return false
	}
	p.d.refused(err, "", wait)
	var limit *otp.LimitError
	if errors.As(err, &limit) && !slices.Contains(limits, limit.Limit) {
		t.Fatalf("limit %q reached, want one of %q", limit.Limit, limits)
	}
	return true
}

func (p *player) unlock(t *rapid.T) {
	f := p.failures(t)
	p.d.unlock(f, p.m.unlock(f.Number))
}

func (p *player) used(t *rapid.T) {
	c := rapid.SampledFrom(p.counters()).Draw(t, "counter")
	p.d.used(c, p.m.used(c, p.d.now)...)
}

// clear is drawn seldom, so that limits are reached.
func (p *player) clear(t *rapid.T) {
	if rapid.IntRange(0, 4).Draw(t, "clear") > 0 {
		t.Skip("later")
	}
	c := rapid.SampledFrom(p.counters()).Draw(t, "counter")
	had, err := p.d.store.Clear(ctx, scope, c)
	if len(p.m.counted[c.Key]) > 0 && p.d.now.Sub(p.m.counted[c.Key][len(p.m.counted[c.Key])-1]) < time.Minute && !had || err != nil {
		t.Fatalf("Clear: %t, %v", had, err)
	}
	delete(p.m.counted, c.Key)
	delete(p.m.returns, c.Key)
	p.d.now = p.d.now.Add(tick) // sendings at one moment cannot be told apart
}
