// Package browser drives a real, headless Chromium as a person does, and collects the problems that
// the browser reports. It is for tests alone.
//
// Without a Chromium a test is skipped, or fails if the comma-separated WEBSMS_TEST_REQUIRE names
// "chromium".
package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/caddy-websms/websms/internal/testlevel"
)

// PlainHost is a name of this machine. Unlike localhost, browsers do not trust it over plain HTTP.
const PlainHost = "plain.test"

// find returns the path of a Chromium.
func find() (path string, err error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("there is no chromium, chromium-browser or google-chrome on this machine")
}

// Need skips a test if there is no Chromium. If the environment requires one, Need fails the test.
func Need(t testing.TB) {
	t.Helper()
	_, err := find()
	testlevel.Need(t, "chromium", err)
}

// shared is the Chromium of all tests of a program.
var shared struct {
	once    sync.Once
	dir     string
	browser *Browser
	err     error
}

// NewTab opens a tab in the Chromium that all tests of a program share. The first call starts that
// Chromium. TestMain ends it with Stop. The tab has cookies of its own, so it sees nothing of other
// tests. It is closed when the test ends. The test fails if the browser has found a problem in its
// pages. Open the tab after the server of those pages: a server that stops first breaks open event
// streams, and the browser reports that.
func NewTab(t testing.TB) *Tab {
	t.Helper()
	return sharedBrowser(t).NewTab(t)
}

// NewPlainTab is NewTab for pages that store nothing in the browser. All plain tabs share their
// cookies, so they cost half as much.
func NewPlainTab(t testing.TB) *Tab {
	t.Helper()
	return open(t, sharedBrowser(t).ctx)
}

func sharedBrowser(t testing.TB) *Browser {
	t.Helper()
	Need(t)
	shared.once.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "websms-chromium-"); shared.err == nil {
			shared.browser, shared.err = Start(filepath.Join(shared.dir, "profile"))
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.browser
}

// Stop ends the Chromium that NewTab has started, if any. Call it once, after all tests.
func Stop() {
	if shared.browser != nil {
		shared.browser.Stop()
	}
	if shared.dir != "" {
		_ = os.RemoveAll(shared.dir) // Chromium may still write to it
	}
}

// unused are features of Chromium that no test uses. With the features WebUIOmnibox*, each window
// loads two pages for the list below its address bar. Those cost more than the pages of a short test.
var unused = []string{"Translate", "WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup"}

// Browser is a running Chromium. It is safe for concurrent use.
type Browser struct {
	ctx  context.Context
	stop func()
}

// Start starts a Chromium. It makes the folder profile, and Chromium writes all its files there.
func Start(profile string) (*Browser, error) {
	path, err := find()
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(profile, 0o700); err != nil {
		return nil, err
	}
	// The defaults are headless mode, no first-run dialogue, no background networking and no sync.
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(profile), chromedp.Env("HOME="+profile, "XDG_CONFIG_HOME="+profile, "XDG_CACHE_HOME="+profile),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-features", strings.Join(unused, ",")),
		chromedp.Flag("lang", "en-NZ"),
		chromedp.Flag("host-resolver-rules", "MAP "+PlainHost+" 127.0.0.1"))
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), opts...)
	// chromedp logs DOM changes that it cannot follow in pages that the browser has cached. Ignore
	// these, because every real failure also returns an error.
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

// NewTab opens a tab with cookies of its own, so it sees nothing of other tests. It is closed when
// the test ends. The test fails if the browser has found a problem in its pages.
func (b *Browser) NewTab(t testing.TB) *Tab {
	t.Helper()
	return open(t, b.ctx, chromedp.WithNewBrowserContext())
}

// NewPlainTab is NewTab, but all plain tabs of a browser share their cookies.
func (b *Browser) NewPlainTab(t testing.TB) *Tab {
	t.Helper()
	return open(t, b.ctx)
}

// SetCookies blocks all cookies in the browser, or allows them again, as a person does in its
// settings. It applies at once to all tabs.
func (b *Browser) SetCookies(t testing.TB, allow bool) {
	t.Helper()
	settings := b.NewPlainTab(t) // the settings page exists only with the cookies of the profile
	settings.Problems.Forget()   // this page is not under test
	settings.Open("chrome://settings")
	settings.Until("window.chrome?.settingsPrivate")
	value := "block"
	if allow {
		value = "allow"
	}
	settings.Run(`chrome.settingsPrivate.setPref("generated.cookie_default_content_setting", "` + value + `", "",
		(ok) => { window.set = ok; })`)
	settings.Until("window.set === true")
}
