package e2e_test

import (
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/caddy-websms/websms/internal/browser"
)

// A caller is a number that one test uses alone, in local spelling and in E.164.
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
	b.T.Helper()
	b.Open(s.app + path)
	b.UntilAt("/.websms/login")
	b.Fill("#phone", c.local)
	b.Click("button.primary")
	b.UntilAt("/.websms/verify")
}

// enterCode sends the code form.
func enterCode(b *tab, code string) {
	b.T.Helper()
	b.Fill("#code", code)
	b.Click("main button.primary")
}

// A user signs in by hand, from a page of the legacy app and back to it.
func TestWalk(t *testing.T) {
	t.Parallel()
	for name, scripts := range map[string]bool{"with JavaScript": true, "without JavaScript": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, b, c := demo(t), newTab(t), newCaller()
			if !scripts {
				b.WithoutScripts()
			}
			phone := b.pickUp(s)
			askForCode(b, s, "/timesheet", c)
			if lead := b.Text(".lead"); !strings.Contains(lead, c.masked) {
				t.Errorf("the code form says %q, want %s in it", lead, c.masked)
			}
			message := phone.await(c.e164, 1)
			checkMessage(t, message)
			enterCode(b, message.Code)
			b.UntilAt("/timesheet")
			if user := b.Text("#user"); !strings.Contains(user, "+"+c.e164) {
				t.Errorf("the app says %q, want +%s in it", user, c.e164)
			}
			sendTimesheet(b)
			b.Click("#content a[href='/timesheet.html']")
			b.UntilAt("/timesheet.html")
			signOut(b)
			// A time may hold six digits too, as a fraction of a second.
			if log := s.Log(); regexp.MustCompile(`[^.\d]`+message.Code+`\D`).MatchString(log) || strings.Contains(log, c.e164) {
				t.Error("the log holds a code or a whole number")
			}
		})
	}
}

// checkMessage checks the two parts of an SMS: the text for the person, and the last line, from
// which a browser takes the code (Web OTP API, "origin-bound one-time codes").
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

// sendTimesheet fills in the form of the app. Its post passes the gate.
func sendTimesheet(b *tab) {
	b.T.Helper()
	b.Fill("#employee", "4711")
	b.Fill("#week", "10102027") // the 10th of October, readable in either order of day and month
	b.Fill("#comments", `Ferry <late> & "wet"`)
	b.Click("#content button[type=submit]")
	b.UntilText("h1", "Timesheet received")
	table := b.Text("#content table")
	for _, want := range []string{"4711", "2027-10-10", "Linehaul", "8 · 8 · 8 · 8 · 8 · 0", `Ferry <late> & "wet"`} {
		if !strings.Contains(table, want) {
			b.T.Errorf("the app got %q, want %q in it", table, want)
		}
	}
}

// signOut signs out in the app and then tries to go back.
func signOut(b *tab) {
	b.T.Helper()
	b.Click("#user button")
	b.UntilAt("/.websms/login")
	if notice := b.Text(".notice"); notice != "You are signed out." {
		b.T.Errorf("after signing out the page says %q", notice)
	}
	b.Back()
	b.UntilAt("/timesheet.html")
	b.Do(chromedp.Reload())
	b.UntilAt("/.websms/login")
	b.Until(`document.querySelector("#phone") && !document.querySelector(".notice")`)
	b.Open(b.site() + "/timesheet")
	b.UntilAt("/.websms/login")
}

// site returns the origin of the page.
func (b *tab) site() string {
	b.T.Helper()
	return browser.Eval[string](b.Tab, "location.origin")
}

// A user signs in with the keyboard alone. The tab key reaches each control in reading order, and
// the focus is visible.
func TestWalkByKeyboard(t *testing.T) {
	t.Parallel()
	s, b, c := demo(t), newTab(t), newCaller()
	phone := b.pickUp(s)
	b.Open(s.app + "/directory")
	b.UntilAt("/.websms/login")
	b.Press(kb.Tab)
	b.focusOn("#phone")
	b.Press(kb.Tab)
	b.focusOn("form[action$='/send'] button")
	b.Press(kb.Tab)
	b.Do(chromedp.Focus(chromedp.CSS("#phone")))
	b.Press(c.local + kb.Enter)
	b.UntilAt("/.websms/verify")
	b.focusOn("#code")
	b.Press(phone.await(c.e164, 1).Code + kb.Tab)
	b.focusOn("#remember")
	b.Press(" " + kb.Tab)
	b.focusOn("form[action$='/verify'] button")
	b.Press(kb.Enter)
	b.UntilAt("/directory")
}

// focusOn waits until an element has the focus, and checks that the focus is visible.
func (b *tab) focusOn(css string) {
	b.T.Helper()
	b.Until("document.activeElement === document.querySelector(" + browser.Quote(css) + ")")
	if !browser.Eval[bool](b.Tab, `(() => {
		const style = getComputedStyle(document.activeElement);
		return document.activeElement.matches(":focus-visible") && style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
	})()`) {
		b.T.Errorf("%s has the focus and does not show it", css)
	}
}
