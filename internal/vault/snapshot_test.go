package vault

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/vault/vaulttest"
	"github.com/caddy-websms/websms/session"
)

// snapshots returns the snapshots in a storage, and the loose entries beside them.
func (s *memStorage) snapshots() (snapshots, loose []string) {
	for _, file := range s.list(revokedFolder) {
		if strings.HasPrefix(path.Base(file), snapshotPrefix) {
			snapshots = append(snapshots, file)
		} else {
			loose = append(loose, file)
		}
	}
	return snapshots, loose
}

// compacted is a storage with many revocations, all of them in a snapshot.
type compacted struct {
	*testing.T
	*memStorage
	now                          *harness.FakeClock
	v                            *Vault
	ended, revoked, good, second string
}

func newCompacted(t *testing.T) *compacted {
	t.Helper()
	c := &compacted{T: t, memStorage: newMemStorage(), now: harness.NewFakeClock()}
	c.v = vaultOn(t, c.memStorage, c.now.Now)
	_, c.second = c.v.issue(t, "+6421999999", "")
	for i := range compactFrom {
		s, sealed := c.v.issue(t, "+6421234567", "")
		number := fmt.Sprintf("+6427%07d", i)
		_, c.revoked = c.v.issue(t, number, "")
		for _, err := range []error{c.v.Revoke(s.ID, s.Ends), c.v.RevokeNumber("", number, c.now.Now())} {
			if err != nil {
				t.Fatal(err)
			}
		}
		c.ended = sealed
	}
	_, c.good = c.v.issue(t, "+6421234567", "")
	c.v.mustMaintain(t)
	c.want(1, 2*compactFrom)
	return c
}

// want checks how many snapshots and loose entries there are.
func (c *compacted) want(snapshots, loose int) {
	c.Helper()
	if s, l := c.snapshots(); len(s) != snapshots || len(l) != loose {
		c.Errorf("there are %d snapshots and %d other records, want %d and %d", len(s), len(l), snapshots, loose)
	}
}

// holds checks at a process which of the sessions are good.
func (c *compacted) holds(when string, v *Vault) {
	c.Helper()
	if v.good(c.ended) || v.good(c.revoked) || !v.good(c.good) {
		c.Errorf("%s: ended %t, revoked %t, good %t", when, v.good(c.ended), v.good(c.revoked), v.good(c.good))
	}
}

func (c *compacted) restart() *Vault { return vaultOn(c.T, c.memStorage, c.now.Now) }

// Entries go into a snapshot, stay beside it for a day, and are then removed. All of them
// count throughout. The snapshot does not tell the subjects.
func TestCompaction(t *testing.T) {
	t.Parallel()
	c := newCompacted(t)
	names, _ := c.snapshots()
	text, _ := c.get(names[0])
	if strings.Contains(text, "+6427") || strings.Contains(text, "+6421234567") {
		t.Error("the snapshot tells a number")
	}
	reads := c.Count("Load")
	c.holds("with both", c.restart())
	if n := c.Count("Load") - reads; n != 2 {
		t.Errorf("a start reads %d files", n)
	}
	for range 47 {
		c.now.Advance(30 * time.Minute)
		c.v.mustMaintain(t)
	}
	c.want(1, 2*compactFrom)
	c.now.Advance(time.Hour)
	c.v.mustMaintain(t)
	c.want(1, 0)
	c.holds("with the snapshot alone", c.restart())
	c.holds("who has both seen", c.v)

	// Later entries are merged into it, and the former snapshot is removed a day later.
	for range compactFrom {
		s, _ := c.v.issue(t, "+6421234567", "")
		if err := c.v.Revoke(s.ID, s.Ends); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.v.RevokeNumber("", "+6421999999", c.now.Now()); err != nil {
		t.Fatal(err)
	}
	c.now.Advance(25 * time.Hour)
	c.v.mustMaintain(t)
	c.want(2, compactFrom+1)
	c.holds("with two snapshots", c.restart())
	c.now.Advance(25 * time.Hour)
	c.v.mustMaintain(t)
	c.want(1, 0)
	restarted := c.restart()
	if c.holds("with the second", restarted); restarted.good(c.second) {
		t.Error("the later revocation is lost")
	}

	// It is removed with the last session that it concerns.
	now := c.now.Now()
	for c.now.Now().Before(now.Add(session.MaxLife + 2*day)) {
		c.now.Advance(5 * day)
		c.v.mustMaintain(t)
	}
	c.want(0, 0)
}

// A snapshot of which most is over is written anew without that.
func TestCompactionForgets(t *testing.T) {
	t.Parallel()
	now, storage := harness.NewFakeClock(), newMemStorage()
	v := vaultOn(t, storage, now.Now)
	long, sealed := v.issue(t, "+6421234567", "")
	for i := range 9000 { // they need more than one snapshot
		until := now.Now().Add(3 * day)
		if i%4 == 0 {
			until = long.Ends
		}
		storage.put(path.Join(revokedFolder, endedName(session.NewID(), until)), "ended\n")
	}
	if err := v.Revoke(long.ID, long.Ends); err != nil {
		t.Fatal(err)
	}
	v.mustMaintain(t)
	if s, l := storage.snapshots(); len(s) != 2 || len(l) != 9001 {
		t.Fatalf("there are %d snapshots and %d other records", len(s), len(l))
	}
	for range 6 {
		now.Advance(25 * time.Hour)
		v.mustMaintain(t)
	}
	s, l := storage.snapshots()
	size := 0
	for _, name := range s {
		text, _ := storage.get(name)
		size += len(text)
	}
	if len(s) != 1 || len(l) != 0 || size > 9000/4*50 {
		t.Errorf("there are %d snapshots of %d bytes and %d other records", len(s), size, len(l))
	}
	if restarted := vaultOn(t, storage, now.Now); restarted.good(sealed) {
		t.Error("the session whose end is not over is good")
	}
}

// A process that dies, or a storage that fails, at any step of a compaction loses nothing.
func TestCompactionInterrupted(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"Store", "Delete", "Load", "List"} {
		for _, after := range []int{0, 1, 50} {
			t.Run(fmt.Sprint(op, " ", after), func(t *testing.T) {
				c := newCompacted(t)
				var n atomic.Int32 // operations run in parallel
				c.FailIf(func(o, key string) error {
					if o == op && strings.HasPrefix(key, revokedFolder) {
						if int(n.Add(1)) > after {
							return vaulttest.ErrTrouble
						}
					}
					return nil
				})
				c.now.Advance(25 * time.Hour)
				_ = c.v.syncAndClean(t.Context())
				c.FailAt("")
				c.holds("after it failed", c.restart())
				c.now.Advance(25 * time.Hour)
				other := c.restart()
				other.mustMaintain(t)
				c.holds("done by another", c.restart())
				c.now.Advance(25 * time.Hour)
				other.mustMaintain(t)
				c.want(1, 0)
				c.holds("in the end", c.restart())
			})
		}
	}
}

// A snapshot that is damaged within its first day is not needed, and is removed. If it is
// damaged later, all sessions are ended that were issued before it was made, unless a
// process knows what it held and writes that once more.
func TestDamagedSnapshot(t *testing.T) {
	t.Parallel()
	damage := map[string]func(text string) string{
		"empty":    func(string) string { return "" },
		"cut":      func(text string) string { return text[:len(text)/2] },
		"a line":   func(text string) string { return strings.Replace(text, "\nnotbefore-", "\nnotbefore-0", 1) },
		"longer":   func(text string) string { return text + "x\n" },
		"no words": func(string) string { return "ended\n" },
	}
	for name, damage := range damage {
		t.Run(name, func(t *testing.T) {
			c := newCompacted(t)
			damaged := func() string {
				t.Helper()
				names, _ := c.snapshots()
				text, _ := c.get(names[0])
				c.put(names[0], damage(text))
				return names[0]
			}
			file := damaged()
			c.now.Advance(22 * time.Hour)
			other := c.restart()
			c.holds("within its day", other)
			other.mustMaintain(t)
			if _, there := c.get(file); there {
				t.Error("it is left")
			}
			other.mustMaintain(t)
			c.want(1, 2*compactFrom) // another snapshot
			c.now.Advance(25 * time.Hour)
			other.mustMaintain(t)
			c.want(1, 0)

			running := c.restart() // it has read the snapshot
			damaged()
			c.now.Advance(time.Minute)
			_, later := running.issue(t, "+6421234567", "")
			for range 2 { // the second start finds what the first has left
				v := c.restart()
				if v.good(c.ended) || v.good(c.revoked) || v.good(c.good) || !v.good(later) {
					t.Errorf("at a start: ended %t, revoked %t, a bystander %t, who has come later %t",
						v.good(c.ended), v.good(c.revoked), v.good(c.good), v.good(later))
				}
			}
			c.now.Advance(25 * time.Hour)
			running.mustMaintain(t)
			c.holds("at who has read it before", running)
			c.holds("when that has written it once more", c.restart())
			c.now.Advance(25 * time.Hour)
			running.mustMaintain(t)
			c.holds("a day later", c.restart())
		})
	}
}

// A snapshot of a later release is never removed. A process that has run all the time does
// not need it. A process that starts a day later ends all sessions, and logs why.
func TestSnapshotOfALaterRelease(t *testing.T) {
	t.Parallel()
	c := newCompacted(t)
	names, _ := c.snapshots()
	text, _ := c.get(names[0])
	c.remove(names[0])
	text = strings.Replace(text, snapshotHead+"1", snapshotHead+"2", 1)
	file := path.Join(revokedFolder, snapshotName{made: c.now.Now(), sum: sumSnapshot(text)}.String())
	c.put(file, text)
	c.holds("within its day", c.restart())
	running := c.restart()
	_, loose := c.snapshots()
	c.now.Advance(25 * time.Hour)
	for _, file := range loose { // the later release removes them
		c.remove(file)
	}
	running.mustMaintain(t)
	c.holds("who ran all the time", running)
	if v := c.restart(); v.good(c.ended) || v.good(c.revoked) || v.good(c.good) {
		t.Error("one that starts lets somebody in")
	}
	if _, err := readSnapshot(path.Base(file), []byte(text)); err == nil ||
		!strings.Contains(err.Error(), "has version 2, and this release knows 1 at most") {
		t.Errorf("the error is %v", err)
	}
	if _, there := c.get(file); !there {
		t.Error("it was removed")
	}
}

// Lines that a later release adds to a snapshot of this version have no effect. They are
// kept when snapshots are merged.
func TestSnapshotKeepsWhatIsUnknown(t *testing.T) {
	t.Parallel()
	c := newCompacted(t)
	for range 2 {
		c.now.Advance(25 * time.Hour)
		c.v.mustMaintain(t)
	}
	names, _ := c.snapshots()
	text, _ := c.get(names[0])
	c.remove(names[0])
	text = strings.ReplaceAll(text, "\nnotbefore-", " more\nnotbefore-") + "passkey-0123 abc def\n"
	c.put(path.Join(revokedFolder, snapshotName{made: c.now.Now(), sum: sumSnapshot(text)}.String()), text)
	v := c.restart()
	c.holds("with fields that are not known", v)
	for range compactFrom {
		s, _ := v.issue(t, "+6421234567", "")
		if err := v.Revoke(s.ID, s.Ends); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		c.now.Advance(25 * time.Hour)
		v.mustMaintain(t)
	}
	c.want(1, 0)
	names, _ = c.snapshots()
	if text, _ := c.get(names[0]); !strings.Contains(text, "\npasskey-0123 abc def\n") || strings.Count(text, " more\n") < compactFrom-1 {
		t.Error("it is lost")
	}
	c.holds("put together", c.restart())
}

// Several processes compact at once, die in between, or lag, and the storage fails. No
// session that was ended or revoked is ever good, and no other is ended. That also holds
// for a release that knows no snapshots and reads the storage once a day.
func TestCompactionProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		storage, now := newMemStorage(), harness.NewFakeClock()
		open := func() *Vault {
			v, err := start(t.Context(), "vault", onStorage(t, storage), now.Now)
			if err != nil {
				rt.Fatal(err)
			}
			return v
		}
		all := []*Vault{open(), open(), open()}
		defer func() {
			for _, v := range all {
				_ = v.Destruct()
			}
		}()
		one := rapid.Custom(func(rt *rapid.T) int { return rapid.IntRange(0, len(all)-1).Draw(rt, "process") })
		var ended []string
		stay := all[0]
		_, good := stay.issue(t, "+6421234567", "")
		old, looked := map[string]bool{}, now.Now() // what a release that knows no snapshots has seen
		seen := map[string]bool{}                   // every entry that was ever stored
		look := func() {
			for _, name := range storage.list(revokedFolder) {
				old[name] = true
			}
			looked = now.Now()
		}
		note := func() {
			_, loose := storage.snapshots()
			for _, name := range loose {
				seen[name] = true
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"sign out": func(rt *rapid.T) {
				storage.FailAt("")
				v := all[one.Draw(rt, "who")]
				for range rapid.SampledFrom([]int{1, compactFrom}).Draw(rt, "many") {
					s, sealed := v.issue(t, "+6421234567", "")
					if err := v.Revoke(s.ID, s.Ends); err != nil {
						rt.Fatal(err)
					}
					ended = append(ended, sealed)
				}
				note()
			},
			"revoke a number": func(rt *rapid.T) {
				storage.FailAt("")
				v := all[one.Draw(rt, "who")]
				number := fmt.Sprintf("+6427%07d", rapid.IntRange(0, 5).Draw(rt, "number"))
				_, sealed := v.issue(t, number, "")
				if err := v.RevokeNumber("", number, now.Now()); err != nil {
					rt.Fatal(err)
				}
				ended = append(ended, sealed)
				now.Advance(time.Second)
				note()
			},
			"hours": func(rt *rapid.T) {
				for range rapid.IntRange(1, 30).Draw(rt, "hours") {
					if now.Advance(time.Hour); now.Now().Sub(looked) > 20*time.Hour {
						look()
					}
				}
			},
			"fail": func(rt *rapid.T) {
				op := rapid.SampledFrom([]string{"Store", "Delete", "Load", "List"}).Draw(rt, "op")
				after := rapid.IntRange(0, 60).Draw(rt, "after")
				var n atomic.Int32 // operations run in parallel
				storage.FailIf(func(o, key string) error {
					if o == op && strings.HasPrefix(key, revokedFolder) {
						if int(n.Add(1)) > after {
							return vaulttest.ErrTrouble
						}
					}
					return nil
				})
			},
			"maintain": func(rt *rapid.T) {
				_ = all[one.Draw(rt, "who")].syncAndClean(t.Context())
				look()
			},
			"maintain all at once": func(*rapid.T) {
				done := make(chan error)
				for _, v := range all {
					go func() { done <- v.syncAndClean(t.Context()) }()
				}
				for range all {
					<-done
				}
			},
			"a half-written snapshot": func(rt *rapid.T) {
				n := snapshotName{made: now.Now(), sum: sumSnapshot(fmt.Sprint(rapid.IntRange(0, 9).Draw(rt, "sum")))}
				storage.put(path.Join(revokedFolder, n.String()), "websms revoc")
				storage.FailAt("")
				for _, v := range all {
					v.mustMaintain(t)
				}
			},
			"start anew": func(rt *rapid.T) {
				storage.FailAt("")
				i := one.Draw(rt, "who")
				_ = all[i].Destruct()
				all[i] = open()
			},
			"": func(*rapid.T) {
				storage.FailAt("")
				v := open()
				defer func() { _ = v.Destruct() }()
				if slices.ContainsFunc(ended, v.good) || !v.good(good) {
					rt.Fatalf("after a start, good %t", v.good(good))
				}
			},
			"a release that knows no snapshots": func(rt *rapid.T) {
				look()
				for name := range seen {
					if _, record := parseCutoff(path.Base(name)); !record && !old[name] {
						rt.Fatal("it has missed a record")
					}
				}
			},
		})
	})
}

// A snapshot may be replaced after it was listed and before it is read.
func TestSnapshotReplacedWhileRead(t *testing.T) {
	t.Parallel()
	c := newCompacted(t)
	names, _ := c.snapshots()
	text, _ := c.get(names[0])
	moved := false
	c.FailIf(func(op, key string) error {
		if op == "Load" && key == names[0] && !moved {
			moved = true
			c.remove(names[0])
			n, _ := parseSnapshot(path.Base(names[0]))
			n.made = n.made.Add(time.Second)
			c.put(path.Join(revokedFolder, n.String()), text)
			_, loose := c.snapshots()
			for _, file := range loose {
				c.remove(file)
			}
			return fs.ErrNotExist
		}
		return nil
	})
	v, err := start(t.Context(), "vault", onStorage(t, c.memStorage), c.now.Now)
	if err != nil || !moved {
		t.Fatal(errors.Join(err, errors.New("the test shows nothing")))
	}
	c.holds("with the other", v)
	if err := v.Destruct(); err != nil {
		t.Error(err)
	}
}
