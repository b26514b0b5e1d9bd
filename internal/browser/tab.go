package browser

import (
	"context"
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
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// Patience bounds every step in the browser.
const Patience = 30 * time.Second

// Tab is a tab of a Chromium. A method that fails also fails the test. Call methods only from the
// test's own goroutine.
type Tab struct {
	T        testing.TB
	Ctx      context.Context // context of chromedp
	Problems *Problems
	scripts  bool
}

// Beside opens a second tab of the same browser, with the same cookies.
func (b *Tab) Beside() *Tab {
	b.T.Helper()
	return open(b.T, b.Ctx)
}

// Popup returns a tab for the window that a page of b opens while do runs.
func (b *Tab) Popup(do func()) *Tab {
	b.T.Helper()
	ctx, cancel := context.WithTimeout(b.Ctx, Patience)
	defer cancel()
	opened := chromedp.WaitNewTarget(ctx, func(*target.Info) bool { return true })
	do()
	select {
	case id, ok := <-opened:
		if ok {
			return open(b.T, b.Ctx, chromedp.WithTargetID(id))
		}
	case <-ctx.Done():
	}
	b.T.Fatalf("no window was opened; %s", b.Where())
	return nil
}

func open(t testing.TB, parent context.Context, opts ...chromedp.ContextOption) *Tab {
	t.Helper()
	b := &Tab{T: t, scripts: true, Problems: newProblems()}
	ctx, cancel := chromedp.NewContext(parent, append(opts, chromedp.WithListener(b.Problems.listen))...)
	b.Ctx = ctx
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	Call(b, log.Enable, cdp.Empty{})
	Call(b, network.Enable, network.EnableParams{})
	Call(b, audits.Enable, cdp.Empty{})
	// Only one window of a browser has the focus. This makes each tab behave as if it had the
	// focus.
	Call(b, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	t.Cleanup(func() {
		// The answer comes after all events before it.
		limited, stop := context.WithTimeout(ctx, time.Second)
		_, _ = chromedp.Run(limited, chromedp.Evaluate[chromedp.Void]("0"))
		stop()
		for _, p := range b.Problems.All() {
			t.Errorf("the browser complains: %s", p)
		}
	})
	return b
}

// WithoutScripts turns JavaScript off in pages that are opened from now on.
func (b *Tab) WithoutScripts() {
	b.T.Helper()
	b.scripts = false
	Call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
}

// Ahead runs a script in every page from now on, before the scripts of the page.
func (b *Tab) Ahead(script string) {
	b.T.Helper()
	Call(b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
}

// Do runs steps of chromedp, all within Patience.
func (b *Tab) Do(steps ...chromedp.Action[chromedp.Void]) {
	b.T.Helper()
	ctx, cancel := context.WithTimeout(b.Ctx, Patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.T.Fatalf("%v; %s", err, b.Where())
	}
}

// Call sends the browser a command of the DevTools protocol.
func Call[P, R any](b *Tab, cmd cdp.Command[P, R], params P) R {
	b.T.Helper()
	ctx, cancel := context.WithTimeout(b.Ctx, Patience)
	defer cancel()
	result, err := chromedp.Call(ctx, cmd, params)
	if err != nil {
		b.T.Fatalf("%s: %v", cmd.Method, err)
	}
	return result
}

// Value runs an action and returns its result.
func Value[T any](b *Tab, action chromedp.Action[T]) T {
	b.T.Helper()
	ctx, cancel := context.WithTimeout(b.Ctx, Patience)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		b.T.Fatalf("%v; %s", err, b.Where())
	}
	return v
}

// Eval returns the value of a JavaScript expression in the page.
func Eval[T any](b *Tab, expression string) T {
	b.T.Helper()
	return Value(b, chromedp.Evaluate[T](expression))
}

// Run runs a script in the page.
func (b *Tab) Run(script string) {
	b.T.Helper()
	b.Do(chromedp.Evaluate[chromedp.Void](script))
}

// Until waits for an expression to become true. The page may change in the meantime.
func (b *Tab) Until(expression string) {
	b.T.Helper()
	ctx, cancel := context.WithTimeout(b.Ctx, Patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		// An error means that the page is being replaced or is not loaded yet. An error that lasts
		// ends in the timeout.
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("document.readyState === 'complete' && !!("+expression+")"))
		if err == nil && ok {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.T.Fatalf("never true: %s (%v); %s", expression, err, b.Where())
		}
	}
}

// Where describes the page that the tab shows now, for the message of a failure.
func (b *Tab) Where() string {
	ctx, cancel := context.WithTimeout(b.Ctx, time.Second)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + " says:\n" + document.body.innerText`))
	if err != nil {
		return "the page does not answer"
	}
	return v
}

// UntilAt waits until the tab shows the page at this path.
func (b *Tab) UntilAt(path string) {
	b.T.Helper()
	b.Until("location.pathname === " + Quote(path))
}

// UntilText waits for words in an element.
func (b *Tab) UntilText(css, words string) {
	b.T.Helper()
	b.Until("document.querySelector(" + Quote(css) + ")?.innerText.includes(" + Quote(words) + ")")
}

// UntilShown waits until an element exists and is visible.
func (b *Tab) UntilShown(css string) {
	b.T.Helper()
	b.Until("document.querySelector(" + Quote(css) + ")?.checkVisibility()")
}

// Open goes to a URL.
func (b *Tab) Open(url string) {
	b.T.Helper()
	b.Do(chromedp.Navigate(url))
}

// Click clicks on the middle of an element, as soon as no other element covers it.
func (b *Tab) Click(css string) {
	b.T.Helper()
	middle := `(() => {
		const element = document.querySelector(` + Quote(css) + `);
		if (!element) return null;
		element.scrollIntoView({ block: "center", behavior: "instant" });
		const box = element.getBoundingClientRect();
		const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
		return element.contains(document.elementFromPoint(x, y)) ? [x, y] : null;
	})()`
	b.Until(middle)
	at := Eval[[]float64](b, middle)
	b.Do(chromedp.MouseClickXY(at[0], at[1]))
}

// Fill replaces the content of a field.
func (b *Tab) Fill(css, text string) {
	b.T.Helper()
	b.Until("document.querySelector(" + Quote(css) + ")")
	Eval[bool](b, "(field => { field.focus(); field.select(); return true; })(document.querySelector("+Quote(css)+"))")
	b.Press(text)
}

// Press types into the element that has the focus.
func (b *Tab) Press(keys string) {
	b.T.Helper()
	b.Do(chromedp.KeyEvent(keys))
}

// Back goes back one page, also to a page that the browser has cached.
func (b *Tab) Back() {
	b.T.Helper()
	history := Call(b, page.GetNavigationHistory, cdp.Empty{})
	entry := history.Entries[history.CurrentIndex-1]
	Call(b, page.NavigateToHistoryEntry, page.NavigateToHistoryEntryParams{EntryID: entry.ID})
}

// Cookies returns all cookies of the tab's browser.
func (b *Tab) Cookies() []*network.Cookie {
	b.T.Helper()
	ctx, cancel := context.WithTimeout(b.Ctx, Patience)
	defer cancel()
	owner := chromedp.FromContext(b.Ctx).BrowserContextID
	result, err := chromedp.CallBrowser(ctx, storage.GetCookies, storage.GetCookiesParams{BrowserContextID: owner})
	if err != nil {
		b.T.Fatal(err)
	}
	return result.Cookies
}

// Text returns the visible text of an element.
func (b *Tab) Text(css string) string {
	b.T.Helper()
	return Eval[string](b, "document.querySelector("+Quote(css)+")?.innerText ?? 'nothing'")
}

// Quote returns s as a string literal of JavaScript.
func Quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`, "\n", `\n`).Replace(s) + "'"
}

// Scripts reports whether JavaScript is on.
func (b *Tab) Scripts() bool { return b.scripts }
