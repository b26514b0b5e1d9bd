package vault

import (
	"errors"
	"path"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-websms/websms/internal/testlevel"
	"github.com/caddy-websms/websms/session"
)

// fullDisk is the error of a storage whose disk is full.
var fullDisk = &fsError{"no space left on device", syscall.ENOSPC}

type fsError struct {
	text string
	err  error
}

func (e *fsError) Error() string { return e.text }
func (e *fsError) Unwrap() error { return e.err }

// full makes the storage refuse to store anything, as if its disk were full.
func (s *memStorage) full() {
	s.FailIf(func(op, _ string) error {
		if op == "Store" {
			return fullDisk
		}
		return nil
	})
}

// A revocation that a full disk did not take is stored by itself when there is room again:
// soon, while the process runs, or when it ends.
func TestSignOutOnAFullDisk(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"while it runs", "at its end"} {
		t.Run(when, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage := newMemStorage()
				v, err := start(t.Context(), "vault", onStorage(t, storage), time.Now)
				if err != nil {
					t.Fatal(err)
				}
				s, ended := v.issue(t, "+6421234567", "")
				_, revoked := v.issue(t, "+6421234568", "alice")
				_, good := v.issue(t, "+6421234569", "")
				storage.full()
				for _, err := range []error{v.Revoke(s.ID, s.Ends), v.RevokeNumber("", "+6421234568", time.Now()),
					v.RevokeUser(testRealm, "alice", time.Now())} {
					if !errors.Is(err, syscall.ENOSPC) {
						t.Errorf("the error is %v", err)
					}
				}
				var more []string
				for range 2 * keepBatch { // more than one batch
					s, sealed := v.issue(t, "+6421234567", "")
					_ = v.Revoke(s.ID, s.Ends)
					more = append(more, sealed)
				}
				time.Sleep(testlevel.Size(10*time.Minute, 3*time.Hour))
				stored := storage.Count("Store")
				time.Sleep(time.Hour)
				if n := (storage.Count("Store") - stored) / (keepBatch); n < 50 || n > 70 {
					t.Errorf("in an hour it is tried about %d times", n)
				}
				storage.FailAt("")
				if when == "while it runs" {
					time.Sleep(retryMost)
					synctest.Wait()
					if n := len(storage.list(revokedFolder)); n != 3+len(more) {
						t.Errorf("a minute after there is room, %d files are there", n)
					}
					stored := storage.Count("Store")
					time.Sleep(10 * time.Minute)
					if n := storage.Count("Store"); n != stored {
						t.Errorf("then it goes on: %d times", n-stored)
					}
					storage.full() // everything is stored, so the end needs no room
				}
				if err := v.Destruct(); err != nil {
					t.Error(err)
				}
				storage.FailAt("")
				restarted, err := start(t.Context(), "vault", onStorage(t, storage), time.Now)
				if err != nil {
					t.Fatal(err)
				}
				if restarted.good(ended) || restarted.good(revoked) || restarted.good(more[0]) ||
					restarted.good(more[len(more)-1]) || !restarted.good(good) {
					t.Errorf("after a restart: ended %t, revoked %t, good %t", restarted.good(ended),
						restarted.good(revoked), restarted.good(good))
				}
				if err := restarted.Destruct(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// One entry that the storage refuses does not delay the others. An entry that was stored
// because the caller revoked again is not stored a second time.
func TestUnkeptOneByOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		storage := newMemStorage()
		v, err := start(t.Context(), "vault", onStorage(t, storage), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		storage.full()
		poisoned, again := session.NewID(), session.NewID()
		until := time.Now().Add(24 * time.Hour)
		for _, id := range []session.ID{poisoned, again} {
			_ = v.Revoke(id, until)
		}
		for range 50 {
			_ = v.Revoke(session.NewID(), until)
		}
		refused := path.Join(revokedFolder, endedName(poisoned, until))
		storage.FailAt(refused, "Store")
		if err := v.Revoke(again, until); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := len(storage.list(revokedFolder)); n != 51 {
			t.Errorf("%d are kept", n)
		}
		if n := storage.Count("Store"); n > 52+51+52+20 {
			t.Errorf("it wrote %d times", n)
		}
		storage.FailAt("")
		v.KeepSoon() // the process is told to end
		synctest.Wait()
		if n := len(storage.list(revokedFolder)); n != 52 || v.hasUnkept() {
			t.Errorf("%d are kept in the end; waiting: %t", n, v.hasUnkept())
		}
		// A revocation that is over before there is room is not stored.
		storage.full()
		_ = v.Revoke(session.NewID(), time.Now().Add(time.Minute))
		time.Sleep(time.Hour)
		storage.FailAt("")
		time.Sleep(retryMost)
		synctest.Wait()
		if n := len(storage.list(revokedFolder)); n != 52 || v.hasUnkept() {
			t.Errorf("what is over is stored: %d; waiting: %t", n, v.hasUnkept())
		}
		if err := v.Destruct(); err != nil {
			t.Error(err)
		}
	})
}
