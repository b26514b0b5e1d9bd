package e2e_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	// root is the repository's root, seen from this package.
	root = ".."

	buildTime = 5 * time.Minute // with an empty build cache
)

var errNoChromium = errors.New("there is no chromium, chromium-browser or google-chrome on this machine")

// What the tests share, once TestMain has made it.
var (
	program string // path of the built Caddy
	shared  *site  // the demo as it is
	lacking error  // why there is no browser
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
	browser, ok := findChromium()
	if !ok {
		lacking = errNoChromium
	}
	if !ok || testing.Short() {
		return m.Run(), nil // each test says that it is skipped
	}
	dir, err := os.MkdirTemp("", "websms-e2e-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if err := build(filepath.Join(dir, "caddy")); err != nil {
		return 0, err
	}
	stop, err := startChromium(browser, filepath.Join(dir, "chromium"))
	if err != nil {
		return 0, fmt.Errorf("%s does not start: %w", browser, err)
	}
	defer stop()
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

func findChromium() (path string, ok bool) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, true
		}
	}
	return "", false
}

// build builds cmd/caddy.
func build(to string) error {
	ctx, cancel := context.WithTimeout(context.Background(), buildTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-o", to, "./cmd/caddy")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build ./cmd/caddy: %w\n%s", err, out)
	}
	program = to
	return nil
}

// needChromium skips a test that has no browser, or fails it where one is required.
func needChromium(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs a whole Caddy, which -short leaves out")
	}
	if lacking == nil {
		return
	}
	if slices.Contains(strings.Split(os.Getenv("WEBSMS_TEST_REQUIRE"), ","), "chromium") {
		t.Fatal(lacking)
	}
	t.Skip(lacking)
}
