package redisstore

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/redisstore/redistest"
)

// TestSlotMoves: while a cluster moves the slot of a realm, requests wait within their
// budget. They succeed if the move ends in time, and no change happens twice.
func TestSlotMoves(t *testing.T) {
	t.Parallel()
	cluster := redistest.Cluster(t)
	option := &Store{Address: cluster.Addrs()}
	p := openProcess(t, option)
	p.wantWorks(t)
	key := p.windows("")
	c := perNumber("+64210000001", otp.Rate{Count: 100, Window: time.Hour})

	stay := cluster.Move(key)
	began := time.Now()
	err := p.Reserve(ctx, reservation(c))
	wantUnavailable(t, err)
	if took := time.Since(began); took < requestBudget-requestBudget/20 || took > requestBudget+slack {
		t.Errorf("it waited for %v, the budget is %v", took, requestBudget)
	}
	if !strings.Contains(err.Error(), "TRYAGAIN") || !strings.Contains(err.Error(), "moves the slot") {
		t.Errorf("the error does not say why: %v", err)
	}
	wantUnavailable(t, p.Reserve(ctx, reservation(c)))
	p.wantLogged(t, logMoves) // once
	if !p.node.up.Load() {
		t.Error("redis is taken to be away")
	}

	// The error says why also if the last round of asking gets no answer in time.
	asked := 0
	failed := p.node.ask(p.node.within(), func(ctx context.Context, client rueidis.Client) rueidis.RedisResult {
		if asked++; asked == 2 {
			<-ctx.Done()
		}
		return client.Do(ctx, client.B().Mget().Key(key, key+"x").Build())
	}).failed
	if asked < 2 || !errors.Is(failed, context.DeadlineExceeded) || !strings.Contains(failed.Error(), "moves the slot") {
		t.Errorf("after %d rounds: %v", asked, failed)
	}

	patient := openWithin(t, patience, option)
	done := make(chan error, 1)
	go func() { done <- patient.Reserve(ctx, reservation(c)) }()
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	stay()
	if err := <-done; err != nil {
		t.Errorf("when the move has ended: %v", err)
	}
	if used, err := patient.Used(ctx, "", c, now()); err != nil || used[0] != 1 {
		t.Errorf("%d count, %v; want the one that was made", used, err)
	}
	p.wantWorks(t)
}
