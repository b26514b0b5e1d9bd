package otp

import (
	"context"
	"fmt"
	"time"
)

// Rate is a limit: at most Count within any stretch of time as long as Window.
type Rate struct {
	Count  int
	Window time.Duration
}

// String returns the count and the window: "3/10m0s".
func (r Rate) String() string { return fmt.Sprintf("%d/%s", r.Count, r.Window) }

// Lockout is what wrong codes in a row for one number lead to, across
// challenges: while it is locked, none is sent and none taken, whatever the
// lockout of who asks.
type Lockout struct {
	Count int           // so many since the latest lock lock it for a time; 0: never
	For   time.Duration // so long
	// Max lock it until an operator unlocks it (NIST SP 800-63B-4, 3.2.2: at
	// most 100); 0: never.
	Max int
}

// MaxFailures is the largest Count and the largest Max of a Lockout. NIST SP
// 800-63B-4, 3.2.2 allows 100 wrong codes in a row. So a store has to know when
// the latest MaxFailures of them came, and no more.
const MaxFailures = 100

// LimitError says that a limit was reached. Nothing was sent and nothing counted,
// unless it is joined with ErrWrongCode, whose attempt was.
type LimitError struct {
	Limit string // "per_number", "per_ip", "budget", "cooldown", "lockout" or "max_failures"
	// RetryAfter is until it would be allowed, if nobody else asks; 0: an
	// operator must unlock it first.
	RetryAfter time.Duration
}

// Locked reports whether wrong codes are the reason.
func (e *LimitError) Locked() bool { return e.Limit == "lockout" || e.Limit == "max_failures" }

func (e *LimitError) Error() string {
	if e.RetryAfter <= 0 {
		return fmt.Sprintf("limit %s reached; an operator must unlock the number", e.Limit)
	}
	return fmt.Sprintf("limit %s reached; retry after %s", e.Limit, e.RetryAfter)
}

// counters returns what one sending is counted under.
func (e *Engine) counters(p *Policy, s *Sending) []Counter {
	list := make([]Counter, 0, 3)
	if len(p.PerNumber) > 0 {
		list = append(list, Counter{"per_number", e.ring.Digest("number", p.Scope, s.Number), p.PerNumber})
	}
	if len(p.PerClient) > 0 && s.Client != "" {
		list = append(list, Counter{"per_ip", e.ring.Digest("ip", p.Scope, s.Client), p.PerClient})
	}
	if len(p.Budget) > 0 {
		list = append(list, e.budget(p))
	}
	return list
}

func (e *Engine) budget(p *Policy) Counter {
	return Counter{"budget", e.ring.Digest("budget", p.Scope), p.Budget}
}

// run returns under what a wrong code for number is counted.
func (e *Engine) run(p *Policy, number, device string) Run {
	r := Run{Number: e.failures(p.Scope, number), Lockout: p.Lockout}
	if device != "" {
		r.Device = e.ring.Digest("device failures", p.Scope, number, device)
	}
	return r
}

func (e *Engine) failures(scope, number string) Digest {
	return e.ring.Digest("failures", scope, number)
}

// strained tells s of the budget's rates that are four fifths used, once for
// each of their windows, on whichever node.
func (e *Engine) strained(p *Policy, s *Sending) {
	if s.Strained == nil || len(p.Budget) == 0 {
		return
	}
	ctx := context.Background()
	used, err := e.store.Used(ctx, p.Scope, e.budget(p), e.now())
	if err != nil {
		return // the sending itself tells of a store that is down
	}
	for i, of := range p.Budget {
		if used[i]*5 < of.Count*4 {
			continue
		}
		if first, err := e.First(ctx, of.Window, "budget", p.Scope, of.String()); err == nil && first {
			s.Strained(used[i], of)
		}
	}
}
