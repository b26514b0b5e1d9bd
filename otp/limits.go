package otp

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Rate is a limit: at most Count in any period as long as Window. For example, 3 in
// 10 minutes allows three codes in any ten minutes.
type Rate struct {
	Count  int
	Window time.Duration
}

// String returns the count and the window as a configuration has them, such as "3/10m".
func (r Rate) String() string {
	window := r.Window.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(window, zero) {
			window = window[:len(window)-2]
		}
	}
	return fmt.Sprintf("%d/%s", r.Count, window)
}

// Lockout says when failures (wrong codes in a row) lock a number. They count across
// challenges. While a number is locked, no code is sent to it and no code is
// accepted, also for callers with another Lockout.
type Lockout struct {
	Count int           // this many failures since the latest lock cause a lock; 0 for none
	For   time.Duration // the length of that lock
	// Max failures lock the number until an operator unlocks it; 0 for no such
	// lock. NIST SP 800-63B-4, section 3.2.2, allows at most 100.
	Max int
}

// MaxFailures is the largest Count and the largest Max of a Lockout. NIST SP
// 800-63B-4, 3.2.2 allows 100 wrong codes in a row. So a store has to know when
// the latest MaxFailures of them came, and no more.
const MaxFailures = 100

// LimitError says that a limit was reached. Nothing was sent and nothing counted. If
// the error is joined with ErrWrongCode, the attempt was counted.
type LimitError struct {
	// Limit is "per_number", "per_ip", "budget", "cooldown", "lockout",
	// "max_failures", "recovery_codes" or "recovery_tries".
	Limit string
	// RetryAfter is the wait until the step is allowed, if nobody else uses up the
	// limit first. If it is 0, an operator must unlock the number.
	RetryAfter time.Duration
}

// Locked reports whether failures are the reason: the limit is "lockout" or
// "max_failures".
func (e *LimitError) Locked() bool { return e.Limit == "lockout" || e.Limit == "max_failures" }

// Error names the limit and the wait.
func (e *LimitError) Error() string {
	if e.RetryAfter <= 0 {
		return fmt.Sprintf("limit %s reached; an operator must unlock the number", e.Limit)
	}
	return fmt.Sprintf("limit %s reached; retry after %s", e.Limit, e.RetryAfter)
}

// counters returns the counters of one sending.
func (e *Engine) counters(p *Policy, s *Sending) []Counter {
	list := make([]Counter, 0, 3)
	if len(p.PerNumber) > 0 {
		list = append(list, Counter{Limit: "per_number", Key: e.numberKey(p.Scope, s.Number), Rates: p.PerNumber})
	}
	if len(p.PerIP) > 0 && s.IP != "" {
		list = append(list, Counter{Limit: "per_ip", Key: e.ring.Digest("ip", p.Scope, s.IP), Rates: p.PerIP})
	}
	if len(p.Budget) > 0 {
		list = append(list, e.budget(p))
	}
	return list
}

func (e *Engine) budget(p *Policy) Counter {
	return Counter{Limit: "budget", Key: e.ring.Digest("budget", p.Scope), Rates: p.Budget}
}

// numberKey returns the key of the counter for the sendings to a number.
func (e *Engine) numberKey(scope, number string) Digest {
	return e.ring.Digest("number", scope, number)
}

// failures returns the place where a wrong code for number is counted.
func (e *Engine) failures(p *Policy, number, device string) Failures {
	f := Failures{Number: e.failuresKey(p.Scope, number), Lockout: p.Lockout}
	if device != "" {
		f.Device = e.ring.Digest("device failures", p.Scope, number, device)
	}
	return f
}

func (e *Engine) failuresKey(scope, number string) Digest {
	return e.ring.Digest("failures", scope, number)
}

// strained calls s.Strained for each rate of the budget that is four fifths used. It
// does so once in each window, over all nodes.
func (e *Engine) strained(p *Policy, s *Sending) {
	if s.Strained == nil || len(p.Budget) == 0 {
		return
	}
	ctx := context.Background()
	used, err := e.store.Used(ctx, p.Scope, e.budget(p), e.now())
	if err != nil {
		return // the sending itself reports a store that is down
	}
	for i, of := range p.Budget {
		if used[i]*5 < of.Count*4 {
			continue
		}
		if first, err := e.First(ctx, of.Window, strainedMark(p.Scope, of)...); err == nil && first {
			s.Strained(used[i], of)
		}
	}
}

// strainedMark returns the parts by which First knows a rate of a budget. They do not
// have Rate.String, because earlier releases wrote the window as "1h0m0s".
func strainedMark(scope string, of Rate) []string {
	return []string{"budget", scope, fmt.Sprintf("%d/%s", of.Count, of.Window)}
}
