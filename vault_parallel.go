package websms

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// atOnce bounds how many operations on an archive are under way at once: enough
// for 2,000 records at 100 ms each within ten seconds, and few enough for a
// storage that has a pool of connections.
const atOnce = 32

// inParallel calls do for each item, several at once. It judges by progress, so
// there may be any number of items: it gives up when nothing has succeeded for
// as long as one operation may take, and tries again what failed while other
// items succeeded. It returns one of the errors of what failed in the end.
func inParallel[T any](ctx context.Context, patience time.Duration, items []T, do func(ctx context.Context, item T) error) error {
	for len(items) > 0 {
		failed, err := oneRound(ctx, patience, items, do)
		if len(failed) == len(items) || len(failed) > 0 && ctx.Err() != nil {
			if len(failed) > 1 {
				err = fmt.Errorf("%w (and %d more)", err, len(failed)-1)
			}
			return err
		}
		items = failed
	}
	return nil
}

// oneRound calls do once for each item, and returns those that failed.
func oneRound[T any](ctx context.Context, patience time.Duration, items []T, do func(ctx context.Context, item T) error) (failed []T, first error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(patience, func() { cancel(fmt.Errorf("nothing was answered within %s", short(patience))) })
	defer stalled.Stop()
	var mu sync.Mutex
	next := 0
	take := func() (item T, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if ok = next < len(items); ok {
			item = items[next]
			next++
		}
		return item, ok
	}
	done := func(item T, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			stalled.Reset(patience)
			return
		}
		if failed = append(failed, item); first == nil {
			first = err
		}
	}
	var workers sync.WaitGroup
	for range min(atOnce, len(items)) {
		workers.Go(func() {
			for item, ok := take(); ok; item, ok = take() {
				err := context.Cause(ctx)
				if err == nil {
					one, end := context.WithTimeout(ctx, patience)
					err = do(one, item)
					end()
				}
				done(item, err)
			}
		})
	}
	workers.Wait()
	return failed, first
}
