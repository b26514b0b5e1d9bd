package telemetry

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-websms/websms/connexus"
)

// bank answers asks for the balance after a time.
type bank struct {
	amount atomic.Int64
	takes  time.Duration
	fails  atomic.Bool
	asks   atomic.Int64
}

func (b *bank) ask(ctx context.Context) (connexus.Balance, error) {
	b.asks.Add(1)
	select {
	case <-time.After(b.takes):
	case <-ctx.Done():
		return connexus.Balance{}, ctx.Err()
	}
	if b.fails.Load() {
		return connexus.Balance{}, errors.New("no")
	}
	return connexus.Balance{Amount: float64(b.amount.Load())}, nil
}

// Each test has a synctest bubble, so that times are exact and take none.
func TestBalanceOfScrapes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bank{takes: 300 * time.Millisecond}
		b.amount.Store(12)
		k := NewBalanceKeeper(b.ask, time.Now)
		scrape := func(amount float64, known bool, waits time.Duration, asks int64) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			start := time.Now()
			got, ok := k.Recent(ctx)
			if ok != known || ok && got.Amount != amount || time.Since(start) != waits || b.asks.Load() != asks {
				t.Errorf("%v %t after %s and %d asks; want %v %t after %s and %d",
					got.Amount, ok, time.Since(start), b.asks.Load(), amount, known, waits, asks)
			}
			synctest.Wait() // the ask has begun
		}
		scrape(12, true, b.takes, 1) // the first one waits
		b.amount.Store(11)
		for range 4 {
			time.Sleep(time.Minute)
			scrape(12, true, 0, 1)
		}
		time.Sleep(time.Minute)
		scrape(12, true, 0, 1) // starts an ask, and does not wait for it
		time.Sleep(time.Second)
		scrape(11, true, 0, 2)

		b.fails.Store(true)
		time.Sleep(balanceAge)
		scrape(11, true, 0, 2)
		time.Sleep(balanceAge)
		scrape(11, true, 0, 3)
		time.Sleep(balanceAge)
		scrape(0, false, b.takes, 5) // too old: it counts as unknown
		scrape(0, false, 0, 5)       // and no scrape waits until the next ask
		b.fails.Store(false)
		b.takes = time.Hour // WebSMS hangs
		time.Sleep(balanceAge)
		scrape(0, false, time.Second, 6)
		k.Close() // ends the ask
		scrape(0, false, 0, 6)
		time.Sleep(time.Hour)
		scrape(0, false, 0, 6)
	})
}

func TestBalanceOfOperators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bank{takes: 300 * time.Millisecond}
		b.amount.Store(12)
		k := NewBalanceKeeper(b.ask, time.Now)
		read := func(amount float64, known bool, asks int64) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if got, ok := k.Fresh(ctx); ok != known || got.Amount != amount || b.asks.Load() != asks {
				t.Errorf("%v %t after %d asks; want %v %t after %d", got.Amount, ok, b.asks.Load(), amount, known, asks)
			}
		}
		read(12, true, 1)
		b.amount.Store(11)
		read(12, true, 1)
		time.Sleep(balancePause)
		read(11, true, 2)
		b.fails.Store(true)
		time.Sleep(balancePause)
		read(11, true, 3)

		var readers sync.WaitGroup
		time.Sleep(balancePause)
		b.fails.Store(false)
		for range 100 { // at once
			readers.Go(func() { read(11, true, 4) })
		}
		readers.Wait()
	})
}

func TestNoBalance(t *testing.T) {
	var k *BalanceKeeper
	if _, ok := k.Recent(t.Context()); ok {
		t.Error("a nil keeper knows a balance")
	}
	if _, ok := k.Fresh(t.Context()); ok {
		t.Error("a nil keeper knows a balance")
	}
}

// A clock that was ahead and is set back does not stop the asks for long.
func TestBalanceAndClock(t *testing.T) {
	b, now := new(bank), time.Now().Add(1000*time.Hour)
	k := NewBalanceKeeper(b.ask, func() time.Time { return now })
	if _, ok := k.Fresh(t.Context()); !ok {
		t.Error("no balance")
	}
	now = now.Add(-1000 * time.Hour)
	b.amount.Store(7)
	if got, ok := k.Fresh(t.Context()); !ok || got.Amount != 7 {
		t.Errorf("after the clock was set back: %v %t", got, ok)
	}
}
