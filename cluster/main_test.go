package cluster_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/caddy-websms/websms/internal/browser"
	"github.com/caddy-websms/websms/internal/process"
	"github.com/caddy-websms/websms/redisstore/redistest"
)

// root is the repository's root, seen from this package.
const root = ".."

// scratch is a folder of all tests.
var scratch string

// program is the path of the Caddy of all tests, built for the first of them.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "caddy")
	return path, process.BuildCaddy(root, path)
})

// chromium is the browser of all tests, started for the first of them.
var (
	chromium = sync.OnceValues(func() (*browser.Browser, error) {
		b, err := browser.Start(filepath.Join(scratch, "chromium"))
		if err == nil {
			stopChromium = b.Stop
		}
		return b, err
	})
	stopChromium = func() {}
)

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if scratch, err = os.MkdirTemp("", "websms-cluster-"); err != nil {
		return 0, err
	}
	code = m.Run()
	stopChromium()
	return code, os.RemoveAll(scratch)
}

// need skips a test that has not what it needs, or fails it where that is
// required.
func need(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs whole Caddys, which -short leaves out")
	}
	redistest.Need(t)
}

// newTab opens a browser, so to say: nothing of other tests is in it.
func newTab(t *testing.T) *browser.Tab {
	t.Helper()
	need(t)
	browser.Need(t)
	b, err := chromium()
	if err != nil {
		t.Fatal(err)
	}
	return b.NewTab(t)
}
