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
)

// All pages of the gate, and the inbox, on a phone: legible in light and dark,
// with names for all that can be used, and no wider than the screen.
func TestPagesOnAPhone(t *testing.T) {
	t.Parallel()
	s := ownDemo(t, "limits {", "limits {\ncooldown 1s", "per_number 20/10m", "per_number 2/10m")
	b, c := newTab(t), newCaller()
	phone := b.pickUp(s)
	inspect := func(name string) { b.t.Helper(); b.inspect(name, smartphone, narrow) }
	phone.inspect("inbox-empty", smartphone, narrow)

	b.open(s.app + "/timesheet")
	b.untilAt("/.websms/login")
	inspect("number")
	b.problems.expect(422)
	b.fill("#phone", "12")
	b.click("button.primary")
	b.untilText("#problem", "Enter a mobile number")
	inspect("number-wrong")
	b.fill("#phone", c.local)
	b.click("button.primary")
	b.untilAt("/.websms/verify")
	m := phone.await(c.e164, 1)
	b.untilText("#delivery", "delivered")
	inspect("code")
	b.problems.expect(422)
	enterCode(b, another(m.Code))
	b.untilText("#problem", "not the code")
	inspect("code-wrong")
	b.until(`!document.querySelector("#resend button").disabled`)
	b.click("#resend button")
	phone.await(c.e164, 2)
	b.until(`!document.querySelector("#problem")`)
	inspect("code-again")
	phone.reply(m, "Thanks! A reply that is long enough to need a second line on a phone.")
	phone.chooseDelivery("rejected")
	phone.inspect("inbox", smartphone, narrow)

	b.open(s.app + "/.websms/login")
	b.problems.expect(429)
	b.fill("#phone", c.local)
	b.click("button.primary")
	b.untilText("h1", "Please wait a little")
	inspect("rate-limited")

	askForCode(b, s, "/timesheet", newCaller())
	b.untilText("#delivery", "may not have gone out")
	inspect("code-failed")
	for range 4 {
		b.problems.expect(422)
		enterCode(b, another(m.Code))
		b.untilText("#problem", "left.")
		b.do(chromedp.Reload())
		b.until(`!document.querySelector("#problem")`)
	}
	b.problems.expect(422)
	enterCode(b, another(m.Code))
	b.untilText("h1", "Too many wrong codes")
	inspect("too-many")
	b.problems.expect(404)
	b.open(s.app + "/.websms/nowhere")
	inspect("not-found")
	composePicture(t)
}

// What is left of the gate's pages, and the legacy app on a desk, for which it
// was made.
func TestPagesOfTheApp(t *testing.T) {
	t.Parallel()
	s, b, c := demo(t), newTab(t), newCaller()
	phone := b.pickUp(s)
	askForCode(b, s, "/", c)
	code := phone.await(c.e164, 1).Code
	b.inspect("code-desktop", desktop)
	enterCode(b, code)
	b.untilAt("/")
	for _, name := range []string{"index", "directory", "notices", "timesheet"} {
		b.open(s.app + "/" + name)
		b.inspect("app-"+name, desktop)
	}
	sendTimesheet(b)
	b.inspect("app-thanks", desktop)

	b.click("#user button")
	b.untilText(".notice", "signed out")
	b.inspect("signed-out", smartphone, narrow)
	b.use(desktop)
	c = newCaller()
	askForCode(b, s, "/timesheet", c)
	code = phone.await(c.e164, 1).Code
	enterCode(b, code)
	b.untilAt("/timesheet")
	b.fill("#employee", "4711")
	b.fill("#week", "10102027")
	call(b, network.ClearBrowserCookies, cdp.Empty{})
	b.problems.expect(401)
	b.click("#content button[type=submit]")
	b.untilText("h1", "Your form was not sent")
	b.inspect("form-not-sent", smartphone, narrow)
	b.open(s.app + "/")
	b.untilAt("/.websms/login")

	askForCode(b, s, "/", newCaller())
	call(b, network.ClearBrowserCookies, cdp.Empty{})
	b.problems.expect(409)
	enterCode(b, code)
	b.untilText("h1", "No code is waiting")
	b.inspect("no-challenge", smartphone, narrow)
}

// composePicture joins the pictures of the two forms to one for the README.
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
	eval[bool](b, "document.write("+quote(html.String())+") ?? document.close() ?? true")
	b.until("document.images.length === 4 && [...document.images].every(i => i.complete)")
	b.picture("pages")
}
