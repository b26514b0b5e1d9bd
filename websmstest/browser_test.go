package websmstest_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/caddy-websms/websms/websmstest"
)

// newBrowser returns a tab of a headless Chromium with a window of that width. If the
// console of the tab holds an error or a warning at the end, the test fails.
func newBrowser(t *testing.T, width, height int) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if strings.Contains(os.Getenv("WEBSMS_TEST_REQUIRE"), "chromium") {
			t.Fatalf("WEBSMS_TEST_REQUIRE asks for chromium: %v", err)
		}
		t.Skip("chromium is not installed")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.WindowSize(width, height),
	)
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stop := chromedp.NewContext(allocator)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting the browser: %v", err)
	}
	messages := chromedp.Console(ctx)
	t.Cleanup(func() {
		// All messages that were logged before this line have arrived before it.
		const end = "end of the test"
		if _, err := chromedp.Run(ctx, chromedp.Evaluate[chromedp.Void](`console.info("`+end+`")`)); err != nil {
			t.Errorf("writing on the console: %v", err)
		} else {
			for m, err := range messages {
				if err != nil {
					t.Errorf("reading the console: %v", err)
				}
				if err != nil || m.Text == end {
					break
				}
				t.Errorf("on the console: %s", m)
			}
		}
		if err := chromedp.Cancel(ctx); err != nil {
			t.Errorf("closing the browser: %v", err)
		}
		stop()
		stopAllocator()
	})
	return ctx
}

// do runs actions one by one, each within 20 seconds.
func do(t *testing.T, ctx context.Context, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	for i, action := range actions {
		limited, stop := context.WithTimeout(ctx, 20*time.Second)
		_, err := chromedp.Run(limited, action)
		stop()
		if err != nil {
			t.Fatalf("step %d: %v", i+1, err)
		}
	}
}

// get runs an action and returns its value.
func get[T any](t *testing.T, ctx context.Context, action chromedp.Action[T]) (value T) {
	t.Helper()
	do(t, ctx, func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		var err error
		value, err = action(ctx, target)
		return chromedp.Void{}, err
	})
	return value
}

// command is an action of the DevTools protocol.
func command[P, R any](cmd cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, cmd, params)
		return err
	})
}

// holds waits for a condition on the current page.
func holds(condition string) chromedp.Action[chromedp.Void] {
	return chromedp.Poll[chromedp.Void](condition)
}

// present waits for an element, on the current page or on the next one.
func present(selector chromedp.CSS) chromedp.Action[chromedp.Void] {
	return chromedp.Query(selector)
}

func TestInboxInBrowser(t *testing.T) {
	ctx := newBrowser(t, 390, 844)
	h := newHook(t)
	a := open(t, websmstest.Options{})
	a.sim.SetDelivery(websmstest.Silent)
	first := a.send("msgCode", "111111")
	do(t, ctx,
		chromedp.Navigate(a.sim.InboxURL),
		holds(`document.querySelector('#reload').textContent == 'Live'`),
		holds(`document.querySelector('.otp').textContent == '111111'`),
		chromedp.Click(chromedp.CSS(`#`+first.ID+` summary`)),
		chromedp.SendKeys(chromedp.CSS(`#reply-`+first.ID), "half a rep"),
	)

	// A new message appears above it and is announced. The open form stays.
	a.sim.SetDelivery(websmstest.Silent)
	second := a.send("msgCode", "482174", "msgCompany", "<i>Kōwhai</i>", "webOtpDomain", "example.com")
	do(t, ctx,
		holds(`document.querySelector('#messages > li:first-child .otp').textContent == '482174'`),
		holds(`document.querySelector('#messages > li:first-child .sms').textContent == `+fmt.Sprintf("%q", second.Body)),
		holds(`document.querySelector('#announce').textContent.includes('482174 is your <i>Kōwhai</i>')`),
		holds(`document.activeElement.id == 'reply-`+first.ID+`' && document.activeElement.value == 'half a rep'`),
	)

	// A delivery report appears too, and the selected delivery follows.
	a.sim.SetWebhook(h.URL, "")
	if err := a.sim.Report(t.Context(), first.ID, 1); err != nil {
		t.Fatal(err)
	}
	a.sim.SetDelivery(websmstest.Rejected)
	do(t, ctx,
		holds(`document.querySelector('#`+first.ID+` .state').textContent == 'Delivered'`),
		holds(`document.querySelector('#next').value == 'rejected'`),
		holds(`document.activeElement.value == 'half a rep'`),

		// The reply is sent, and the page shows it after it has loaded again.
		chromedp.SendKeys(chromedp.CSS(`#reply-`+first.ID), "ly\r"),
		present(chromedp.CSS("#"+first.ID+" .replies li")),
		holds(`document.querySelector('#`+first.ID+` .replies').textContent.trim() == 'half a reply'`),
	)
	h.next(t) // the delivery report
	if d := h.next(t); d.fields["body"] != "half a reply" {
		t.Errorf("webhook got %s", d.raw)
	}
}

func TestInboxWithoutScript(t *testing.T) {
	ctx := newBrowser(t, 390, 844)
	a := open(t, websmstest.Options{})
	a.sim.SetDelivery(websmstest.Silent)
	do(t, ctx,
		command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}),
		chromedp.Navigate(a.sim.InboxURL),
		chromedp.Query(chromedp.CSS("#empty"), chromedp.NodeVisible),
	)
	m := a.send()
	of := func(selector string) chromedp.CSS { return chromedp.CSS("#" + m.ID + selector) }
	do(t, ctx,
		chromedp.Click(chromedp.CSS("#reload")),
		present(of(" .otp")),
		chromedp.Query(chromedp.CSS("#empty"), chromedp.NodeNotVisible),
	)
	if code := get(t, ctx, chromedp.Text(chromedp.CSS(".otp"))); code != m.Code {
		t.Errorf("code %q, want %q", code, m.Code)
	}
	do(t, ctx,
		chromedp.Click(of(" summary")),
		chromedp.SendKeys(of(" [name=body]"), "yes"),
		chromedp.Click(of(" button")),
		present(of(" .replies li")),
		chromedp.SendKeys(chromedp.CSS("#next"), "rejected"),
		chromedp.Click(chromedp.CSS(".next button")),
		present(`#next option[value="rejected"][selected]`),
	)
	if replies := a.sim.Messages()[0].Replies; !slices.Equal(replies, []string{"yes"}) {
		t.Errorf("replies %q", replies)
	}
	rejected := a.send()
	if _, err := a.sim.WaitMessage(t.Context(),
		func(now websmstest.Message) bool { return now.ID == rejected.ID && now.State == "rejected" }); err != nil {
		t.Error(err)
	}
}

// lowContrast is a script that lists two kinds of elements: texts with a contrast to
// their background of less than 4.5 to 1 (WCAG 2.2, success criterion 1.4.3), and
// elements that are wider than the window.
const lowContrast = `(() => {
	const parse = (c) => c.match(/[\d.]+/g).map(Number);
	const luminance = ([r, g, b]) => [r, g, b].map((v) => v / 255)
		.map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const behind = (e) => {
		for (; e; e = e.parentElement) {
			const c = parse(getComputedStyle(e).backgroundColor);
			if (c.length === 3 || c[3] > 0) return c;
		}
		return [255, 255, 255];
	};
	const bad = [];
	let seen = 0;
	for (const e of document.body.querySelectorAll('*')) {
		const text = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
		if (text && e.checkVisibility()) {
			seen++;
			const [a, b] = [luminance(parse(getComputedStyle(e).color)), luminance(behind(e))];
			const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
			if (ratio < 4.5) bad.push(e.className + ' ' + e.textContent.trim() + ': ' + ratio.toFixed(2));
		}
		if (e.getBoundingClientRect().right > innerWidth) bad.push(e.tagName + ' ' + e.className + ' is too wide');
	}
	if (seen < 15) bad.push('only ' + seen + ' texts seen');
	return bad;
})()`

// WEBSMS_TEST_PICTURES names a folder for pictures of the pages in this test.
func TestInboxContrast(t *testing.T) {
	ctx := newBrowser(t, 1280, 900)
	h := newHook(t, 200, 500, 500, 500, 500)
	a := open(t, websmstest.Options{})
	a.sim.SetDelivery(websmstest.Silent)
	m := a.send("msgCompany", strings.Repeat("W", 160), "webOtpDomain", strings.Repeat("long-label.", 20)+"example")
	a.sim.SetWebhook(h.URL+"/"+strings.Repeat("hook", 50), "")
	if err := a.sim.Reply(t.Context(), m.ID, strings.Repeat("re", 200)); err != nil {
		t.Fatal(err)
	}
	if err := a.sim.Report(t.Context(), m.ID, 2); err == nil {
		t.Error("the report met no trouble")
	}
	a.sim.SetDelivery(websmstest.Silent)
	a.send()
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{360, 1280} {
			do(t, ctx,
				command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
					Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
				}),
				chromedp.EmulateViewport(width, 800),
				chromedp.Navigate(a.sim.InboxURL),
				holds(`document.querySelector('#reload').textContent == 'Live'`),
				chromedp.Click(chromedp.CSS(`summary`)),
			)
			if bad := get(t, ctx, chromedp.Evaluate[[]string](lowContrast)); len(bad) > 0 {
				t.Errorf("%s, %d px: %q", scheme, width, bad)
			}
			if dir := os.Getenv("WEBSMS_TEST_PICTURES"); dir != "" {
				png := get(t, ctx, chromedp.CaptureScreenshot())
				if err := os.WriteFile(fmt.Sprintf("%s/inbox-%s-%d.png", dir, scheme, width), png, 0o644); err != nil {
					t.Error(err)
				}
			}
		}
	}
}
