package storetest

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/testlevel"
	"github.com/caddy-websms/websms/otp"
)

var tryTests = []test{
	{"a rate of tries", triesWithin},
	{"tries are apart", triesApart},
	{"a crowd of tries", triesOfACrowd},
	{"a clock that was ahead", triesAhead},
}

func tries(key string) otp.Counter {
	return counter("recovery_tries", key, otp.Rate{Count: 3, Window: 10 * time.Minute})
}

// try counts one try, and checks the wait of its refusal. 0 means that it is allowed.
func (d *desk) try(scope string, c otp.Counter, want time.Duration) {
	d.Helper()
	err := d.store.Try(ctx, scope, c, d.now)
	if want > 0 {
		d.refused(err, c.Limit, want)
	} else if err != nil {
		d.Fatalf("Try: %v", err)
	}
}

func triesWithin(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	c := tries("a")
	for i := range 3 {
		d.now = epoch.Add(time.Duration(i) * time.Minute)
		d.try(scope, c, 0)
	}
	for range 10 { // refused tries do not count
		d.try(scope, c, 8*time.Minute)
	}
	d.now = epoch.Add(10*time.Minute - tick)
	d.try(scope, c, tick)
	d.now = epoch.Add(10 * time.Minute)
	d.try(scope, c, 0)
	d.try(scope, c, time.Minute)
}

func triesApart(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	for range 3 {
		d.try(scope, tries("a"), 0)
	}
	d.try(scope, tries("a"), 10*time.Minute)
	d.try(scope, tries("b"), 0)
	d.reserve(counter("recovery_tries", "b", otp.Rate{Count: 4, Window: time.Hour}))
}

func triesOfACrowd(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	for round := range testlevel.Size(4, 10) {
		d.now = epoch.Add(time.Duration(round) * 10 * time.Minute)
		var taken atomic.Int32
		crowd(64, func(int) {
			var limit *otp.LimitError
			switch err := d.store.Try(ctx, scope, tries("a"), d.now); {
			case err == nil:
				taken.Add(1)
			case !errors.As(err, &limit) || limit.RetryAfter != 10*time.Minute:
				t.Errorf("Try: %v", err)
			}
		})
		if taken.Load() != 3 {
			t.Fatalf("%d tries, want 3", taken.Load())
		}
	}
}

// triesAhead: tries that were counted while the clock was ahead end with their window.
func triesAhead(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	d.now = epoch.Add(240 * time.Hour)
	for range 3 {
		d.try(scope, tries("a"), 0)
	}
	d.now = epoch
	d.refusedWithin(d.store.Try(ctx, scope, tries("a"), d.now), 10*time.Minute)
	d.now = epoch.Add(10 * time.Minute)
	d.try(scope, tries("a"), 0)
}

// refusedWithin checks that err is a refusal with a wait of at most most.
func (d *desk) refusedWithin(err error, most time.Duration) {
	d.Helper()
	var limit *otp.LimitError
	if err != nil && (!errors.As(err, &limit) || limit.RetryAfter <= 0 || limit.RetryAfter > most) {
		d.Fatalf("refused with %v, want a wait of %v at most", err, most)
	}
}
