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

	"github.com/caddy-websms/websms/internal/browser"
)

// A user goes from the number form to the app, with and without JavaScript.
func TestWalk(t *testing.T) {
	t.Parallel()
	for _, script := range []bool{true, false} {
		t.Run(fmt.Sprintf("script=%v", script), func(t *testing.T) {
			s, b := newSite(t, Login{ReturnTo: "/app", Example: "021 234 567"})
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
			browser.Call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !script})
			b.Open(s.URL + prefix + "/login?rd=%2Fapp")
			b.Fill("#phone", "021 234 567")
			b.Click("button")
			b.Problems.Expect(http.StatusUnprocessableEntity)
			b.Fill("#code", "111111")
			b.Click(`form[action$="/verify"] button`)
			b.UntilShown("#problem")
			if !script {
				// Without JavaScript the button is never disabled.
				b.Click("#resend button")
				b.UntilShown(".notice.good")
			}
			b.Fill("#code", "482174")
			b.Click(`form[action$="/verify"] button`)
			b.UntilShown("#app")

			var walk []string
			for _, p := range s.posted() {
				if p.origin != s.URL || p.fetchSite != "same-origin" {
					t.Errorf("POST %s came with Origin %q and Sec-Fetch-Site %q", p.path, p.origin, p.fetchSite)
				}
				walk = append(walk, strings.TrimPrefix(p.path, prefix)+"?"+p.form.Encode())
			}
			rd := "&" + url.Values{"rd": {codeForm().ReturnTo}}.Encode()
			verify := "/verify?challenge=" + codeForm().Challenge + "&code="
			want := []string{"/send?phone=021+234+567&rd=%2Fapp", verify + "111111" + rd, "/resend?" + rd[1:], verify + "482174" + rd}
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

// Browsers send no Sec-Fetch-Site on plain HTTP, so there a gate tells its own forms from others by
// Origin alone. Without the meta element, Origin would be "null".
func TestOriginOnPlainHTTP(t *testing.T) {
	t.Parallel()
	s, b := newSite(t, Login{})
	_, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "http://"), ":")
	plain := "http://" + browser.PlainHost + ":" + port
	b.Open(plain + prefix + "/login")
	b.Fill("#phone", "021 234 567")
	b.Click("button")
	b.UntilShown("#app")
	if posts := s.posted(); len(posts) != 1 || posts[0].origin != plain || posts[0].fetchSite != "" {
		t.Errorf("posted %+v, want the origin %s and no Sec-Fetch-Site", posts, plain)
	}
}

// The right code may lead through the app to another origin, such as a single sign-on page. A
// policy with form-action 'self' would stop the user at the form.
func TestRightCodeMayLeadToAnotherOrigin(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(`<!DOCTYPE html><html lang="en"><link rel="icon" href="data:,">
			<title>SSO</title><p id="sso">Single sign-on</p></html>`))
	}))
	defer other.Close()
	s, b := newSite(t, codeForm())
	s.answer(func(w http.ResponseWriter, _ string) error {
		w.Header().Set("Location", other.URL)
		w.WriteHeader(http.StatusSeeOther)
		return nil
	})
	b.Open(s.URL + prefix + "/verify")
	b.Fill("#code", "482174")
	b.Click(`form[action$="/verify"] button`)
	b.UntilShown("#sso")
}

// Reloading the answer to a post requests the form with GET.
func TestReloadPostsNothing(t *testing.T) {
	t.Parallel()
	wrongNumber := Login{ReturnTo: "/app?a=1&b=2", Problem: InvalidNumber("021 234 567")}
	wrongCode := codeForm()
	wrongCode.Problem = WrongCode(4)
	p := newPages(t)
	for _, c := range []struct {
		path, field   string
		first, answer View
	}{
		{prefix + "/login?rd=%2Fapp%3Fa%3D1%26b%3D2", "#phone", Login{ReturnTo: "/app?a=1&b=2"}, wrongNumber},
		{prefix + "/verify?" + url.Values{"rd": {wrongCode.ReturnTo}}.Encode(), "#code", codeForm(), wrongCode},
	} {
		s, b := newSite(t, c.first)
		s.answer(func(w http.ResponseWriter, _ string) error {
			return p.Write(w, http.StatusUnprocessableEntity, c.answer)
		})
		b.Open(s.URL + c.path)
		b.Problems.Expect(http.StatusUnprocessableEntity)
		b.Fill(c.field, "111111")
		b.Click("button")
		b.UntilShown("#problem")
		b.Do(chromedp.Reload())
		b.Until(`!document.querySelector("#problem")`)
		if posts := s.posted(); len(posts) != 1 {
			t.Errorf("%s: posted %d times", c.path, len(posts))
		}
		if got, want := browser.Eval[string](b, `location.href`), s.URL+c.path; !sameAddress(t, got, want) {
			t.Errorf("reloading leads to %s, want %s", got, want)
		}
	}
}

// sameAddress compares two addresses. Differences in escaping do not count.
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

// The page that says that a form was not sent tells the user to reload it after signing in. The
// reload must send the form again, so the script must not change the address of this page.
func TestReloadSendsTheAppsForm(t *testing.T) {
	t.Parallel()
	s, b := newSite(t, NotFound())
	p := newPages(t)
	s.answer(func(w http.ResponseWriter, path string) error {
		if len(s.posted()) == 1 {
			return p.Write(w, http.StatusUnprocessableEntity, FormNotSent(prefix+"/login"))
		}
		w.Header().Set("Location", "/app")
		w.WriteHeader(http.StatusSeeOther)
		return nil
	})
	b.Problems.Expect(http.StatusUnprocessableEntity)
	b.Problems.Forgive("NavigationEntryMarkedSkippable") // the script sends the form, without a click of a person
	b.Open(s.URL + "/app")
	b.Run(`document.body.innerHTML = "<form method=post action=/forms/7><input name=text value=long></form>"; document.forms[0].submit()`)
	b.UntilShown(".action")
	b.Do(chromedp.Reload())
	b.UntilShown("#app")
	if posts := s.posted(); len(posts) != 2 || posts[1].form.Get("text") != "long" {
		t.Errorf("posted %+v", posts)
	}
}

// The number form takes the fragment of its address along. The address keeps it too, so that a
// reload does not lose it.
func TestFragmentIsKept(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ returnTo, fragment, want, address string }{
		{"/app?q=Caf%E9", "#/orders/7?tab=2", "/app?q=Caf%E9#/orders/7?tab=2", "/login?rd=%2fapp%3fq%3dCaf%25E9#/orders/7?tab=2"},
		{"/app", `#C:\Temp`, `/app#C:\Temp`, `/login?rd=%2fapp#C:\Temp`},
		{"/app#old", "#new", "/app#old", "/login?rd=%2fapp%23old#new"},
		{"/app", "#", "/app", "/login?rd=%2fapp"},
		{"/app", "", "/app", "/login?rd=%2fapp"},
	} {
		s, b := newSite(t, Login{ReturnTo: c.returnTo})
		b.Open(s.URL + prefix + "/login?rd=x" + c.fragment)
		if got := strings.TrimPrefix(browser.Eval[string](b, `location.href`), s.URL+prefix); got != c.address {
			t.Errorf("%q: the address becomes %q, want %q", c.fragment, got, c.address)
		}
		b.Fill("#phone", "021 234 567")
		b.Click("button")
		b.UntilShown("#app")
		if got := s.posted()[0].form.Get("rd"); got != c.want {
			t.Errorf("%q: rd is %q, want %q", c.fragment, got, c.want)
		}
	}
}
