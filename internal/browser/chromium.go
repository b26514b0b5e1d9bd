// Package browser drives a real, headless Chromium the way a person does, and
// collects what the browser complains of. It is for tests alone.
//
// Where there is no Chromium a test is skipped; with "chromium" in the
// comma-separated WEBSMS_TEST_REQUIRE it fails instead.
package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

var errNoChromium = errors.New("there is no chromium, chromium-browser or google-chrome on this machine")

// find returns the path of a Chromium.
func find() (path string, ok bool) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, true
		}
	}
	return "", false
}

// Available reports whether there is a Chromium on the machine.
func Available() bool {
	_, ok := find()
	return ok
}

// Need skips a test where there is no Chromium, or fails it where one is
// required.
func Need(t testing.TB) {
	t.Helper()
	if Available() {
		return
	}
	if slices.Contains(strings.Split(os.Getenv("WEBSMS_TEST_REQUIRE"), ","), "chromium") {
		t.Fatal(errNoChromium)
	}
	t.Skip(errNoChromium)
}

// Browser is a Chromium that runs. It is safe for concurrent use.
type Browser struct {
	ctx  context.Context
	stop func()
}

// Start starts a Chromium. What it writes goes into the folder profile, which
// it makes.
func Start(profile string) (*Browser, error) {
	path, ok := find()
	if !ok {
		return nil, errNoChromium
	}
	if err := os.Mkdir(profile, 0o700); err != nil {
		return nil, err
	}
	// The defaults are headless, without first run, background networking or sync.
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(profile), chromedp.Env("HOME="+profile, "XDG_CONFIG_HOME="+profile, "XDG_CACHE_HOME="+profile),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("lang", "en-NZ"))
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), opts...)
	// chromedp writes of what it cannot follow in the DOM of pages that the
	// browser has kept. Whatever fails here fails with an error of its own.
	ctx, stopTab := chromedp.NewContext(allocator, chromedp.WithErrorf(func(string, ...any) {}))
	b := &Browser{ctx: ctx, stop: func() {
		stopTab()
		stopAllocator()
	}}
	if err := chromedp.Do(ctx); err != nil {
		b.Stop()
		return nil, fmt.Errorf("%s does not start: %w", path, err)
	}
	return b, nil
}

// Stop ends the browser, with all its tabs.
func (b *Browser) Stop() { b.stop() }

// NewTab opens a tab that has cookies of its own: nothing of other tests is in
// it. It is closed when the test ends, which fails if the browser has found
// something wrong with its pages.
func (b *Browser) NewTab(t testing.TB) *Tab {
	t.Helper()
	return open(t, b.ctx, chromedp.WithNewBrowserContext())
}
