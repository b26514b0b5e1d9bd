package e2e_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"
)

// patience bounds every step in the browser.
const patience = 30 * time.Second

// chromium is the context of the browser of all tests.
var chromium context.Context

func startChromium(path, profile string) (stop func(), err error) {
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
	chromium = ctx
	return func() {
		stopTab()
		stopAllocator()
	}, chromedp.Do(ctx)
}

// A tab is a tab of a browser that has cookies of its own.
type tab struct {
	t        *testing.T
	ctx      context.Context
	scripts  bool
	problems *problems
}

// newTab opens a browser, so to say: nothing of other tests is in it.
func newTab(t *testing.T) *tab {
	t.Helper()
	needChromium(t)
	return open(t, chromium, chromedp.WithNewBrowserContext())
}

// beside opens a second tab of the same browser.
func (b *tab) beside() *tab {
	b.t.Helper()
	return open(b.t, b.ctx)
}

func open(t *testing.T, parent context.Context, opts ...chromedp.ContextOption) *tab {
	t.Helper()
	b := &tab{t: t, scripts: true, problems: newProblems()}
	ctx, cancel := chromedp.NewContext(parent, append(opts, chromedp.WithListener(b.problems.listen))...)
	b.ctx = ctx
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	call(b, log.Enable, cdp.Empty{})
	call(b, network.Enable, network.EnableParams{})
	call(b, audits.Enable, cdp.Empty{})
	// Only one window of a browser has the focus: each tab is to behave as if it were that.
	call(b, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	t.Cleanup(func() {
		for _, p := range b.problems.all() {
			t.Errorf("the browser complains: %s", p)
		}
	})
	return b
}

// withoutScripts turns JavaScript off, in the pages that are opened from now on.
func (b *tab) withoutScripts() {
	b.t.Helper()
	b.scripts = false
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
}

// ahead runs a script in every page from now on, before those of the page.
func (b *tab) ahead(script string) {
	b.t.Helper()
	call(b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%v; %s", err, b.where())
	}
}

func call[P, R any](b *tab, cmd cdp.Command[P, R], params P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	result, err := chromedp.Call(ctx, cmd, params)
	if err != nil {
		b.t.Fatalf("%s: %v", cmd.Method, err)
	}
	return result
}

// value runs an action that returns something.
func value[T any](b *tab, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		b.t.Fatalf("%v; %s", err, b.where())
	}
	return v
}

func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	return value(b, chromedp.Evaluate[T](expression))
}

// until waits for an expression to become true, over navigations too.
func (b *tab) until(expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		// An error means that the page is being replaced, or that it is not
		// there yet; what stays wrong ends in the time-out.
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("document.readyState === 'complete' && !!("+expression+")"))
		if err == nil && ok {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.t.Fatalf("never true: %s (%v); %s", expression, err, b.where())
		}
	}
}

// where says what a person would see now, for the message of a failure.
func (b *tab) where() string {
	ctx, cancel := context.WithTimeout(b.ctx, time.Second)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + " says:\n" + document.body.innerText`))
	if err != nil {
		return "the page does not answer"
	}
	return v
}

// untilAt waits until the tab shows the page of a path.
func (b *tab) untilAt(path string) {
	b.t.Helper()
	b.until("location.pathname === " + quote(path))
}

// untilText waits for words in an element.
func (b *tab) untilText(css, words string) {
	b.t.Helper()
	b.until("document.querySelector(" + quote(css) + ")?.innerText.includes(" + quote(words) + ")")
}

func (b *tab) open(url string) {
	b.t.Helper()
	b.do(chromedp.Navigate(url))
}

// click clicks on the middle of an element, as soon as nothing covers it.
func (b *tab) click(css string) {
	b.t.Helper()
	middle := `(() => {
		const element = document.querySelector(` + quote(css) + `);
		if (!element) return null;
		element.scrollIntoView({ block: "center", behavior: "instant" });
		const box = element.getBoundingClientRect();
		const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
		return element.contains(document.elementFromPoint(x, y)) ? [x, y] : null;
	})()`
	b.until(middle)
	at := eval[[]float64](b, middle)
	b.do(chromedp.MouseClickXY(at[0], at[1]))
}

// fill types into a field, in place of what stands there.
func (b *tab) fill(css, text string) {
	b.t.Helper()
	b.until("document.querySelector(" + quote(css) + ")")
	eval[bool](b, "(field => { field.focus(); field.select(); return true; })(document.querySelector("+quote(css)+"))")
	b.press(text)
}

// press types wherever the focus is.
func (b *tab) press(keys string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(keys))
}

// back goes back one page, also to one that the browser has kept as it was.
func (b *tab) back() {
	b.t.Helper()
	history := call(b, page.GetNavigationHistory, cdp.Empty{})
	entry := history.Entries[history.CurrentIndex-1]
	call(b, page.NavigateToHistoryEntry, page.NavigateToHistoryEntryParams{EntryID: entry.ID})
}

// cookies returns all cookies of the tab's browser.
func (b *tab) cookies() []*network.Cookie {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	owner := chromedp.FromContext(b.ctx).BrowserContextID
	result, err := chromedp.CallBrowser(ctx, storage.GetCookies, storage.GetCookiesParams{BrowserContextID: owner})
	if err != nil {
		b.t.Fatal(err)
	}
	return result.Cookies
}

// text returns the words of an element as they are shown.
func (b *tab) text(css string) string {
	b.t.Helper()
	return eval[string](b, "document.querySelector("+quote(css)+")?.innerText ?? 'nothing'")
}

// quote returns s as a string of JavaScript.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`, "\n", `\n`).Replace(s) + "'"
}
