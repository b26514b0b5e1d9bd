package vault

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/session"
)

// A revocation that a full file system did not take is stored when there is room again:
// while the process runs, or when it ends.
func TestSignOutOnAFullFileSystem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	storage := &certmagic.FileStorage{Path: dir}
	v, err := start(t.Context(), "vault", onStorage(t, storage), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	var cookies []string
	fill := func() {
		for i := 0; ; i++ {
			if err := storage.Store(t.Context(), fmt.Sprintf("full/%d", i), make([]byte, 4096)); err != nil {
				return
			}
		}
	}
	empty := func() {
		if err := storage.Delete(t.Context(), "full"); err != nil {
			t.Fatal(err)
		}
	}
	out := func() {
		t.Helper()
		s, sealed := v.issue(t, "+6421234567", "")
		if err := v.Revoke(s.ID, s.Ends); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("signing out: %v", err)
		}
		_, revoked := v.issue(t, "+6421234568", "")
		if err := v.RevokeNumber("", "+6421234568", time.Now()); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("revoking: %v", err)
		}
		cookies = append(cookies, sealed, revoked)
	}
	fill()
	out()
	empty()
	harness.Eventually(t, "it is stored while the process runs", func() bool { return !v.hasUnkept() })
	fill()
	out()
	empty()
	if err := v.Destruct(); err != nil {
		t.Error(err)
	}
	restarted := vaultOn(t, storage, time.Now)
	for i, sealed := range cookies {
		if restarted.good(sealed) {
			t.Errorf("after a restart, cookie %d is good", i)
		}
	}
	if !restarted.revoked.NotBefore(session.Everyone, "", "").IsZero() {
		t.Error("a record was left in pieces")
	}
}
