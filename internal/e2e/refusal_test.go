package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/caddy-websms/websms/internal/browser"
)

// The form refuses a number that is not valid and shows the error at the field. The number stays in
// its field, so the user can correct it.
func TestWrongNumber(t *testing.T) {
	t.Parallel()
	s, b, c := demo(t), newTab(t), newCaller()
	b.Open(s.app + "/timesheet?week=42")
	b.UntilAt("/.websms/login")
	for number, words := range map[string]string{"0800 83 83 83": "Enter a mobile number", "+55 11 96123 4567": "in that country"} {
		b.Problems.Expect(422)
		b.Fill("#phone", number)
		b.Click("button.primary")
		b.UntilText("#problem", words)
		b.wrongField("#phone")
		if kept := browser.Eval[string](b.Tab, `document.querySelector("#phone").value`); kept != number {
			t.Errorf("the field holds %q, want the number %q", kept, number)
		}
	}
	b.Fill("#phone", c.local)
	b.Click("button.primary")
	b.UntilAt("/.websms/verify")
}

// wrongField checks that the field is marked as wrong, that a screen reader reads the error, and
// that the field has the focus.
func (b *tab) wrongField(css string) {
	b.T.Helper()
	b.Until("document.activeElement === document.querySelector(" + browser.Quote(css) + ")")
	state := browser.Eval[map[string]any](b.Tab, `(() => {
		const field = document.querySelector(`+browser.Quote(css)+`);
		return {
			invalid: field.getAttribute("aria-invalid") === "true",
			described: field.getAttribute("aria-describedby").split(" ").includes("problem"),
			alert: document.querySelector("#problem").getAttribute("role") === "alert",
		};
	})()`)
	for what, ok := range state {
		if ok != true {
			b.T.Errorf("after an error in %s, %q is not so", css, what)
		}
	}
}

// A wrong code costs a try. The right code still works.
func TestWrongCodeThenRight(t *testing.T) {
	t.Parallel()
	s, b, c := demo(t), newTab(t), newCaller()
	phone := b.pickUp(s)
	askForCode(b, s, "/timesheet", c)
	code := phone.await(c.e164, 1).Code
	for _, left := range []string{"4 tries", "3 tries"} {
		b.Problems.Expect(422)
		enterCode(b, otherCode(code))
		b.UntilText("#problem", left+" left")
		b.wrongField("#code")
	}
	// Reloading the page sends no code and gives back no try.
	b.Do(chromedp.Reload())
	b.Until(`document.querySelector("#code") && !document.querySelector("#problem")`)
	b.Problems.Expect(422)
	enterCode(b, otherCode(code))
	b.UntilText("#problem", "2 tries left")
	enterCode(b, code)
	b.UntilAt("/timesheet")
	phone.await(c.e164, 1)
}

// Five wrong codes end a challenge. After that, the right code does not work either.
func TestTooManyWrongCodes(t *testing.T) {
	t.Parallel()
	s, b, c := demo(t), newTab(t), newCaller()
	phone := b.pickUp(s)
	askForCode(b, s, "/timesheet", c)
	code := phone.await(c.e164, 1).Code
	second := &tab{b.Beside()} // has the form already, and will send the right code
	second.Open(s.app + "/.websms/verify")
	for left := 4; left > 0; left-- {
		b.Problems.Expect(422)
		enterCode(b, otherCode(code))
		tries := fmt.Sprint(left, " tries")
		if left == 1 {
			tries = "one try"
		}
		b.UntilText("#problem", "You have "+tries+" left.")
	}
	b.Problems.Expect(422)
	enterCode(b, otherCode(code))
	b.UntilText("h1", "Too many wrong codes")

	second.Problems.Expect(429)
	enterCode(second, code)
	second.UntilText("h1", "Too many wrong codes")
	b.Open(s.app + "/timesheet")
	b.UntilAt("/.websms/login")
}

// The user can send the code again when the countdown is over. It is the same code.
func TestResend(t *testing.T) {
	t.Parallel()
	s := ownDemo(t, "limits {", "limits {\ncooldown 2s")
	b, c := newTab(t), newCaller()
	phone := b.pickUp(s)
	askForCode(b, s, "/timesheet", c)
	disabled := browser.Eval[bool](b.Tab, `document.querySelector("#resend button").disabled`)
	if words := b.Text("#wait"); !disabled || !strings.HasPrefix(words, "You can send it again in ") {
		t.Errorf("before the wait is over, the page says %q", words)
	}
	first := phone.await(c.e164, 1)
	b.Until(`!document.querySelector("#resend button").disabled`)
	if words := b.Text("#wait"); !strings.HasSuffix(words, "You can send it again now.") {
		t.Errorf("when the wait is over, the page says %q", words)
	}
	b.Click("#resend button")
	again := phone.await(c.e164, 2)
	if again.Code != first.Code {
		t.Error("the code was another when it was sent again")
	}
	b.UntilAt("/.websms/verify")
	b.UntilText(".notice", "sending the code again")
	enterCode(b, again.Code)
	b.UntilAt("/timesheet")
}

// A user with too many requests sees how long to wait, and no SMS is sent.
func TestAskedTooOften(t *testing.T) {
	t.Parallel()
	s := ownDemo(t, "per_number 20/10m", "per_number 1/10m")
	b, c := newTab(t), newCaller()
	phone := b.pickUp(s)
	askForCode(b, s, "/timesheet", c)
	phone.await(c.e164, 1)
	b = newTab(t) // another browser, without a code to lead back to
	b.Open(s.app + "/timesheet")
	b.UntilAt("/.websms/login")
	b.Fill("#phone", c.local)
	b.Problems.Expect(429)
	b.Click("button.primary")
	b.UntilText("h1", "Please wait a little")
	if words := b.Text("main"); !strings.Contains(words, "Try again in 10 minutes.") {
		t.Errorf("the page says %q, want how long to wait", words)
	}
	phone.await(c.e164, 1)
}

// The gate stops a form of the app that is sent without a session. The page says how to keep the
// input, and those steps work.
func TestFormSentAfterSigningOut(t *testing.T) {
	t.Parallel()
	s, b, c := demo(t), newTab(t), newCaller()
	phone := b.pickUp(s)
	askForCode(b, s, "/timesheet", c)
	enterCode(b, phone.await(c.e164, 1).Code)
	b.UntilAt("/timesheet")
	b.Fill("#employee", "4711")
	b.Fill("#week", "10102027")

	other := &tab{b.Beside()}
	other.Open(s.app + "/")
	other.Click("#user button")
	other.UntilAt("/.websms/login")
	b.Problems.Expect(401)
	b.Click("#content button[type=submit]")
	b.UntilText("h1", "Your form was not sent")
	if link := browser.Eval[string](b.Tab, `document.querySelector(".action a").search`); link != "?rd=%2Ftimesheet" {
		t.Errorf("signing in would lead to %q, want back to the timesheet", link)
	}
	c = newCaller()
	askForCode(other, s, "/timesheet", c)
	enterCode(other, phone.await(c.e164, 1).Code)
	other.UntilAt("/timesheet")
	b.Back()
	b.UntilAt("/timesheet")
	b.Until(`document.querySelector("#employee").value === "4711"`)
	b.Click("#content button[type=submit]")
	b.UntilText("h1", "Timesheet received")
}
