package vault

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// atOnce is how many calls of an archive are under way at once. With 32, a storage
// that needs 100 ms a call reads 2,000 entries within seven seconds. More could
// exhaust the connection pool of a storage.
const atOnce = 32

// inParallel calls do for each item, several at once. There may be any number of
// items, because no time bounds them all. inParallel gives up only if no call has
// succeeded for patience, which also bounds each call. It tries failed items again
// as long as other items succeed. It returns the first error of the last round.
func inParallel[T any](
	ctx context.Context, patience time.Duration, items []T, do func(ctx context.Context, item T) error,
) error {
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

// oneRound calls do once for each item. It returns the items that failed, and the
// first error.
func oneRound[T any](
	ctx context.Context, patience time.Duration, items []T, do func(ctx context.Context, item T) error,
) (failed []T, first error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(patience, func() { cancel(fmt.Errorf("nothing was answered within %s", patience)) })
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
