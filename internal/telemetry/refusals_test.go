package telemetry

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// A crowd of refusals leaves one line of each reason in a second, in any order in which the
// goroutines read the clock.
func TestRefusalsCrowd(t *testing.T) {
	core, lines := observer.New(zapcore.WarnLevel)
	var ticks atomic.Int64
	begin := time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC)
	// Each reading of the clock is a nanosecond earlier or later than the one before.
	log := NewRefusals(zap.New(core), func() time.Time {
		n := ticks.Add(1)
		return begin.Add(time.Duration(n * (1 - n%2*2)))
	})
	var crowd sync.WaitGroup
	for range 64 {
		crowd.Go(func() {
			for reason := range reasons {
				log.Log(Refusal{Reason: reason})
			}
		})
	}
	crowd.Wait()
	seen := map[any]int{}
	for _, line := range lines.All() {
		seen[line.ContextMap()["reason"]]++
	}
	if len(seen) != int(reasons) || lines.Len() != int(reasons) {
		t.Errorf("the lines are %v, want one of each reason", seen)
	}
}

func TestRefusalsNil(t *testing.T) {
	(*Refusals)(nil).Log(Refusal{Reason: ReasonTooLarge}) // a webhook without a configuration
}
