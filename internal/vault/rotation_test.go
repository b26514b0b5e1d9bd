package vault

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/session"
)

// Several processes share a storage. Each has a clock that is wrong by up to half an hour.
// Storages fail and processes restart. What one process seals, each other process opens
// that was maintained within the last hour, for as long as a session can live.
func TestRotationProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		storage, begin := newMemStorage(), time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC)
		now := begin
		type process struct {
			*Vault
			clock      func() time.Time
			maintained time.Time
		}
		type value struct {
			sealed string
			at     time.Time
		}
		var values []value
		open := func(p *process) {
			v, err := start(t.Context(), "vault", onStorage(t, storage), p.clock)
			if err != nil {
				rt.Fatal(err)
			}
			p.Vault, p.maintained = v, now
		}
		var all []*process
		defer func() {
			for _, p := range all {
				_ = p.Destruct()
			}
		}()
		for range 3 {
			skew := time.Duration(rapid.IntRange(-30, 30).Draw(rt, "skew")) * time.Minute
			p := &process{clock: func() time.Time { return now.Add(skew) }}
			open(p)
			all = append(all, p)
		}
		one := rapid.Custom(func(rt *rapid.T) *process { return all[rapid.IntRange(0, len(all)-1).Draw(rt, "process")] })
		awake := func(p *process) bool { return now.Sub(p.maintained) <= time.Hour }
		maintainAll := func() {
			for _, p := range all {
				if p.syncAndClean(t.Context()) == nil {
					p.maintained = now
				}
			}
		}
		minutes := func(rt *rapid.T, least, most int) time.Duration {
			return time.Duration(rapid.IntRange(least, most).Draw(rt, "minutes")) * time.Minute
		}
		// goTo makes time pass while everything works. It maintains the vaults
		// seldom, to save time.
		goTo := func(then time.Time) {
			for then.Sub(now) > 10*day {
				now = now.Add(10 * day)
				maintainAll()
			}
			if then.After(now) {
				now = then
			}
		}
		seal := func(p *process) value {
			sealed, err := p.Ring.Seal(session.ForSession, "realm", nil)
			if err != nil {
				rt.Fatal(err)
			}
			return value{sealed, now}
		}
		check := func(values ...value) {
			for _, p := range all {
				if !awake(p) {
					continue
				}
				for _, value := range values {
					if _, err := p.Ring.Open(session.ForSession, "realm", value.sealed); now.Sub(value.at) < session.MaxLife && err != nil {
						rt.Fatalf("after %s, what was sealed %s ago does not open", now.Sub(begin), now.Sub(value.at))
					}
				}
			}
			if n := len(storage.keysIn(t).Sealing); n > 16 {
				rt.Fatalf("there are %d keys", n)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"a moment": func(rt *rapid.T) { now = now.Add(minutes(rt, 0, 60)) },
			"a while, in which no vault is maintained": func(rt *rapid.T) { now = now.Add(minutes(rt, 60, 60*24*60)) },
			"to when a key is due": func(rt *rapid.T) {
				goTo(storage.keysIn(t).Sealing[0].Created.Add(session.KeyAge + minutes(rt, -60, 60)))
			},
			"to when a key has settled": func(rt *rapid.T) {
				goTo(storage.keysIn(t).Sealing[0].Created.Add(session.Settling + minutes(rt, -60, 60)))
			},
			"to when something sealed is over": func(rt *rapid.T) {
				if len(values) > 0 {
					goTo(values[rapid.IntRange(0, len(values)-1).Draw(rt, "value")].at.Add(session.MaxLife - minutes(rt, 1, 60)))
				}
			},
			"three hours, in which each vault is maintained once an hour": func(rt *rapid.T) {
				var phases []int
				for range all {
					phases = append(phases, 5*rapid.IntRange(0, 11).Draw(rt, "phase"))
				}
				for minute := 0; minute < 3*60; minute += 5 {
					for i, p := range all {
						if minute%60 == phases[i] {
							p.mustMaintain(t)
							p.maintained = now
						}
					}
					for _, p := range all {
						if awake(p) {
							check(seal(p))
						}
					}
					now = now.Add(5 * time.Minute)
				}
			},
			"maintain": func(rt *rapid.T) {
				p := one.Draw(rt, "who")
				if p.syncAndClean(t.Context()) == nil {
					p.maintained = now
				}
			},
			"maintain all": func(*rapid.T) { maintainAll() },
			"fail to maintain": func(rt *rapid.T) {
				storage.FailAt("websms", rapid.SampledFrom([]string{"Load", "Lock", "Store", "List"}).Draw(rt, "op"))
				_ = one.Draw(rt, "who").syncAndClean(t.Context())
				storage.FailAt("")
			},
			"start anew": func(rt *rapid.T) {
				p := one.Draw(rt, "who")
				_ = p.Destruct()
				open(p)
			},
			"seal": func(rt *rapid.T) {
				p := one.Draw(rt, "who")
				if !awake(p) {
					rt.Skip("it was not maintained")
				}
				values = append(values, seal(p))
			},
			"": func(*rapid.T) { check(values...) },
		})
	})
}

// A rotation that finds another ring once it holds the lock takes over nothing of it.
func TestRotationRefusesForeignRing(t *testing.T) {
	t.Parallel()
	now, storage := harness.NewFakeClock(), newMemStorage()
	v := vaultOn(t, storage, now.Now)
	index := v.keys.Index
	_, sealed := v.issue(t, "+6421234567", "")
	now.Advance(30 * day)
	foreign, err := json.Marshal(session.NewKeys(now.Now().Add(-31 * day)))
	if err != nil {
		t.Fatal(err)
	}
	storage.FailIf(func(op, _ string) error {
		if op == "Lock" { // another process makes a new ring meanwhile
			storage.put(keysFile, string(foreign))
		}
		return nil
	})
	if err := v.syncAndClean(t.Context()); err == nil {
		t.Error("nothing is said of another ring")
	}
	if !bytes.Equal(v.keys.Index, index) || !v.good(sealed) {
		t.Error("the keys of another ring were taken over")
	}
}
