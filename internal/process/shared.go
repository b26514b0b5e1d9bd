package process

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// shared is the Caddy of all tests of a program.
var shared struct {
	once      sync.Once
	dir, path string
	err       error
}

// NeedCaddy skips a test in -short mode, because the test runs a whole Caddy.
func NeedCaddy(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs a whole Caddy, which -short leaves out")
	}
}

// SharedCaddy returns the path of cmd/caddy of the repository at root. The first call builds it for
// all tests of a program. TestMain removes it with RemoveShared.
func SharedCaddy(root string) (string, error) {
	shared.once.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "websms-caddy-"); shared.err == nil {
			shared.path = filepath.Join(shared.dir, "caddy")
			shared.err = BuildCaddy(root, shared.path)
		}
	})
	return shared.path, shared.err
}

// RemoveShared removes the program that SharedCaddy has built, if any. Call it once, after all
// tests.
func RemoveShared() error {
	if shared.dir == "" {
		return nil
	}
	return os.RemoveAll(shared.dir)
}
