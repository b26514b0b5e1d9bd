package memorystore

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/caddy-websms/websms/otp"
)

// The file of a later release stays as it is, byte for byte. The process counts
// in a file beside it, over a restart too.
func TestFileNewer(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"2", "10", "18446744073709551615"} {
		dir := t.TempDir()
		path := filepath.Join(dir, "memory.db")
		s := openSaved(t, dir, storeEpoch)
		s.count(1, storeEpoch)
		s.close()
		putRow(bucketMeta, metaVersion, []byte(version))(t, path)
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			s = openSaved(t, dir, storeEpoch)
			s.wantLog(logNewer)
			if got := s.log.All()[0].ContextMap(); fmt.Sprint(got["version"]) != version || got["file"] != path {
				t.Errorf("the error is %v, want version %s and the file", got, version)
			}
			if n := s.counted(1); n != i {
				t.Errorf("%d sendings are counted, want %d", n, i)
			}
			s.count(1, storeEpoch)
			s.close()
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
			t.Errorf("the file of version %s has changed: %v", version, err)
		}
	}
}

// A release reads the files of the release before it, and goes on with them as
// its own.
func TestFileVersionBefore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	of := func(version uint64) func(*memory) { return func(m *memory) { m.version = version } }
	s := openSaved(t, dir, storeEpoch, of(5))
	pending := s.fill(3)
	s.close()
	s = openSaved(t, dir, storeEpoch, of(6))
	s.wantLog()
	if counted, locked, live := s.have(pending); counted != 3 || locked != 3 || live != 3 {
		t.Errorf("%d counted, %d locked, %d live, want 3 of each", counted, locked, live)
	}
	s.close()
	s = openSaved(t, dir, storeEpoch, of(5))
	s.wantLog(logNewer)
	s.close()
	s = openSaved(t, dir, storeEpoch, of(8))
	s.wantLog(logUnusable) // two versions are one too many
}

// Additions of a later release within a version stay: a bucket, a row of
// another kind, a field at the end of a row, a value beside the version.
func TestFileKeepsUnknown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "memory.db")
	s := openSaved(t, dir, storeEpoch)
	s.count(1, storeEpoch)
	r := testReservation(storeEpoch)
	run := testFailures(1, 2)
	miss := func(s *savedStore) {
		t.Helper()
		if _, err := s.Attempt(ctxBg, r.ID, &otp.Answer{Failures: run, Now: storeEpoch}); !errors.Is(err, otp.ErrWrongCode) {
			t.Fatal(err)
		}
	}
	if err := s.Reserve(ctxBg, r); err != nil {
		t.Fatal(err)
	}
	miss(s)
	s.close()
	key := keyOf(testCounter(1).Key)
	rows := []struct{ bucket, key []byte }{
		{bucketCounters, counterRow(key, noteSending, storeEpoch.UnixNano())},
		{bucketFailures, run.Number[:16]},
		{bucketChallenges, r.ID[:]},
	}
	added := []byte("added later")
	editFile(func(tx *bbolt.Tx) error {
		for _, row := range rows {
			bucket := tx.Bucket(row.bucket)
			if err := bucket.Put(row.key, append(bytes.Clone(bucket.Get(row.key)), added...)); err != nil {
				return err
			}
		}
		return nil
	})(t, path)
	unknown := []struct{ bucket, key []byte }{
		{[]byte("passkeys"), []byte("a")},
		{bucketMeta, []byte("written by")},
		{bucketCounters, counterRow(key, 7, 1)},
		{bucketCounters, []byte("short")},
		{bucketFailures, []byte("another kind of key")},
	}
	for _, row := range unknown {
		putRow(row.bucket, row.key, added)(t, path)
	}
	s = openSaved(t, dir, storeEpoch)
	s.wantLog()
	s.count(1, storeEpoch) // at the same moment: its row is written again
	miss(s)
	s.flush()
	s.file.writing.Lock()
	err := s.file.compare(s.memory)
	s.file.writing.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if n := s.counted(1); n != 2 {
		t.Errorf("%d are counted, want 2", n)
	}
	s.close()
	editFile(func(tx *bbolt.Tx) error {
		for _, row := range append(rows, unknown...) {
			bucket := tx.Bucket(row.bucket)
			if bucket == nil || !bytes.HasSuffix(bucket.Get(row.key), added) || bytes.Count(bucket.Get(row.key), added) != 1 {
				t.Errorf("of %s the row %q has lost what was added", row.bucket, row.key)
			}
		}
		return nil
	})(t, path)
}
