package redisstore

import (
	"context"
	"errors"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/caddy-websms/websms/otp"
)

// lives counts how many live challenges this node has added or removed since it
// last told Redis, by the minute in which they end. The node tells Redis twice a
// second instead of with each change, because the count only serves operators. A
// lost reply can make the count wrong by one until that minute is over.
type lives struct {
	// telling is held while the node tells Redis. In that time the changes on
	// their way are neither in change nor in Redis.
	telling sync.Mutex

	mu     sync.Mutex
	change map[int64]int
}

// minute returns the minute of a time in microseconds.
func minute(micros int64) int64 { return micros / time.Minute.Microseconds() }

// add counts n more challenges. dies is the time of their end, in microseconds since 1970.
func (l *lives) add(dies string, n int) {
	at, err := strconv.ParseInt(dies, 10, 64)
	if err != nil {
		return // cannot happen: scripts return a number
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count(minute(at), n)
}

// putBack takes back changes that take returned and that Redis did not get.
func (l *lives) putBack(change map[int64]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for m, n := range change {
		l.count(m, n)
	}
}

func (l *lives) count(m int64, n int) {
	if l.change == nil {
		l.change = make(map[int64]int)
	}
	if l.change[m] += n; l.change[m] == 0 {
		delete(l.change, m)
	}
}

// take returns the changes that Redis does not know yet, and forgets them here.
func (l *lives) take() map[int64]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	change := l.change
	l.change = nil
	return change
}

func (l *lives) changed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.change) > 0
}

// run tells Redis twice a second how many challenges live, until the node closes.
func (s *store) run() {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.node.ctx.Done():
			return
		case <-ticker.C:
			if s.lives.changed() {
				s.tellLives(time.Now(), math.MaxInt32) // Live bounds the minute by the clock of its caller
			}
		}
	}
}

// Live implements otp.Store. It returns the count of all nodes, as each of them told
// it last, at most half a second ago. A challenge counts until the end of the minute
// in which it ends.
func (s *store) Live(_ context.Context, now time.Time) (int, error) {
	n, err := s.tellLives(now, minute(now.Add(otp.MaxLife+otp.Skew).UnixMicro())).int()
	return int(n), err
}

// tellLives tells Redis the changes of this node, and returns how many challenges
// of all nodes live. It leaves out those that ended before the minute of now, and
// those that end after the minute last.
func (s *store) tellLives(now time.Time, last int64) reply {
	s.lives.telling.Lock()
	defer s.lives.telling.Unlock()
	change := s.lives.take()
	args := []string{strconv.FormatInt(minute(now.UnixMicro()), 10), strconv.FormatInt(last, 10), millis(2 * otp.MaxLife)}
	for m, n := range change {
		args = append(args, strconv.FormatInt(m, 10), strconv.Itoa(n))
	}
	r := s.node.do(call(scriptLive, []string{s.live()}, args))
	if r.failed != nil && !errors.Is(r.failed, errLost) {
		s.lives.putBack(change)
	}
	return r
}
