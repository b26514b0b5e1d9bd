package memorystore

import (
	"errors"
	"testing"
	"time"

	"github.com/caddy-websms/websms/otp"
)

// Marks of deliveries in work do not outlive the process. Marks of handled
// deliveries do.
func TestWebhookMarksOverARestart(t *testing.T) {
	t.Parallel()
	dir, now := t.TempDir(), storeEpoch
	s := openSaved(t, dir, now)
	done, work := testCounter(1).Key, testCounter(2).Key
	lease := otp.Lease{Holder: "a", For: otp.LeaseTime, Now: now}
	for _, key := range []otp.Digest{done, work} {
		if err := s.Begin(ctxBg, key, lease); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Done(ctxBg, done, 24*time.Hour, now); err != nil {
		t.Fatal(err)
	}
	s.close()
	s = openSaved(t, dir, now.Add(-time.Hour)) // the clock was ahead
	lease.Holder, lease.Now = "b", now.Add(-time.Hour)
	if err := s.Begin(ctxBg, work, lease); err != nil {
		t.Errorf("what was in work: %v", err)
	}
	if err := s.Begin(ctxBg, done, lease); !errors.Is(err, otp.ErrDone) {
		t.Errorf("what was done: %v", err)
	}
	lease.Now = now.Add(23*time.Hour - 1)
	if err := s.Begin(ctxBg, done, lease); !errors.Is(err, otp.ErrDone) {
		t.Errorf("what was done, a day later: %v", err)
	}
	lease.Now = now.Add(23 * time.Hour)
	if err := s.Begin(ctxBg, done, lease); err != nil {
		t.Errorf("what was done, when its life is over: %v", err)
	}
	s.close()
}
