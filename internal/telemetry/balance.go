package telemetry

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-websms/websms/connexus"
)

const (
	// balanceAge is the age at which a scrape has the balance asked for again.
	balanceAge = 5 * time.Minute
	// balanceLife is the age at which a balance counts as unknown. It spans two
	// failed asks.
	balanceLife = 3 * balanceAge
	// balancePause is the shortest time between two asks. It bounds what a program
	// costs that reads the status every second.
	balancePause = 5 * time.Second
)

// BalanceKeeper knows the balance of one WebSMS account. It asks WebSMS in a goroutine of
// its own, and only if somebody wants to know: a scrape or an operator. So an account that
// nobody watches costs no call. It is safe for concurrent use.
type BalanceKeeper struct {
	ask  func(context.Context) (connexus.Balance, error)
	now  func() time.Time
	life context.Context // ended by Close
	end  context.CancelFunc

	mu     sync.Mutex
	last   KnownBalance
	known  bool
	asked  time.Time     // when the latest ask began
	asking chan struct{} // closed when the ask under way ends; nil if there is none
}

// KnownBalance is a balance with the time of the answer.
type KnownBalance struct {
	connexus.Balance
	At time.Time
}

// NewBalanceKeeper returns a keeper that asks with the given function. The caller must
// Close it.
func NewBalanceKeeper(ask func(context.Context) (connexus.Balance, error), now func() time.Time) *BalanceKeeper {
	life, end := context.WithCancel(context.Background())
	return &BalanceKeeper{ask: ask, now: now, life: life, end: end}
}

// Close cancels the ask under way, and lets no other begin. A nil keeper has none.
func (k *BalanceKeeper) Close() {
	if k != nil {
		k.end()
	}
}

// Recent returns the balance for a scrape. It has WebSMS asked for it every five minutes
// at most, and waits for the answer only while no balance is known. ok is false if none is
// known, or if the last one is older than 15 minutes. A nil keeper knows none.
func (k *BalanceKeeper) Recent(ctx context.Context) (balance KnownBalance, ok bool) {
	if k == nil {
		return KnownBalance{}, false
	}
	answered := k.refresh(balanceAge)
	if balance, ok = k.current(); ok {
		return balance, true
	}
	return k.await(ctx, answered)
}

// Fresh returns the balance for an operator. It asks WebSMS, unless it did so in the last
// five seconds, and waits for the answer. If there is none, it returns the last known
// balance as Recent does.
func (k *BalanceKeeper) Fresh(ctx context.Context) (balance KnownBalance, ok bool) {
	if k == nil {
		return KnownBalance{}, false
	}
	return k.await(ctx, k.refresh(balancePause))
}

// refresh starts an ask if the last one is at least as old as pause. It returns a channel
// that is closed when the ask under way ends, or nil if there is none.
func (k *BalanceKeeper) refresh(pause time.Duration) <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	age := now.Sub(k.asked)
	if k.asking == nil && k.life.Err() == nil && (k.asked.IsZero() || age >= pause || age < 0) { // below 0 if a clock was wrong
		k.asked, k.asking = now, make(chan struct{})
		go k.run(k.asking)
	}
	return k.asking
}

func (k *BalanceKeeper) run(asking chan struct{}) {
	balance, err := k.ask(k.life)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		k.last, k.known = KnownBalance{balance, k.now()}, true
	}
	k.asking = nil
	close(asking)
}

// current returns the last balance, unless it is too old.
func (k *BalanceKeeper) current() (KnownBalance, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.last, k.known && k.now().Sub(k.last.At) < balanceLife
}

// await waits for the ask under way, and returns the balance that is known then.
func (k *BalanceKeeper) await(ctx context.Context, answered <-chan struct{}) (KnownBalance, bool) {
	if answered != nil {
		select {
		case <-answered:
		case <-ctx.Done():
		}
	}
	return k.current()
}

// balanceCollector reports the balance at each scrape. While it is unknown, there is no
// sample.
type balanceCollector struct {
	read func(context.Context) (amount float64, ok bool)
}

var balanceDesc = prometheus.NewDesc("caddy_websms_account_balance",
	"Balance of the WebSMS account, in its currency (NZD). With several accounts, the lowest.", nil, nil)

// Describe implements prometheus.Collector.
func (balanceCollector) Describe(to chan<- *prometheus.Desc) { to <- balanceDesc }

// Collect implements prometheus.Collector.
func (b balanceCollector) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	if amount, ok := b.read(ctx); ok {
		to <- prometheus.MustNewConstMetric(balanceDesc, prometheus.GaugeValue, amount)
	}
}
