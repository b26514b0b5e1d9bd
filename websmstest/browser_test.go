package websmstest_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/caddy-websms/websms/internal/browser"
	"github.com/caddy-websms/websms/websmstest"
)

// newTab opens a tab with a window of that width. Open it after the server whose pages it shows: it
// is closed before that server, so the page's event stream ends without an error.
func newTab(t *testing.T, width, height int64) *browser.Tab {
	t.Helper()
	b := browser.NewPlainTab(t)
	b.Do(chromedp.EmulateViewport(width, height))
	return b
}

func TestInboxInBrowser(t *testing.T) {
	h := newHook(t)
	a := open(t, websmstest.Options{})
	b := newTab(t, 390, 844)
	a.sim.SetDelivery(websmstest.Silent)
	first := a.send("msgCode", "111111")
	b.Open(a.sim.InboxURL)
	b.Until(`document.querySelector('#reload').textContent == 'Live'`)
	b.Until(`document.querySelector('.otp').textContent == '111111'`)
	b.Click(`#` + first.ID + ` summary`)
	b.Fill(`#reply-`+first.ID, "half a rep")

	// A new message appears above it and is announced. The open form stays.
	a.sim.SetDelivery(websmstest.Silent)
	second := a.send("msgCode", "482174", "msgCompany", "<i>Kōwhai</i>", "webOtpDomain", "example.com")
	b.Until(`document.querySelector('#messages > li:first-child .otp').textContent == '482174'`)
	b.Until(`document.querySelector('#messages > li:first-child .sms').textContent == ` + fmt.Sprintf("%q", second.Body))
	b.Until(`document.querySelector('#announce').textContent.includes('482174 is your <i>Kōwhai</i>')`)
	b.Until(`document.activeElement.id == 'reply-` + first.ID + `' && document.activeElement.value == 'half a rep'`)

	// A delivery report appears too, and the selected delivery follows.
	a.sim.SetWebhook(h.URL, "")
	if err := a.sim.Report(t.Context(), first.ID, 1); err != nil {
		t.Fatal(err)
	}
	a.sim.SetDelivery(websmstest.Rejected)
	b.Until(`document.querySelector('#` + first.ID + ` .state').textContent == 'Delivered'`)
	b.Until(`document.querySelector('#next').value == 'rejected'`)
	b.Until(`document.activeElement.value == 'half a rep'`)

	// The reply is sent, and the page shows it after it has loaded again.
	b.Press("ly\r")
	b.Until(`document.querySelector('#` + first.ID + ` .replies')?.textContent.trim() == 'half a reply'`)
	h.next(t) // the delivery report
	if d := h.next(t); d.fields["body"] != "half a reply" {
		t.Errorf("webhook got %s", d.raw)
	}
}

func TestInboxWithoutScript(t *testing.T) {
	a := open(t, websmstest.Options{})
	b := newTab(t, 390, 844)
	a.sim.SetDelivery(websmstest.Silent)
	b.WithoutScripts()
	b.Open(a.sim.InboxURL)
	b.UntilShown("#empty")
	m := a.send()
	b.Click("#reload")
	b.UntilShown("#" + m.ID + " .otp")
	b.Until(`!document.querySelector('#empty').checkVisibility()`)
	if code := b.Text(".otp"); code != m.Code {
		t.Errorf("code %q, want %q", code, m.Code)
	}
	b.Click("#" + m.ID + " summary")
	b.Fill("#"+m.ID+" [name=body]", "yes")
	b.Click("#" + m.ID + " button")
	b.UntilShown("#" + m.ID + " .replies li")
	b.Do(chromedp.SendKeys(chromedp.CSS("#next"), "rejected"))
	b.Click(".next button")
	b.Until(`document.querySelector('#next option[value="rejected"][selected]')`)
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
	h := newHook(t, 200, 500, 500, 500, 500)
	a := open(t, websmstest.Options{})
	b := newTab(t, 1280, 900)
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
			browser.Call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
			})
			b.Do(chromedp.EmulateViewport(width, 800))
			b.Open(a.sim.InboxURL)
			b.Until(`document.querySelector('#reload').textContent == 'Live'`)
			b.Click(`summary`)
			if bad := browser.Eval[[]string](b, lowContrast); len(bad) > 0 {
				t.Errorf("%s, %d px: %q", scheme, width, bad)
			}
			if dir := os.Getenv("WEBSMS_TEST_PICTURES"); dir != "" {
				png := browser.Value(b, chromedp.CaptureScreenshot())
				if err := os.WriteFile(fmt.Sprintf("%s/inbox-%s-%d.png", dir, scheme, width), png, 0o644); err != nil {
					t.Error(err)
				}
			}
		}
	}
}
