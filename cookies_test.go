package websms_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
)

// Each cookie is set with the right attributes for browsers.
func TestCookieAttributes(t *testing.T) {
	proxied := harness.With("X-Forwarded-Proto", "https")
	for _, c := range []struct {
		name          string
		setup         harness.Setup
		header        http.Header
		session       string // its name
		others        string // prefix of the names of the other cookies
		secure        bool
		domain        string
		remembered    int // Max-Age
		rememberField string
	}{
		{name: "http", session: "websms_session", others: "websms_session"},
		{name: "https", setup: harness.Setup{HTTPS: true}, session: "__Host-websms_session", others: "__Host-websms_session", secure: true},
		{
			name: "https by a name", setup: harness.Setup{HTTPS: true, Gate: "session {\n cookie pass\n remember 720h\n}"},
			session: "__Host-pass", others: "__Host-pass", secure: true, remembered: 720 * 3600,
		},
		{
			name: "https for a domain", setup: harness.Setup{HTTPS: true, Host: "app.example.test", Gate: "session {\n domain example.test\n}"},
			session: "websms_session", others: "__Host-websms_session", secure: true, domain: "example.test",
		},
		{name: "http for a domain", setup: harness.Setup{Host: "app.example.test", Gate: "session {\n domain example.test\n}"},
			session: "websms_session", others: "websms_session", domain: "example.test"},
		{
			name: "behind a trusted proxy", setup: harness.Setup{Global: "servers {\n trusted_proxies static private_ranges\n}"}, header: proxied,
			session: "__Host-websms_session", others: "__Host-websms_session", secure: true,
		},
		{name: "behind a stranger", header: proxied, session: "websms_session", others: "websms_session"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.setup.Gate += "\n" + harness.Plenty
			w := harness.Start(t, c.setup)
			b := w.Browser()
			b.Client.Jar = nil // the jar would refuse Secure cookies without TLS
			held := make(map[string]string)
			visit := func(method, path string, form []string) harness.Answer {
				var pairs []string
				for name, value := range held {
					pairs = append(pairs, name+"="+value)
				}
				a := b.Post(path, form, harness.Page, c.header, harness.With("Cookie", strings.Join(pairs, "; ")))
				if method == http.MethodGet {
					a = b.Get(path, harness.Page, c.header, harness.With("Cookie", strings.Join(pairs, "; ")))
				}
				for _, cookie := range a.Cookies() {
					if held[cookie.Name] = cookie.Value; cookie.MaxAge < 0 {
						delete(held, cookie.Name)
					}
					shared := cookie.Name == c.session || c.domain != "" && strings.HasSuffix(cookie.Name, "_device")
					domain := ""
					if shared {
						domain = c.domain
					}
					if !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/" ||
						cookie.Secure != c.secure || cookie.Domain != domain {
						t.Errorf("%s sets %s", path, cookie.Raw)
					}
					if strings.HasPrefix(cookie.Name, "__Secure-") || strings.HasPrefix(cookie.Name, "__Host-") &&
						(!cookie.Secure || cookie.Domain != "") {
						t.Errorf("%s sets a cookie that browsers refuse: %s", path, cookie.Raw)
					}
				}
				return a
			}
			want := func(what string, a harness.Answer, name string, lives func(maxAge int) bool) {
				t.Helper()
				if cookie := a.SetCookie(name); cookie == nil || !lives(cookie.MaxAge) {
					t.Errorf("%s sets %v; want %s of another life", what, a.Header["Set-Cookie"], name)
				}
			}
			gone := func(maxAge int) bool { return maxAge < 0 }
			transient := func(maxAge int) bool { return maxAge == 0 }

			device := c.others + "_device"
			if c.domain != "" {
				device = c.session + "_device"
			}
			probe := c.others + "_probe"
			want("login", visit(http.MethodGet, "/.websms/login", nil), probe, func(maxAge int) bool { return maxAge == 30*86400 })
			for _, remember := range []string{"", "1"} {
				number := harness.FreshNumber()
				a := visit(http.MethodPost, "/.websms/send", []string{"phone", number})
				want("send", a, c.others+"_challenge", func(maxAge int) bool { return maxAge >= 600 })
				a = visit(http.MethodPost, "/.websms/verify", []string{"code", w.CodeFor(number, 1), "remember", remember})
				want("verify", a, c.others+"_challenge", gone)
				want("verify", a, device, func(maxAge int) bool { return maxAge > 86400 })
				if remember == "" || c.remembered == 0 {
					want("verify", a, c.session, transient)
				} else {
					want("verify, remembered", a, c.session, func(maxAge int) bool { return maxAge == c.remembered })
				}
				if a := visit(http.MethodGet, "/", nil); a.StatusCode != http.StatusOK {
					t.Fatalf("with %v: %s", held, a.Status)
				}
			}
			a := visit(http.MethodPost, "/.websms/logout", nil)
			want("logout", a, c.session, gone)
			want("logout", a, c.others+"_challenge", gone)
			if a.SetCookie(probe) != nil || held[probe] == "" {
				t.Errorf("logout touches %s: %v", probe, a.Header["Set-Cookie"])
			}
			want("logout", a, c.others+"_notice", func(maxAge int) bool { return maxAge > 0 && maxAge <= 60 })
			if a = visit(http.MethodGet, "/.websms/login", nil); !strings.Contains(a.Text, "You are signed out.") {
				t.Errorf("after logout: %s", harness.Excerpt(a.Text))
			}
			want("login", a, c.others+"_notice", gone)
			if a = visit(http.MethodGet, "/.websms/login", nil); strings.Contains(a.Text, "You are signed out.") {
				t.Error("it says so twice")
			}
		})
	}
}

// The upstream gets all other cookies byte for byte, and none of the gate's cookies.
func TestCookiesUpstream(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b := w.Browser()
	b.Login("+6421234567")
	s := "websms_session=" + b.Cookie("websms_session").Value
	for _, c := range []struct{ in, want []string }{
		{[]string{s}, nil},
		{[]string{"a=1; " + s + "; b=2"}, []string{"a=1; b=2"}},
		{[]string{s + "; b=2"}, []string{"b=2"}},
		{[]string{"a=1; " + s}, []string{"a=1"}},
		{[]string{"a=1;" + s + ";b=2"}, []string{"a=1;b=2"}},
		{[]string{"a=1", s, "b=2"}, []string{"a=1", "b=2"}},
		{[]string{"a=1; websms_session=old", "b=2; " + s, s + "; c=3"}, []string{"a=1", "b=2", "c=3"}},
		{[]string{"__Host-" + s + "; " + s +
			"; __Host-websms_session_challenge=x; websms_session_challenge=; websms_session_device=y; " +
			"__Host-websms_session_device=z; websms_session_notice=1"}, nil},
		{[]string{s + `; odd="a b";  two=;=;novalue; "q`}, []string{`odd="a b";  two=;=;novalue; "q`}},
		{[]string{s + "; PHPSESSID=abc; WEBSMS_SESSION=1; websms_session_x=2; xwebsms_session=3; websms_sessio=4; __Secure-websms_session=5"},
			[]string{"PHPSESSID=abc; WEBSMS_SESSION=1; websms_session_x=2; xwebsms_session=3; websms_sessio=4; __Secure-websms_session=5"}},
		{[]string{"utf8=\u00e9; " + s + "; eq=a=b==; comma=a,b"}, []string{"utf8=\u00e9; eq=a=b==; comma=a,b"}},
	} {
		var lines []string
		for _, field := range c.in {
			lines = append(lines, "Cookie: "+field)
		}
		before := len(w.App.Seen())
		if a := w.Raw("GET", "/", lines...); a.StatusCode != http.StatusOK {
			t.Errorf("with %q: %s", c.in, a.Status)
			continue
		}
		if got := w.App.Seen()[before].Header["Cookie"]; !slices.Equal(got, c.want) {
			t.Errorf("of %q the app sees %q; want %q", c.in, got, c.want)
		}
	}
}

// A cookie opens only if it is complete, unchanged, and used for its own purpose.
func TestCookiesAreSealed(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b := w.Browser()
	b.Login("+6421234567")
	s, device := b.Cookie("websms_session").Value, b.Cookie("websms_session_device").Value
	b.Ask(harness.FreshNumber())
	challenge := b.Cookie("websms_session_challenge").Value
	stranger := w.Browser()
	opens := func(cookies ...string) bool {
		return stranger.Get("/", harness.API, http.Header{"Cookie": cookies}).StatusCode == http.StatusOK
	}

	const ours = "websms_session="
	for _, c := range []struct {
		cookies []string
		want    bool
	}{
		{[]string{ours + s}, true},
		{[]string{ours + `"` + s + `"`}, true},
		{[]string{ours + "planted; " + ours + s}, true},
		{[]string{ours + "planted; " + ours + "; " + ours + challenge + "; " + ours + s}, true},
		{[]string{ours + "planted", "a=b; " + ours + s}, true},
		{[]string{ours + s + "; " + ours + "planted"}, true},
		{nil, false},
		{[]string{ours}, false},
		{[]string{"__Host-" + ours + s}, false}, // the name on HTTPS
		{[]string{"WEBSMS_SESSION=" + s}, false},
		{[]string{ours + challenge}, false},
		{[]string{ours + device}, false},
		{[]string{ours + s + s}, false},
		{[]string{ours + s + "A"}, false},
		{[]string{ours + s + "="}, false},
		{[]string{ours + "A" + s}, false},
		{[]string{ours + strings.ToUpper(s)}, false},
		{[]string{ours + strings.Replace(s, s[:1], fmt.Sprintf("%%%02x", s[0]), 1)}, false},
		{[]string{ours + s[:20] + " " + s[20:]}, false},
		{[]string{ours + strings.Repeat("A", 8000)}, false},
	} {
		if got := opens(c.cookies...); got != c.want {
			t.Errorf("%.200q opens: %t", c.cookies, got)
		}
	}
	for i := range len(s) {
		flipped := []byte(s)
		if flipped[i]++; flipped[i] == '"' || flipped[i] == ';' {
			flipped[i] = 'A'
		}
		if opens(ours + string(flipped)) {
			t.Errorf("changed at %d, it opens", i)
		}
		if opens(ours + s[:i]) {
			t.Errorf("cut to %d, it opens", i)
		}
	}
	changed := "A" + challenge[1:]
	if changed == challenge {
		changed = "B" + challenge[1:]
	}
	for _, value := range []string{s, device, challenge[:len(challenge)-1], changed} {
		a := stranger.AnswerWith("123456", harness.With("Cookie", ours[:len(ours)-1]+"_challenge="+value))
		harness.WantProblem(t, "with a challenge that is none", a, http.StatusConflict, "no_challenge")
	}
	planted := "websms_session_challenge=x; websms_session_challenge=" + challenge
	harness.WantStatus(t, "with a planted challenge in front",
		stranger.Get("/.websms/verify", harness.API, harness.With("Cookie", planted)), http.StatusOK)
}

// A session is valid for its own host only, unless a realm or a domain joins several hosts.
func TestRealms(t *testing.T) {
	w := harness.Start(t, harness.Setup{})
	w.Serve(harness.Plenty, "")
	b := w.Browser()
	login := func(at string) {
		t.Helper()
		number := harness.FreshNumber()
		if a := b.Request(number, harness.Host(at)); a.StatusCode != http.StatusAccepted {
			t.Fatalf("send: %s", a.Status)
		}
		a := b.AnswerWith(w.CodeFor(number, 1), harness.Host(at))
		harness.WantStatus(t, "verify", a, http.StatusOK)
		if c := a.SetCookie("websms_session"); c != nil { // the jar does not keep a cookie with a domain
			b.Header.Set("Cookie", c.Name+"="+c.Value)
		}
	}
	opens := func(at string) bool { return b.Get("/", harness.API, harness.Host(at)).StatusCode == http.StatusOK }

	login("a.example.test")
	for at, want := range map[string]bool{
		"a.example.test": true, "A.Example.TEST": true, "a.example.test:443": true, "a.example.test.": true,
		"b.example.test": false, "example.test": false, "localhost": false, "xa.example.test": false, "a.example.tes": false,
	} {
		if opens(at) != want {
			t.Errorf("at %s it opens: %t", at, !want)
		}
	}
	// The challenge of one host is not valid at another host either.
	number := harness.FreshNumber()
	b.Request(number, harness.Host("a.example.test"))
	harness.WantProblem(t, "the code at another host", b.AnswerWith(w.CodeFor(number, 1), harness.Host("b.example.test")),
		http.StatusConflict, "no_challenge")
	harness.WantStatus(t, "the code at its host", b.AnswerWith(w.CodeFor(number, 1), harness.Host("a.example.test")), http.StatusOK)

	for _, joined := range []string{"realm staff", "session {\n domain example.test\n}"} {
		w.Load(joined + "\n" + harness.Plenty)
		if opens("a.example.test") {
			t.Errorf("%s: a session from before opens", joined)
		}
		login("a.example.test")
		for _, at := range []string{"a.example.test", "b.example.test", "example.test"} {
			if !opens(at) {
				t.Errorf("%s: it does not open %s", joined, at)
			}
		}
	}
	w.Load("realm other\n" + harness.Plenty)
	if opens("a.example.test") {
		t.Error("a session of one realm opens another")
	}
}
