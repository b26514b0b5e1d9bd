package session

import (
	"testing"
	"time"
)

func TestLife(t *testing.T) {
	life := Life{TTL: 12 * time.Hour, Idle: time.Hour, Remember: 720 * time.Hour}
	at := func(d time.Duration) time.Time { return t0.Add(d) }
	plain, trusted := Session{}, Session{Remember: true}
	life.Begin(&plain, t0)
	life.Begin(&trusted, t0)
	busy := plain
	busy.Seen = at(11*time.Hour + 30*time.Minute)
	for _, c := range []struct {
		name  string
		life  Life
		s     Session
		now   time.Time
		alive bool
		stale bool
	}{
		{"fresh", life, plain, t0, true, false},
		{"a minute old", life, plain, at(time.Minute), true, true},
		{"just before idling out", life, plain, at(time.Hour - 1), true, true},
		{"idle", life, plain, at(time.Hour), false, true},
		{"no idle limit", Life{TTL: 12 * time.Hour}, plain, at(11 * time.Hour), true, false},
		{"at its absolute end", life, busy, at(12 * time.Hour), false, true},
		{"trusted, resting", life, trusted, at(700 * time.Hour), true, false},
		{"trusted, at its end", life, trusted, at(720 * time.Hour), false, false},
		{"no longer trusted", Life{TTL: 12 * time.Hour, Idle: time.Hour}, trusted, at(2 * time.Hour), false, true},
		{"shortened since", Life{TTL: time.Minute}, plain, at(time.Minute), false, false},
		{"lengthened since", Life{TTL: 24 * time.Hour}, plain, at(12 * time.Hour), false, false},
		{"short idle, renewed at its half", Life{TTL: time.Hour, Idle: 20 * time.Second}, plain, at(10 * time.Second), true, true},
	} {
		if got := c.life.Alive(&c.s, c.now); got != c.alive {
			t.Errorf("%s: alive %v, want %v", c.name, got, c.alive)
		}
		if got := c.life.Stale(&c.s, c.now); got != c.stale {
			t.Errorf("%s: stale %v, want %v", c.name, got, c.stale)
		}
	}
}
