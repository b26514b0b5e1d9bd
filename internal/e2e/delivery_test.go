package e2e_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"

	"github.com/caddy-websms/websms/internal/browser"
)

// The code form and the inbox show the delivery status without a reload.
func TestDeliveryIsShownLive(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, choice, state string
		words               string
	}{
		{"delivered", "now", "Delivered", "The code was delivered to "},
		{"undelivered", "undelivered", "Not delivered", "The message may not have gone out."},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, b, to := ownDemo(t), newTab(t), newCaller()
			phone := b.pickUp(s)
			phone.chooseDelivery(c.choice)
			askForCode(b, s, "/", to)
			browser.Eval[bool](b.Tab, `window.unreloaded = true`)
			browser.Eval[bool](phone.Tab, `window.unreloaded = true`)
			phone.await(to.e164, 1)
			b.UntilText("#delivery", "The code is on its way.")
			b.UntilText("#delivery", c.words)
			phone.awaitState(to.e164, c.state)
			for _, tab := range []*tab{b, phone.tab} {
				if !browser.Eval[bool](tab.Tab, `window.unreloaded === true`) {
					t.Errorf("%s was loaded again", browser.Eval[string](tab.Tab, "location.href"))
				}
			}
			// The code works whether or not the delivery report says that it was delivered.
			enterCode(b, phone.messages(to.e164)[0].Code)
			b.UntilAt("/")
		})
	}
}

// A reply that is written in the inbox reaches the webhook.
func TestReplyFromThePhone(t *testing.T) {
	t.Parallel()
	s, b, c := demo(t), newTab(t), newCaller()
	phone := b.pickUp(s)
	askForCode(b, s, "/", c)
	m := phone.await(c.e164, 1)
	phone.reply(m, "Who <is> this?")
	deadline := time.After(browser.Patience)
	for !strings.Contains(s.Log(), `"msg":"incoming reply"`) {
		select {
		case <-deadline:
			t.Fatal("the log says nothing of an incoming reply")
		case <-time.After(20 * time.Millisecond):
		}
	}
	if trouble := browser.Eval[int](phone.Tab, `document.querySelectorAll(".trouble").length`); trouble != 0 {
		t.Errorf("the inbox says: %s", phone.Text(".trouble"))
	}
}

// A device is trusted only if the user asks for it, and for as long as the page offers.
func TestRememberThisDevice(t *testing.T) {
	t.Parallel()
	s := demo(t)
	for name, remember := range map[string]bool{"trusted": true, "not trusted": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, c := newTab(t), newCaller()
			phone := b.pickUp(s)
			askForCode(b, s, "/", c)
			if offer := b.Text("label[for=remember]"); offer != "Trust this device for 30 days" {
				t.Errorf("the page offers %q", offer)
			}
			if remember {
				b.Click("#remember")
			}
			enterCode(b, phone.await(c.e164, 1).Code)
			b.UntilAt("/")
			checkSessionCookie(t, b, remember)
		})
	}
}

func checkSessionCookie(t *testing.T, b *tab, remember bool) {
	t.Helper()
	var cookie *network.Cookie
	for _, c := range b.Cookies() {
		switch c.Name {
		case "websms_session":
			cookie = c
		case "websms_challenge":
			t.Error("the challenge's cookie is still there")
		}
		if !c.HTTPOnly || c.SameSite != network.CookieSameSiteLax || c.Path != "/" || strings.HasPrefix(c.Domain, ".") {
			t.Errorf("the cookie %s is not bound to this host, Lax and HttpOnly", c.Name)
		}
	}
	if cookie == nil {
		t.Fatal("there is no session cookie")
	}
	if !remember {
		if !cookie.Session {
			t.Errorf("the session outlives the browser, until %v", time.Unix(int64(cookie.Expires), 0))
		}
		return
	}
	const life = 30 * 24 * time.Hour
	if left := time.Until(time.Unix(int64(cookie.Expires), 0)); cookie.Session || left > life || left < life-time.Minute {
		t.Errorf("the session cookie lives for another %v (session: %v), want %v", left, cookie.Session, life)
	}
}

// Ctrl-C ends the demo although pages hold event streams open. That may take five seconds: net/http
// waits that long for a new connection without a request, and Chromium opens such connections in
// advance.
func TestStopsWithOpenPages(t *testing.T) {
	t.Parallel()
	s := ownDemo(t)
	b, c := newTab(t), newCaller()
	phone := b.pickUp(s)
	askForCode(b, s, "/", c)
	phone.await(c.e164, 1)
	phone.UntilText("#reload", "Live")
	began := time.Now()
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 7*time.Second {
		t.Errorf("the demo took %v to stop", took)
	}
	// From now on the server is gone, and the pages may report that.
	b.Problems.Forget()
	phone.Problems.Forget()
}
