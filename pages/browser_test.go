package pages

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// The whole walk, with and without JavaScript.
func TestWalk(t *testing.T) {
	for _, script := range []bool{true, false} {
		t.Run(fmt.Sprintf("script=%v", script), func(t *testing.T) {
			s, b := newSite(t, Login{ReturnTo: "/app", Example: "021 234 567"}), newTab(t)
			p := newPages(t)
			s.answer(func(w http.ResponseWriter, path string) error {
				to := "/app"
				switch v := codeForm(); path {
				case prefix + "/send":
					to = prefix + "/verify"
					s.show(v)
				case prefix + "/verify":
					if posts := s.posted(); posts[len(posts)-1].form.Get("code") != "482174" {
						v.Problem = WrongCode(4)
						return p.Write(w, http.StatusUnprocessableEntity, v)
					}
				case prefix + "/resend":
					to = prefix + "/verify"
					v.Sent, v.ResendAt = true, noon
					s.show(v)
				}
				w.Header().Set("Location", to)
				w.WriteHeader(http.StatusSeeOther)
				return nil
			})
			call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !script})
			b.open(s.URL + prefix + "/login?rd=%2Fapp")
			b.do(chromedp.SendKeys(chromedp.CSS("#phone"), "021 234 567"))
			b.click("button")
			b.do(chromedp.WaitVisible(chromedp.CSS("#code")), chromedp.SendKeys(chromedp.CSS("#code"), "111111"))
			b.click(`form[action$="/verify"] button`)
			b.do(chromedp.WaitVisible(chromedp.CSS("#problem")))
			if !script {
				// The button waits for nobody without JavaScript.
				b.click("#resend button")
				b.do(chromedp.WaitVisible(chromedp.CSS(".notice.good")))
			}
			b.do(chromedp.SendKeys(chromedp.CSS("#code"), "482174"))
			b.click(`form[action$="/verify"] button`)
			b.do(chromedp.WaitVisible(chromedp.CSS("#app")))

			var walk []string
			for _, p := range s.posted() {
				if p.origin != s.URL || p.fetchSite != "same-origin" {
					t.Errorf("POST %s came with Origin %q and Sec-Fetch-Site %q", p.path, p.origin, p.fetchSite)
				}
				walk = append(walk, strings.TrimPrefix(p.path, prefix)+"?"+p.form.Encode())
			}
			want := []string{"/send?phone=021+234+567&rd=%2Fapp", "/verify?code=111111", "/resend?", "/verify?code=482174"}
			if script {
				want = slices.Delete(want, 2, 3)
			}
			if !slices.Equal(walk, want) {
				t.Errorf("posted %q, want %q", walk, want)
			}
			for _, r := range s.requests() {
				if strings.Contains(r, "favicon") || strings.Contains(r, "status") && !script {
					t.Errorf("the browser asked for %s", r)
				}
			}
		})
	}
}

// On plain HTTP browsers send no Sec-Fetch-Site, so a gate has only Origin to
// tell a form of its own from another's. Without the meta element it is "null".
func TestOriginOnPlainHTTP(t *testing.T) {
	s, b := newSite(t, Login{}), newTab(t)
	_, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "http://"), ":")
	plain := "http://plain.test:" + port
	// Browsers say on plain HTTP that they take no Cross-Origin-Opener-Policy.
	b.forgive("Cross-Origin-Opener-Policy")
	b.open(plain + prefix + "/login")
	b.do(chromedp.SendKeys(chromedp.CSS("#phone"), "021 234 567"))
	b.click("button")
	b.do(chromedp.WaitVisible(chromedp.CSS("#app")))
	if posts := s.posted(); len(posts) != 1 || posts[0].origin != plain || posts[0].fetchSite != "" {
		t.Errorf("posted %+v, want the origin %s and no Sec-Fetch-Site", posts, plain)
	}
}

// The right code may lead through the app to another origin, such as its single
// sign-on. A policy with form-action 'self' would stop the user at the form.
func TestRightCodeMayLeadToAnotherOrigin(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(`<!DOCTYPE html><html lang="en"><link rel="icon" href="data:,"><title>SSO</title><p id="sso">Single sign-on</p></html>`))
	}))
	defer other.Close()
	s, b := newSite(t, codeForm()), newTab(t)
	s.answer(func(w http.ResponseWriter, _ string) error {
		w.Header().Set("Location", other.URL)
		w.WriteHeader(http.StatusSeeOther)
		return nil
	})
	b.open(s.URL + prefix + "/verify")
	b.do(chromedp.SendKeys(chromedp.CSS("#code"), "482174"))
	b.click(`form[action$="/verify"] button`)
	b.do(chromedp.WaitVisible(chromedp.CSS("#sso")))
}

// A reload of the page that answered a post only reads it.
func TestReloadPostsNothing(t *testing.T) {
	wrongNumber := Login{ReturnTo: "/app?a=1&b=2", Problem: InvalidNumber("021 234 567")}
	wrongCode := codeForm()
	wrongCode.Problem = WrongCode(4)
	for _, c := range []struct {
		path, field   string
		first, answer View
	}{
		{prefix + "/login?rd=%2Fapp%3Fa%3D1%26b%3D2", "#phone", Login{ReturnTo: "/app?a=1&b=2"}, wrongNumber},
		{prefix + "/verify", "#code", codeForm(), wrongCode},
	} {
		s, b := newSite(t, c.first), newTab(t)
		p := newPages(t)
		s.answer(func(w http.ResponseWriter, _ string) error {
			return p.Write(w, http.StatusUnprocessableEntity, c.answer)
		})
		b.open(s.URL + c.path)
		b.do(chromedp.SendKeys(chromedp.CSS(c.field), "111111"))
		b.click("button")
		b.do(chromedp.WaitVisible(chromedp.CSS("#problem")), chromedp.Reload(), chromedp.WaitNotPresent(chromedp.CSS("#problem")))
		if posts := s.posted(); len(posts) != 1 {
			t.Errorf("%s: posted %d times", c.path, len(posts))
		}
		if got, want := eval[string](b, `location.href`), s.URL+c.path; !sameAddress(t, got, want) {
			t.Errorf("reloading leads to %s, want %s", got, want)
		}
	}
}

// sameAddress compares two addresses whatever they escape.
func sameAddress(t *testing.T, a, b string) bool {
	ua, err := url.Parse(a)
	if err != nil {
		t.Fatal(err)
	}
	ub, err := url.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return ua.Host == ub.Host && ua.Path == ub.Path && ua.Query().Encode() == ub.Query().Encode()
}

// After signing in elsewhere, reloading the page that says a form was not sent
// sends it, as the page says: the script must not have changed its address.
func TestReloadSendsTheAppsForm(t *testing.T) {
	s, b := newSite(t, NotFound()), newTab(t)
	p := newPages(t)
	s.answer(func(w http.ResponseWriter, path string) error {
		if len(s.posted()) == 1 {
			return p.Write(w, http.StatusUnprocessableEntity, FormNotSent(prefix+"/login"))
		}
		w.Header().Set("Location", "/app")
		w.WriteHeader(http.StatusSeeOther)
		return nil
	})
	b.open(s.URL + "/app")
	b.do(chromedp.Evaluate[chromedp.Void](`document.body.innerHTML = "<form method=post action=/forms/7><input name=text value=long></form>"; document.forms[0].submit()`))
	b.do(chromedp.WaitVisible(chromedp.CSS(".action")), chromedp.Reload(), chromedp.WaitVisible(chromedp.CSS("#app")))
	if posts := s.posted(); len(posts) != 2 || posts[1].form.Get("text") != "long" {
		t.Errorf("posted %+v", posts)
	}
}
