package e2e_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/caddy-websms/websms/internal/browser"
)

// This test opens the pages of the gate and the inbox on a phone. They are readable in light and
// dark, each control has a name, and no page is wider than the screen.
func TestPagesOnAPhone(t *testing.T) {
	t.Parallel()
	s := ownDemo(t, "limits {", "limits {\ncooldown 0s", "per_number 20/10m", "per_number 2/10m")
	b, c := newTab(t), newCaller()
	phone := b.pickUp(s)
	inspect := func(name string) { b.T.Helper(); b.inspect(name, smartphone, narrow) }
	phone.inspect("inbox-empty", smartphone, narrow)

	b.Open(s.app + "/timesheet")
	b.UntilAt("/.websms/login")
	inspect("number")
	b.Problems.Expect(422)
	b.Fill("#phone", "12")
	b.Click("button.primary")
	b.UntilText("#problem", "Enter a mobile number")
	inspect("number-wrong")
	b.Fill("#phone", c.local)
	b.Click("button.primary")
	b.UntilAt("/.websms/verify")
	m := phone.await(c.e164, 1)
	b.UntilText("#delivery", "delivered")
	inspect("code")
	b.Problems.Expect(422)
	enterCode(b, otherCode(m.Code))
	b.UntilText("#problem", "not the code")
	inspect("code-wrong")
	b.Until(`!document.querySelector("#resend button").disabled`)
	b.Click("#resend button")
	phone.await(c.e164, 2)
	b.Until(`!document.querySelector("#problem")`)
	inspect("code-again")
	phone.reply(m, "Thanks! A reply that is long enough to need a second line on a phone.")
	phone.chooseDelivery("rejected")
	phone.inspect("inbox", smartphone, narrow)

	b.Open(s.app + "/.websms/login")
	b.Problems.Expect(429)
	b.Fill("#phone", c.local)
	b.Click("button.primary")
	b.UntilText("#problem", "Please wait a little")
	inspect("not-sent")
	b.Open(s.app + "/.websms/login")
	b.UntilText(".links", "I have a code")
	inspect("number-with-code")
	browser.Call(b.Tab, network.ClearBrowserCookies, cdp.Empty{})
	b.Do(chromedp.Reload())
	b.Until(`!document.querySelector(".links")`)
	b.Problems.Expect(429)
	b.Fill("#phone", c.local)
	b.Click("button.primary")
	b.UntilText("h1", "Please wait a little")
	inspect("rate-limited")

	askForCode(b, s, "/timesheet", newCaller())
	b.UntilText("#delivery", "may not have gone out")
	inspect("code-failed")
	for range 4 {
		b.Problems.Expect(422)
		enterCode(b, otherCode(m.Code))
		b.UntilText("#problem", "left.")
		b.Do(chromedp.Reload())
		b.Until(`!document.querySelector("#problem")`)
	}
	b.Problems.Expect(422)
	enterCode(b, otherCode(m.Code))
	b.UntilText("h1", "Too many wrong codes")
	inspect("too-many")
	b.Open(s.app + "/.websms/recover")
	inspect("recover")
	b.Problems.Expect(422)
	b.Fill("#recovery", "0000-0000-0000-0")
	b.Click("button.primary")
	b.UntilText("#problem", "did not work")
	inspect("recover-wrong")
	b.Problems.Expect(404)
	b.Open(s.app + "/.websms/nowhere")
	inspect("not-found")
	composePicture(t)
}

// This test opens the remaining pages of the gate, and the legacy app on a desktop screen.
func TestPagesOfTheApp(t *testing.T) {
	t.Parallel()
	s, b, c := demo(t), newTab(t), newCaller()
	phone := b.pickUp(s)
	askForCode(b, s, "/", c)
	code := phone.await(c.e164, 1).Code
	b.inspect("code-desktop", desktop)
	enterCode(b, code)
	b.UntilAt("/")
	for _, name := range []string{"index", "directory", "notices", "timesheet"} {
		b.Open(s.app + "/" + name)
		b.inspect("app-"+name, desktop)
	}
	sendTimesheet(b)
	b.inspect("app-thanks", desktop)

	b.Click("#user button")
	b.UntilText(".notice", "signed out")
	b.inspect("signed-out", smartphone, narrow)
	b.use(desktop)
	c = newCaller()
	askForCode(b, s, "/timesheet", c)
	code = phone.await(c.e164, 1).Code
	enterCode(b, code)
	b.UntilAt("/timesheet")
	b.Fill("#employee", "4711")
	b.Fill("#week", "10102027")
	browser.Call(b.Tab, network.ClearBrowserCookies, cdp.Empty{})
	b.Problems.Expect(401)
	b.Click("#content button[type=submit]")
	b.UntilText("h1", "Your form was not sent")
	b.inspect("form-not-sent", smartphone, narrow)
	b.Open(s.app + "/")
	b.UntilAt("/.websms/login")

	askForCode(b, s, "/", newCaller())
	browser.Call(b.Tab, network.ClearBrowserCookies, cdp.Empty{})
	b.Problems.Expect(409)
	enterCode(b, code)
	b.UntilText("h1", "You need a new code")
	b.inspect("no-challenge", smartphone, narrow)
}

// composePicture joins the pictures of the two forms into one for the README.
func composePicture(t *testing.T) {
	t.Helper()
	dir := os.Getenv("WEBSMS_SCREENSHOTS")
	if dir == "" {
		return
	}
	var html strings.Builder
	html.WriteString(`<!DOCTYPE html><title>pages</title><style>
		body { display: flex; gap: 32px; margin: 0; padding: 32px; background: #8b98a6; }
		img { width: 360px; height: 740px; object-fit: cover; object-position: top; border-radius: 28px; border: 10px solid #10151b; }
	</style>`)
	for _, name := range []string{"number-light", "code-light", "number-dark", "code-dark"} {
		png, err := os.ReadFile(filepath.Join(dir, name+".png"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&html, `<img src="data:image/png;base64,%s">`, base64.StdEncoding.EncodeToString(png))
	}
	b := newTab(t)
	b.use(device{4*380 + 5*32, 760 + 2*32, 1, false})
	browser.Eval[bool](b.Tab, "document.write("+browser.Quote(html.String())+") ?? document.close() ?? true")
	b.Until("document.images.length === 4 && [...document.images].every(i => i.complete)")
	b.picture("pages")
}
