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

// lives is how many challenges more live, or fewer, than this node has told,
// by the minute in which they die. It is told twice a second and not with
// each change: the count serves operators, and no decision hangs on it. Where
// an answer was lost it may be off by one, until that minute is over.
type lives struct {
	// telling is held while Redis is told: what is on its way is in change no
	// longer, and not in Redis yet.
	telling sync.Mutex

	mu     sync.Mutex
	change map[int64]int
}

// minute returns the minute of a time in microseconds.
func minute(micros int64) int64 { return micros / time.Minute.Microseconds() }

// add counts n challenges more, which die at that time in microseconds.
func (l *lives) add(dies string, n int) {
	at, err := strconv.ParseInt(dies, 10, 64)
	if err != nil {
		return // what scripts answer is a number
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count(minute(at), n)
}

// putBack counts again what was taken and could not be told.
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

// take returns what is to be told, and takes it as told.
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

// run tells how many challenges live, as long as the node lives.
func (s *store) run() {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.node.ctx.Done():
			return
		case <-ticker.C:
			if s.lives.changed() {
				s.tellLives(time.Now(), math.MaxInt32) // who asks judges by a clock that may be another
			}
		}
	}
}

// Live implements otp.Store, of all nodes: what each has told last, twice a
// second. It counts a challenge until the minute is over in which it dies.
func (s *store) Live(_ context.Context, now time.Time) (int, error) {
	n, err := s.tellLives(now, minute(now.Add(otp.MaxLife+otp.Skew).UnixMicro())).int()
	return int(n), err
}

// tellLives counts no challenge that died before now, nor any that dies after
// the last minute.
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
