package websms_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/vault/vaulttest"
	"github.com/caddy-websms/websms/memorystore"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

// barrier blocks all goroutines that wait at it, from stop until pass.
type barrier struct {
	mu      sync.Mutex
	reached chan struct{}
	open    chan struct{}
}

func (b *barrier) stop() (reached <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reached, b.open = make(chan struct{}), make(chan struct{})
	return b.reached
}

func (b *barrier) pass() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open != nil {
		close(b.open)
	}
	b.reached, b.open = nil, nil
}

func (b *barrier) wait() {
	b.mu.Lock()
	reached, open := b.reached, b.open
	b.reached = nil
	b.mu.Unlock()
	if reached != nil {
		close(reached)
	}
	if open != nil {
		<-open
	}
}

// These barriers block the opening of the store, the archive and the storage.
var atStore, atArchive, atStorage barrier

// stuckStore is the memory store behind a barrier.
type stuckStore struct {
	memorystore.Store
}

func (stuckStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "websms.stores.stuck", New: func() caddy.Module { return new(stuckStore) }}
}

func (s *stuckStore) Open() (otp.Store, func() error, error) {
	atStore.wait()
	return s.Store.Open()
}

// stuckArchiveStore also has an archive.
type stuckArchiveStore struct {
	stuckStore
}

func (stuckArchiveStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "websms.stores.stuck_archive", New: func() caddy.Module { return new(stuckArchiveStore) }}
}

func (s *stuckArchiveStore) OpenArchive(string) (string, session.Archive, func() error, error) {
	return "stuck", stuckArchive{vaulttest.NewArchive()}, func() error { return nil }, nil
}

type stuckArchive struct{ session.Archive }

func (a stuckArchive) Keys(ctx context.Context) ([]byte, error) {
	atArchive.wait()
	return a.Archive.Keys(ctx)
}

// stuckStorage is a Caddy storage behind a barrier.
type stuckStorage struct {
	Root string `json:"root"`
}

func (stuckStorage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.storage.stuck", New: func() caddy.Module { return new(stuckStorage) }}
}

func (s *stuckStorage) CertMagicStorage() (certmagic.Storage, error) {
	return slowLoads{&certmagic.FileStorage{Path: s.Root}}, nil
}

type slowLoads struct{ *certmagic.FileStorage }

func (s slowLoads) Load(ctx context.Context, key string) ([]byte, error) {
	atStorage.wait()
	return s.FileStorage.Load(ctx, key)
}

func init() {
	for _, module := range []caddy.Module{stuckStore{}, stuckArchiveStore{}, stuckStorage{}} {
		caddy.RegisterModule(module)
	}
}

// While a configuration loads and has to wait, the admin endpoint answers, both at the first start
// and at a reload.
func TestScrapeWhileLoading(t *testing.T) {
	for _, c := range []struct {
		name           string
		store, storage string // modules
		at             *barrier
	}{
		{"the store", "stuck", "file_system", &atStore},
		{"the archive of the store", "stuck_archive", "file_system", &atArchive},
		{"Caddy's storage", "memory", "stuck", &atStorage},
	} {
		for _, reload := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, reload %t", c.name, reload), func(t *testing.T) {
				t.Cleanup(wantPoolEmpty(t))
				t.Cleanup(func() {
					c.at.pass()
					if err := caddy.Stop(); err != nil {
						t.Error(err)
					}
				})
				admin := fmt.Sprintf("localhost:%d", harness.FreePort(t))
				config := func(store, storage, secret string) []byte {
					return fmt.Appendf(nil, `{"admin":{"listen":%q,"config":{"persist":false}},
						"logging":{"logs":{"default":{"writer":{"output":"discard"}}}},
						"storage":{"module":%q,"root":%q},
						"apps":{"websms":{"client_id":"cid_x","client_secret":%q,"store":{"module":%q}}}}`,
						admin, storage, t.TempDir(), secret, store)
				}
				if reload {
					if err := caddy.Load(config("memory", "file_system", "csk_before"), true); err != nil {
						t.Fatal(err)
					}
				}
				reached := c.at.stop()
				loaded := make(chan error, 1)
				go func() { loaded <- caddy.Load(config(c.store, c.storage, "csk_after"), true) }()
				select {
				case <-reached:
				case err := <-loaded:
					t.Fatalf("nothing was held up: %v", err)
				case <-time.After(20 * time.Second):
					t.Fatal("nothing was held up in 20 s")
				}
				client := http.Client{Timeout: 10 * time.Second}
				for range 3 { // a request that waits would block later ones
					for _, path := range []string{"/metrics", "/websms/status"} {
						var failure net.Error
						harness.Eventually(t, path+" is answered", func() bool { // a reload may reset a waiting connection
							res, err := client.Get("http://" + admin + path)
							if errors.As(err, &failure) && failure.Timeout() {
								t.Fatalf("GET %s: %v", path, err)
							}
							if err != nil {
								return false
							}
							_, _ = io.Copy(io.Discard, res.Body)
							res.Body.Close()
							return true
						})
					}
				}
				c.at.pass()
				select {
				case err := <-loaded:
					if err != nil {
						t.Errorf("the load fails: %v", err)
					}
				case <-time.After(20 * time.Second):
					t.Fatal("the load has not ended after 20 s")
				}
			})
		}
	}
}
