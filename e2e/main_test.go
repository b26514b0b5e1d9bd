package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddy-websms/websms/internal/browser"
	"github.com/caddy-websms/websms/internal/process"
)

// root is the repository's root, seen from this package.
const root = ".."

// What the tests share, once TestMain has made it.
var (
	program string // path of the built Caddy
	shared  *site  // the demo as it is
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	flag.Parse()
	if !browser.Available() || testing.Short() {
		return m.Run(), nil // each test says that it is skipped
	}
	dir, err := os.MkdirTemp("", "websms-e2e-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "caddy")
	if err := process.BuildCaddy(root, program); err != nil {
		return 0, err
	}
	if chromium, err = browser.Start(filepath.Join(dir, "chromium")); err != nil {
		return 0, err
	}
	defer chromium.Stop()
	demo, err := os.ReadFile(filepath.Join(root, "demo", "Caddyfile"))
	if err != nil {
		return 0, err
	}
	if shared, err = startSite(string(demo), filepath.Join(dir, "demo")); err != nil {
		return 0, err
	}
	code = m.Run()
	return code, shared.stop()
}
