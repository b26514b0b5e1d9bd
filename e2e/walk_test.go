package e2e_test

import (
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// A caller is a number of one test alone, as a person types it and as it is.
type caller struct{ local, e164, masked string }

var callers atomic.Int64

func newCaller() caller {
	n := callers.Add(1)
	return caller{
		local: fmt.Sprintf("021 234 %03d", n), e164: fmt.Sprintf("6421234%03d", n), masked: fmt.Sprintf("+64•••%03d", n),
	}
}

// askForCode goes from a page of the app to the code form.
func askForCode(b *tab, s *site, path string, c caller) {
	b.t.Helper()
	b.open(s.app + path)
	b.untilAt("/.websms/login")
	b.fill("#phone", c.local)
	b.click("button.primary")
	b.untilAt("/.websms/verify")
}

// enterCode sends the code form.
func enterCode(b *tab, code string) {
	b.t.Helper()
	b.fill("#code", code)
	b.click("main button.primary")
}

// The walk by hand, from a page of the legacy app and back to it.
func TestWalk(t *testing.T) {
	t.Parallel()
	for name, scripts := range map[string]bool{"with JavaScript": true, "without JavaScript": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, b, c := demo(t), newTab(t), newCaller()
			if !scripts {
				b.withoutScripts()
			}
			phone := b.pickUp(s)
			askForCode(b, s, "/timesheet", c)
			if lead := b.text(".lead"); !strings.Contains(lead, c.masked) {
				t.Errorf("the code form says %q, want %s in it", lead, c.masked)
			}
			message := phone.await(c.e164, 1)
			checkMessage(t, message)
			enterCode(b, message.Code)
			b.untilAt("/timesheet")
			if user := b.text("#user"); !strings.Contains(user, "+"+c.e164) {
				t.Errorf("the app says %q, want +%s in it", user, c.e164)
			}
			sendTimesheet(b)
			b.click("#content a[href='/timesheet.html']")
			b.untilAt("/timesheet.html")
			signOut(b)
			// Six digits may also be a fraction of a second.
			if log := s.log.String(); regexp.MustCompile(`[^.\d]`+message.Code+`\D`).MatchString(log) || strings.Contains(log, c.e164) {
				t.Error("the log holds a code or a whole number")
			}
		})
	}
}

// checkMessage checks what a person and a browser read in an SMS. A browser
// takes the code from the last line (Web OTP API, "origin-bound one-time codes").
func checkMessage(t *testing.T, m sms) {
	t.Helper()
	lines := strings.Split(m.Text, "\n")
	if want := m.Code + " is your Kowhai Freight verification code. Valid for 5 minutes."; lines[0] != want {
		t.Errorf("the message begins with %q, want %q", lines[0], want)
	}
	if last := lines[len(lines)-1]; last != "@localhost #"+m.Code {
		t.Errorf("the message's last line is %q, want %q", last, "@localhost #"+m.Code)
	}
}

// sendTimesheet fills in the app's form: what it posts passes through the gate.
func sendTimesheet(b *tab) {
	b.t.Helper()
	b.fill("#employee", "4711")
	b.fill("#week", "10102027") // the 10th of October, in any order of day and month
	b.fill("#comments", `Ferry <late> & "wet"`)
	b.click("#content button[type=submit]")
	b.untilText("h1", "Timesheet received")
	table := b.text("#content table")
	for _, want := range []string{"4711", "2027-10-10", "Linehaul", "8 · 8 · 8 · 8 · 8 · 0", `Ferry <late> & "wet"`} {
		if !strings.Contains(table, want) {
			b.t.Errorf("the app got %q, want %q in it", table, want)
		}
	}
}

// signOut signs out in the app, and then tries to go back.
func signOut(b *tab) {
	b.t.Helper()
	b.click("#user button")
	b.untilAt("/.websms/login")
	if notice := b.text(".notice"); notice != "You are signed out." {
		b.t.Errorf("after signing out the page says %q", notice)
	}
	b.back()
	b.untilAt("/timesheet.html")
	b.do(chromedp.Reload())
	b.untilAt("/.websms/login")
	b.until(`document.querySelector("#phone") && !document.querySelector(".notice")`)
	b.open(b.site() + "/timesheet")
	b.untilAt("/.websms/login")
}

// site returns the origin of the page.
func (b *tab) site() string {
	b.t.Helper()
	return eval[string](b, "location.origin")
}

// The same walk without a mouse: the tab key reaches what it has to, in the
// order in which it is read, and what has the focus shows it.
func TestWalkByKeyboard(t *testing.T) {
	t.Parallel()
	s, b, c := demo(t), newTab(t), newCaller()
	phone := b.pickUp(s)
	b.open(s.app + "/directory")
	b.untilAt("/.websms/login")
	b.press(kb.Tab)
	b.focusOn("#phone")
	b.press(kb.Tab)
	b.focusOn("form[action$='/send'] button")
	b.press(kb.Tab)
	b.do(chromedp.Focus(chromedp.CSS("#phone")))
	b.press(c.local + kb.Enter)
	b.untilAt("/.websms/verify")
	b.focusOn("#code")
	b.press(phone.await(c.e164, 1).Code + kb.Tab)
	b.focusOn("#remember")
	b.press(" " + kb.Tab)
	b.focusOn("form[action$='/verify'] button")
	b.press(kb.Enter)
	b.untilAt("/directory")
}

// focusOn waits until an element has the focus, and checks that it shows.
func (b *tab) focusOn(css string) {
	b.t.Helper()
	b.until("document.activeElement === document.querySelector(" + quote(css) + ")")
	if !eval[bool](b, `(() => {
		const style = getComputedStyle(document.activeElement);
		return document.activeElement.matches(":focus-visible") && style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
	})()`) {
		b.t.Errorf("%s has the focus and does not show it", css)
	}
}
