package memorystore

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/caddy-websms/websms/otp"
)

// damage changes the file of a store that is closed.
type damage func(*testing.T, string)

func editFile(change func(tx *bbolt.Tx) error) damage {
	return func(t *testing.T, path string) {
		t.Helper()
		db, err := bbolt.Open(path, 0o600, nil)
		if err == nil {
			err = errors.Join(db.Update(change), db.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func putRow(bucket, key, value []byte) damage {
	return editFile(func(tx *bbolt.Tx) error {
		in, err := tx.CreateBucketIfNotExists(bucket)
		if err != nil {
			return err
		}
		return in.Put(key, value)
	})
}

func editBytes(change func(data []byte) []byte) damage {
	return func(t *testing.T, path string) {
		t.Helper()
		data, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, change(data), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// noisePages overwrites the page of a bucket.
func noisePages(bucket []byte) damage {
	return func(t *testing.T, path string) {
		t.Helper()
		var root int64
		size := 0
		editFile(func(tx *bbolt.Tx) error {
			size = tx.DB().Info().PageSize
			root = int64(tx.Bucket(bucket).Root())
			return nil
		})(t, path)
		if root == 0 {
			t.Fatalf("%s has no page of its own", bucket)
		}
		editBytes(func(data []byte) []byte {
			copy(data[root*int64(size):], bytes.Repeat([]byte{0xA5}, size))
			return data
		})(t, path)
	}
}

// A file of another program, or a file that is damaged as a whole, is set
// aside, and a new one is begun.
func TestFileUnusable(t *testing.T) {
	t.Parallel()
	damages := map[string]damage{
		"another ring":       putRow(bucketMeta, metaRing, make([]byte, 32)),
		"a version of words": putRow(bucketMeta, metaVersion, []byte("one")),
		"no version":         editFile(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Delete(metaVersion) }),
		"another program's":  editFile(func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketMeta) }),
		"not a database":     editBytes(func([]byte) []byte { return []byte("no database") }),
		"zeros":              editBytes(func(data []byte) []byte { return make([]byte, len(data)) }),
		"noise behind the metas": editBytes(func(data []byte) []byte {
			return append(data[:8192], bytes.Repeat([]byte{0xA5}, len(data)-8192)...)
		}),
		"a page that is missing": editBytes(func(data []byte) []byte { return data[:8192+4096] }),
		"a page of another place": editBytes(func(data []byte) []byte {
			copy(data[8192:], data[:4096])
			copy(data[4*4096:], data[:4096])
			return data
		}),
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "memory.db")
			s := openSaved(t, dir, storeEpoch, ofRing)
			for i := range 500 {
				s.count(i, storeEpoch)
			}
			s.close()
			damage(t, path)
			s = openSaved(t, dir, storeEpoch, ofRing)
			s.wantLog(logUnusable)
			if n := s.counted(1); n != 0 {
				t.Errorf("%d sendings are counted out of a file that is not used", n)
			}
			s.count(1, storeEpoch)
			s.close()
			s = openSaved(t, dir, storeEpoch, ofRing)
			s.wantLog()
			if n := s.counted(1); n != 1 {
				t.Errorf("%d sendings are counted, want 1: the new file is kept", n)
			}
			if _, err := os.Stat(path + ".unusable"); err != nil {
				t.Errorf("the old file: %v", err)
			}
		})
	}
}

// One row that cannot be read costs no other row. The log says so once.
func TestFileBadRow(t *testing.T) {
	t.Parallel()
	run := func(value ...byte) damage { return putRow(bucketFailures, make([]byte, 16), value) }
	counter := counterRow(tableKey{15: 9}, noteSending, 1)
	challenge := func(value []byte) damage { return putRow(bucketChallenges, make([]byte, 16), value) }
	whole := (&record{status: otp.Queued, sealed: []byte("sealed")}).row()
	damages := map[string]damage{
		"a counter without all":      putRow(bucketCounters, counter, []byte{1, 1}),
		"a counter of too many":      putRow(bucketCounters, counter, []byte{2, 1, 1}),
		"a counter of none":          putRow(bucketCounters, counter, []byte{0, 1, 1}),
		"a counter of no time":       putRow(bucketCounters, counter, []byte{1, 1, 0}),
		"no failures":                run(),
		"failures without moments":   run(1, 0, 1, 0),
		"failures without devices":   run(0, 0, 0),
		"failures of many moments":   run(1, 0, 101, 0),
		"failures of many devices":   run(0, 0, 0, 9),
		"failures of half a device":  run(0, 0, 0, 1, 7),
		"an empty challenge":         challenge(nil),
		"half a challenge":           challenge(whole[:len(whole)/2]),
		"a challenge without an end": challenge(whole[:len(whole)-1]),
		"saved rows":                 putRow(bucketSaved, []byte("0"), []byte("no gob")),
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openSaved(t, dir, storeEpoch)
			pending := s.fill(20)
			s.close()
			damage(t, filepath.Join(dir, "memory.db"))
			for i := range 2 {
				s = openSaved(t, dir, storeEpoch)
				if i > 0 {
					s.wantLog()
				} else if s.wantLog(logLost); s.log.Len() == 1 && s.log.All()[0].ContextMap()["rows"] != int64(1) {
					t.Errorf("the warning is %v, want 1 row", s.log.All()[0].ContextMap())
				}
				counted, locked, live := s.have(pending)
				if counted != 20 || locked != 20 || live != 20 {
					t.Errorf("%d counted, %d locked, %d live, want 20 of each", counted, locked, live)
				}
				s.close()
			}
		})
	}
}

// A damaged or missing bucket costs no other bucket.
func TestFileDamagedBucket(t *testing.T) {
	t.Parallel()
	const n = 400
	gone := func(bucket []byte) damage {
		return editFile(func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucket) })
	}
	cases := map[string]struct {
		damage
		log     string
		counted bool
		locked  bool
		live    bool
	}{
		"pages of counters":     {noisePages(bucketCounters), logDamaged, false, true, true},
		"pages of failures":     {noisePages(bucketFailures), logDamaged, true, false, true},
		"pages of challenges":   {noisePages(bucketChallenges), logDamaged, true, true, false},
		"no counters":           {gone(bucketCounters), logLost, false, true, true},
		"no bucket of failures": {gone(bucketFailures), logLost, true, false, true},
		"no saved":              {gone(bucketSaved), logLost, true, true, true},
		"no challenges":         {gone(bucketChallenges), "", true, true, false}, // as in a file of an earlier release
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openSaved(t, dir, storeEpoch)
			pending := s.fill(n)
			s.close()
			c.damage(t, filepath.Join(dir, "memory.db"))
			for i := range 2 {
				s = openSaved(t, dir, storeEpoch)
				if c.log != "" && i == 0 {
					s.wantLog(c.log)
				} else {
					s.wantLog()
				}
				counted, locked, live := s.have(pending)
				if c.counted && counted != n || c.locked && locked != n || c.live && live != n {
					t.Errorf("%d counted, %d locked, %d live, want %d but for what is damaged", counted, locked, live, n)
				}
				if !c.counted && counted == n || !c.locked && locked == n || !c.live && live == n {
					t.Errorf("%d counted, %d locked, %d live: nothing is damaged", counted, locked, live)
				}
				s.count(n+1, storeEpoch)
				s.close()
			}
		})
	}
}

// If the end of a file is missing, the store uses the rows that are there.
func TestFileCutShort(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "memory.db")
	s := openSaved(t, dir, storeEpoch)
	pending := s.fill(400)
	s.close()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := len(data) - 4096; cut > 0; cut -= 16 * 4096 {
		dir := t.TempDir()
		path := filepath.Join(dir, "memory.db")
		if err := os.WriteFile(path, data[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		s := openSaved(t, dir, storeEpoch)
		counted, locked, live := s.have(pending)
		t.Logf("%d of %d bytes: %d counted, %d locked, %d live", cut, len(data), counted, locked, live)
		s.count(1, storeEpoch)
		s.close()
		s = openSaved(t, dir, storeEpoch)
		s.wantLog()
		if again, also, _ := s.have(pending); again < counted || also != locked {
			t.Errorf("%d are counted and %d locked at the next start, want %d and %d", again, also, counted, locked)
		}
		if s.counted(1) < 1 {
			t.Error("nothing is counted in the new file")
		}
		s.close()
	}
}
