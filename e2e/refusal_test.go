package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// A number that is none is refused at its field, and what was typed can be mended.
func TestWrongNumber(t *testing.T) {
	t.Parallel()
	s, b, c := demo(t), newTab(t), newCaller()
	b.open(s.app + "/timesheet?week=42")
	b.untilAt("/.websms/login")
	for number, words := range map[string]string{"0800 83 83 83": "Enter a mobile number", "+55 11 96123 4567": "in that country"} {
		b.problems.expect(422)
		b.fill("#phone", number)
		b.click("button.primary")
		b.untilText("#problem", words)
		b.wrongField("#phone")
		if kept := eval[string](b, `document.querySelector("#phone").value`); kept != "" {
			t.Errorf("the page holds the number %q", kept)
		}
	}
	b.fill("#phone", c.local)
	b.click("button.primary")
	b.untilAt("/.websms/verify")
}

// wrongField checks that a field is marked as the one to mend, says why to
// those who do not see it, and has the focus.
func (b *tab) wrongField(css string) {
	b.t.Helper()
	b.until("document.activeElement === document.querySelector(" + quote(css) + ")")
	state := eval[map[string]any](b, `(() => {
		const field = document.querySelector(`+quote(css)+`);
		return {
			invalid: field.getAttribute("aria-invalid") === "true",
			described: field.getAttribute("aria-describedby").split(" ").includes("problem"),
			alert: document.querySelector("#problem").getAttribute("role") === "alert",
		};
	})()`)
	for what, ok := range state {
		if ok != true {
			b.t.Errorf("after an error in %s, %q is not so", css, what)
		}
	}
}

// A wrong code costs a try; the right one still works.
func TestWrongCodeThenRight(t *testing.T) {
	t.Parallel()
	s, b, c := demo(t), newTab(t), newCaller()
	phone := b.pickUp(s)
	askForCode(b, s, "/timesheet", c)
	code := phone.await(c.e164, 1).Code
	for _, left := range []string{"4 tries", "3 tries"} {
		b.problems.expect(422)
		enterCode(b, another(code))
		b.untilText("#problem", left+" left")
		b.wrongField("#code")
	}
	// Coming back to the page neither sends a code nor gives a try back.
	b.do(chromedp.Reload())
	b.until(`document.querySelector("#code") && !document.querySelector("#problem")`)
	b.problems.expect(422)
	enterCode(b, another(code))
	b.untilText("#problem", "2 tries left")
	enterCode(b, code)
	b.untilAt("/timesheet")
	phone.await(c.e164, 1)
}

// Five wrong codes end a challenge: the right one does not help any more.
func TestTooManyWrongCodes(t *testing.T) {
	t.Parallel()
	s, b, c := demo(t), newTab(t), newCaller()
	phone := b.pickUp(s)
	askForCode(b, s, "/timesheet", c)
	code := phone.await(c.e164, 1).Code
	second := b.beside() // has the form already, and will send the right code
	second.open(s.app + "/.websms/verify")
	for left := 4; left > 0; left-- {
		b.problems.expect(422)
		enterCode(b, another(code))
		b.untilText("#problem", fmt.Sprintf("You have %s left.", map[bool]string{true: "one try", false: fmt.Sprint(left, " tries")}[left == 1]))
	}
	b.problems.expect(422)
	enterCode(b, another(code))
	b.untilText("h1", "Too many wrong codes")

	second.problems.expect(429)
	enterCode(second, code)
	second.untilText("h1", "Too many wrong codes")
	b.open(s.app + "/timesheet")
	b.untilAt("/.websms/login")
}

// The code can be sent again once the countdown is over, and is the same one.
func TestResend(t *testing.T) {
	t.Parallel()
	s := ownDemo(t, "limits {", "limits {\ncooldown 2s")
	b, c := newTab(t), newCaller()
	phone := b.pickUp(s)
	askForCode(b, s, "/timesheet", c)
	if !eval[bool](b, `document.querySelector("#resend button").disabled`) || !strings.HasPrefix(b.text("#wait"), "You can send it again in ") {
		t.Errorf("before the wait is over, the page says %q", b.text("#wait"))
	}
	first := phone.await(c.e164, 1)
	b.until(`!document.querySelector("#resend button").disabled`)
	if words := b.text("#wait"); !strings.HasSuffix(words, "You can send it again now.") {
		t.Errorf("when the wait is over, the page says %q", words)
	}
	b.click("#resend button")
	again := phone.await(c.e164, 2)
	if again.Code != first.Code {
		t.Error("the code was another when it was sent again")
	}
	b.untilAt("/.websms/verify")
	b.untilText(".notice", "sending the code again")
	enterCode(b, again.Code)
	b.untilAt("/timesheet")
}

// Who asks for too many codes is told how long to wait, and nothing is sent.
func TestAskedTooOften(t *testing.T) {
	t.Parallel()
	s := ownDemo(t, "per_number 20/10m", "per_number 1/10m")
	b, c := newTab(t), newCaller()
	phone := b.pickUp(s)
	askForCode(b, s, "/timesheet", c)
	phone.await(c.e164, 1)
	b.click("#other")
	b.untilAt("/.websms/login")
	b.fill("#phone", c.local)
	b.problems.expect(429)
	b.click("button.primary")
	b.untilText("h1", "Please wait a little")
	if words := b.text("main"); !strings.Contains(words, "Try again in 10 minutes.") {
		t.Errorf("the page says %q, want how long to wait", words)
	}
	phone.await(c.e164, 1)
}

// A form of the app that is sent without a session does not get through. The
// page says how not to lose what was typed, and that is true.
func TestFormSentAfterSigningOut(t *testing.T) {
	t.Parallel()
	s, b, c := demo(t), newTab(t), newCaller()
	phone := b.pickUp(s)
	askForCode(b, s, "/timesheet", c)
	enterCode(b, phone.await(c.e164, 1).Code)
	b.untilAt("/timesheet")
	b.fill("#employee", "4711")
	b.fill("#week", "10102027")

	other := b.beside()
	other.open(s.app + "/")
	other.click("#user button")
	other.untilAt("/.websms/login")
	b.problems.expect(401)
	b.click("#content button[type=submit]")
	b.untilText("h1", "Your form was not sent")
	if link := eval[string](b, `document.querySelector(".action a").search`); link != "?rd=%2Ftimesheet" {
		t.Errorf("signing in would lead to %q, want back to the timesheet", link)
	}
	c = newCaller()
	askForCode(other, s, "/timesheet", c)
	enterCode(other, phone.await(c.e164, 1).Code)
	other.untilAt("/timesheet")
	b.back()
	b.untilAt("/timesheet")
	b.until(`document.querySelector("#employee").value === "4711"`)
	b.click("#content button[type=submit]")
	b.untilText("h1", "Timesheet received")
}
