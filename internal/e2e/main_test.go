package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/caddy-websms/websms/internal/browser"
	"github.com/caddy-websms/websms/internal/process"
)

// root is the root of the repository, relative to this package.
const root = "../.."

// shared is the unchanged demo. The first test that needs it starts it.
var shared = sync.OnceValues(func() (*site, error) {
	text, err := demoCaddyfile()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "websms-e2e-")
	if err != nil {
		return nil, err
	}
	s, err := startSite(text, dir)
	if err == nil {
		stopShared = func() error { return errors.Join(s.stop(), os.RemoveAll(dir)) }
	}
	return s, err
})

var stopShared = func() error { return nil }

func TestMain(m *testing.M) {
	code := m.Run()
	browser.Stop()
	if err := errors.Join(stopShared(), process.RemoveShared()); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func demoCaddyfile() (string, error) {
	text, err := os.ReadFile(filepath.Join(root, "demo", "Caddyfile"))
	return string(text), err
}
