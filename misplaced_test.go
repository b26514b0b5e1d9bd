package websms

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
)

// aSite runs a site in a real Caddy, and tells what the doctor finds there. GATE and APP
// in the text of the site stand for a gate and for the application behind it.
type aSite struct {
	*harness.World
	named, path, text string
}

func newSite(t *testing.T) *aSite {
	s := &aSite{World: harness.Start(t, harness.Setup{})}
	s.Config = func(options string) string {
		return siteConfig(s.World, s.filled(s.named, options), s.URL+s.path, s.filled(s.text, options))
	}
	return s
}

// filled puts the gate, with more options, and the application into a text.
func (s *aSite) filled(text, options string) string {
	gate := "websms_otp {\n company Acme\n" + harness.Unhindered(options) + "\n}\n"
	app := "reverse_proxy " + strings.TrimPrefix(s.App.URL, "http://") + "\n"
	return strings.NewReplacer("GATE", gate, "APP", app).Replace(text)
}

// finds returns the remedies of the doctor's findings that hold a text.
func (s *aSite) finds(options, text string) (remedies []string) {
	for _, g := range readCaddyfile(s.T, s.Config(options)).Gates {
		for _, r := range g.Risks() {
			if strings.Contains(r.Text, text) {
				remedies = append(remedies, r.Do)
			}
		}
	}
	return remedies
}

// signsIn reports whether a person who asks for a path comes to the application by the
// gate's own pages.
func (s *aSite) signsIn(path, prefix string) bool {
	s.T.Helper()
	b := s.Browser()
	denied := b.Get(path, harness.Page)
	if denied.StatusCode != http.StatusFound {
		s.T.Fatalf("%s: %s %s", path, denied.Status, harness.Excerpt(denied.Text))
	}
	form := b.Get(denied.Header.Get("Location"), harness.Page)
	if !strings.Contains(form.Text, `autocomplete="tel"`) {
		return false
	}
	number := harness.FreshNumber()
	if a := b.Post(prefix+"/send", []string{"phone", number}, harness.API); a.StatusCode != http.StatusAccepted {
		return false
	}
	if a := b.Post(prefix+"/verify", []string{"code", s.CodeFor(number, 1)}, harness.API); a.StatusCode != http.StatusOK {
		return false
	}
	return strings.HasPrefix(b.Get(path, harness.Page).Text, "legacy app")
}

// The doctor names a gate whose pages a browser cannot open, and no other. A prefix that
// it suggests can be opened.
func TestPrefixOutOfReach(t *testing.T) {
	const block = "{\n GATE\n APP\n}\n"
	s := newSite(t)
	for name, c := range map[string]struct {
		site    string
		asks    string // a path of the application
		options string
		finds   bool
		suggest string // the prefix that the doctor suggests, if it can
	}{
		"handle":                  {"handle /app/* " + block, "/app/x", "", true, "/app/.websms"},
		"handle_path":             {"handle_path /app/* " + block, "/app/x", "", true, "/app/.websms"},
		"route":                   {"route /app/* " + block, "/app/x", "", true, "/app/.websms"},
		"handle, without a slash": {"handle /app* " + block, "/app/x", "", true, "/app/.websms"},
		"a path of the address":   {"PATH /app/* GATE\nAPP", "/app/x", "", true, "/app/.websms"},
		"nested":                  {"handle /a/* {\n handle /a/b/* " + block + "}", "/a/b/x", "", true, "/a/b/.websms"},
		"nested, stripped":        {"handle_path /a/* {\n handle /b/* " + block + "}", "/a/b/x", "", true, "/a/b/.websms"},
		"stripped twice":          {"handle_path /a/* {\n handle_path /b/* " + block + "}", "/a/b/x", "", true, "/a/b/.websms"},
		"a named matcher":         {"@a path /one/* /two/*\nhandle @a " + block, "/one/x", "", true, "/two/.websms"},
		"an expression":           {"@a path_regexp ^/app/\nhandle @a " + block, "/app/x", "", true, ""},
		"all but the pages":       {"@a not path /.websms/*\nhandle @a " + block, "/app/x", "", true, ""},
		"another prefix":          {"handle /app/* " + block, "/app/x", "prefix /sign-in", true, "/app/.websms"},
		"invoked":                 {"NAMED &(app) {\n route " + block + "}\n|invoke /app/* app", "/app/x", "", true, "/app/.websms"},
		"taken by a handle":       {"handle /.websms/* {\n respond taken\n}\nhandle " + block, "/x", "", true, ""},
		"taken by a response":     {"route {\n respond /.websms/* taken\n GATE\n APP\n}", "/x", "", true, ""},
		"taken by a redirect":     {"redir /.websms/* https://example.com{uri}\nGATE\nAPP", "/x", "", true, ""},
		"taken by an error":       {"route {\n error /.websms/* gone 410\n GATE\n APP\n}", "/x", "", true, ""},
		"stripped for all, with a matcher behind": {"uri strip_prefix /app\nhandle /x/* " + block, "/app/x/y", "", true, "/app/x/.websms"},

		"handle, with its prefix":      {"handle /app/* " + block, "/app/x", "prefix /app/.websms", false, ""},
		"handle_path, with its prefix": {"handle_path /app/* " + block, "/app/x", "prefix /app/.websms", false, ""},
		"all":                          {"handle " + block, "/x", "", false, ""},
		"a matcher of its own":         {"websms_otp /app/* {\n company Acme\n limits {\n per_ip 1000000/1h\n}\n}\nAPP", "/app/x", "", false, ""},
		"behind a rewrite":             {"rewrite * /index.php?{query}\nGATE\nAPP", "/x", "", false, ""},
		"behind try_files":             {"root /nowhere\ntry_files {path} /index.php\nGATE\nAPP", "/x", "", false, ""},
		"behind another prefix":        {"uri strip_prefix /app\nGATE\nAPP", "/app/x", "", false, ""},
		"beside a gate like it":        {"handle /app/* " + block + "handle " + block, "/app/x", "", false, ""},
		"beside a public part":         {"handle /public/* {\n respond public\n}\nhandle " + block, "/x", "", false, ""},
		"a placeholder":                {"@a path {vars.place} /.websms/*\nvars place /app/x\nhandle @a " + block, "/app/x", "", false, ""},
		"invoked by all":               {"NAMED &(app) {\n route " + block + "}\n|invoke app", "/x", "", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s.T, s.named, s.path, s.text = t, "", "", c.site
			if rest, ok := strings.CutPrefix(c.site, "NAMED "); ok {
				s.named, s.text, _ = strings.Cut(rest, "|")
			}
			if rest, ok := strings.CutPrefix(c.site, "PATH "); ok {
				s.path, s.text, _ = strings.Cut(rest, " ")
			}
			s.Load(c.options)
			prefix := "/.websms"
			if _, set, ok := strings.Cut(c.options, "prefix "); ok {
				prefix = set
			}
			if s.signsIn(c.asks, prefix) == c.finds {
				t.Errorf("a person comes in: %t", !c.finds)
			}
			found := s.finds(c.options, "nobody can open its pages")
			if (len(found) > 0) != c.finds {
				t.Fatalf("the doctor finds %q", found)
			}
			if c.suggest == "" {
				return
			}
			if want := "write prefix " + c.suggest; !slices.Equal(found, []string{want}) {
				t.Fatalf("the doctor suggests %q; want %q", found, want)
			}
			better := "prefix " + c.suggest
			s.Load(better)
			if !s.signsIn(c.asks, c.suggest) {
				t.Errorf("with %s nobody comes in", better)
			}
			if found := s.finds(better, "nobody can open its pages"); found != nil {
				t.Errorf("with %s the doctor finds %q", better, found)
			}
		})
	}
}

// The doctor names a header directive that changes the headers of the gate's own pages,
// and no other. The changed headers are those that a browser sees.
func TestHeaderOfThePages(t *testing.T) {
	s := newSite(t)
	answers := func() http.Header {
		h := s.Browser().Get("/.websms/login", harness.Page).Header
		h.Del("Date")
		h.Del("Server")
		h.Del("Content-Length")
		return h
	}
	s.text = "GATE\nAPP"
	s.Load("")
	plain := answers()
	for name, c := range map[string]struct{ site, changes string }{
		"set":                {"header >X-Frame-Options SAMEORIGIN\nGATE\nAPP", "X-Frame-Options"},
		"set, by defer":      {"header {\n defer\n Referrer-Policy unsafe-url\n}\nGATE\nAPP", "Referrer-Policy"},
		"set beside another": {"header {\n -Server\n Permissions-Policy camera=()\n}\nGATE\nAPP", "Permissions-Policy"},
		"deleted":            {"header -Content-Security-Policy\nGATE\nAPP", "Content-Security-Policy"},
		"deleted by a part":  {"header -X-Content*\nGATE\nAPP", "X-Content-Type-Options"},
		"added":              {"header {\n +Content-Security-Policy \"sandbox\"\n defer\n}\nGATE\nAPP", "Content-Security-Policy"},
		"replaced":           {"header >Cache-Control no-store max-age=60\nGATE\nAPP", "Cache-Control"},
		"cached":             {"header >Cache-Control \"public, max-age=60\"\nGATE\nAPP", "Cache-Control"},
		"two":                {"header {\n -X-Frame-Options\n -Referrer-Policy\n}\nGATE\nAPP", "Referrer-Policy, X-Frame-Options"},
		"by status":          {"header {\n match {\n  status 2xx\n }\n X-Frame-Options SAMEORIGIN\n}\nGATE\nAPP", "X-Frame-Options"},
		"around a route":     {"header >X-Frame-Options SAMEORIGIN\nroute {\n GATE\n APP\n}", "X-Frame-Options"},
		"in a route before":  {"route {\n route {\n  header >X-Frame-Options SAMEORIGIN\n }\n GATE\n APP\n}", "X-Frame-Options"},
		"invoked":            {"NAMED &(h) {\n header >X-Frame-Options SAMEORIGIN\n}\n|route {\n invoke h\n GATE\n APP\n}", "X-Frame-Options"},
		"for some of all":    {"@a not path /static/*\nheader @a -X-Frame-Options\nGATE\nAPP", "X-Frame-Options"},

		"at once":            {"header X-Frame-Options SAMEORIGIN\nGATE\nAPP", ""},
		"of no page":         {"header {\n -Server\n >X-Other x\n}\nGATE\nAPP", ""},
		"for the rest":       {"@app not path /.websms/*\nheader @app >X-Frame-Options SAMEORIGIN\nGATE\nAPP", ""},
		"a default":          {"header ?Referrer-Policy unsafe-url\nGATE\nAPP", ""},
		"of other statuses":  {"header {\n match {\n  status 502\n }\n X-Frame-Options SAMEORIGIN\n}\nGATE\nAPP", ""},
		"the same":           {"header {\n >Referrer-Policy no-referrer\n >X-Content-Type-Options nosniff\n}\nGATE\nAPP", ""},
		"behind the gate":    {"route {\n GATE\n header >X-Frame-Options SAMEORIGIN\n APP\n}", ""},
		"of another handle":  {"handle /x/* {\n header >X-Frame-Options SAMEORIGIN\n APP\n}\nhandle {\n GATE\n APP\n}", ""},
		"of what is proxied": {"GATE\nreverse_proxy localhost:1 {\n header_down -X-Frame-Options\n}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s.T, s.named, s.text = t, "", c.site
			if rest, ok := strings.CutPrefix(c.site, "NAMED "); ok {
				s.named, s.text, _ = strings.Cut(rest, "|")
			}
			s.Load("")
			var changed []string
			now := answers()
			for name := range plain {
				if !slices.Equal(plain[name], now[name]) {
					changed = append(changed, name)
				}
			}
			slices.Sort(changed)
			if got := strings.Join(changed, ", "); got != c.changes {
				t.Errorf("changed are %q; want %q", got, c.changes)
			}
			found := s.finds("", "of the gate's own pages")
			if want := c.changes != ""; (len(found) == 1) != want {
				t.Errorf("the doctor finds %q", found)
			}
			if found != nil && len(s.finds("", "changes "+c.changes+" of the")) != 1 {
				t.Errorf("the doctor does not name %s", c.changes)
			}
		})
	}
}

// The doctor names an application in the routes for errors that a client can reach with
// identity headers of its own, and no other.
func TestIdentityOfErrors(t *testing.T) {
	const removed = "request_header -X-Verified-Number\nrequest_header -X-Verified-User\n"
	s := newSite(t)
	for name, c := range map[string]struct {
		site string
		open bool
	}{
		"handle_errors": {"error /x 418\nGATE\nAPP\nhandle_errors {\n APP\n}", true},
		"of one status": {"error /x 418\nGATE\nAPP\nhandle_errors 418 {\n APP\n}", true},
		"rewritten":     {"error /x 418\nGATE\nAPP\nhandle_errors {\n rewrite * /error\n APP\n}", true},
		"in a handle":   {"error /x 418\nGATE\nAPP\nhandle_errors {\n handle {\n  APP\n }\n}", true},
		"invoked":       {"NAMED &(app) {\n route {\n  APP\n }\n}\n|error /x 418\nGATE\nAPP\nhandle_errors {\n invoke app\n}", true},
		"one of two":    {"error /x 418\nGATE\nAPP\nhandle_errors {\n request_header -X-Verified-User\n APP\n}", true},
		"removed elsewhere": {"error /x 418\nGATE\nAPP\nhandle_errors {\n @a path /other\n" +
			" request_header @a -X-Verified-*\n APP\n}", true},
		"a second host of handled": {"error /x 418\nGATE\nAPP\nhandle_errors {\n @a path /x\n handle @a {\n  APP\n }\n}", true},

		"removed":              {"error /x 418\nGATE\nAPP\nhandle_errors {\n " + removed + " APP\n}", false},
		"removed by a pattern": {"error /x 418\nGATE\nAPP\nhandle_errors {\n request_header -X-Verified-*\n APP\n}", false},
		"removed in a handle":  {"error /x 418\nGATE\nAPP\nhandle_errors {\n " + removed + " handle {\n  APP\n }\n}", false},
		"removed by the proxy": {"error /x 418\nGATE\nAPP\nhandle_errors {\n reverse_proxy ADDRESS {\n  header_up -X-Verified-*\n }\n}", false},
		"by a gate":            {"error /x 418\nGATE\nAPP\nhandle_errors {\n GATE\n APP\n}", false},
		"a response":           {"error /x 418\nGATE\nAPP\nhandle_errors {\n respond {err.status_code}\n}", false},
		"none":                 {"error /x 418\nGATE\nAPP", false},
	} {
		t.Run(name, func(t *testing.T) {
			s.T, s.named, s.text = t, "", strings.ReplaceAll(c.site, "ADDRESS", strings.TrimPrefix(s.App.URL, "http://"))
			// The error comes in front of the gate, as that of a first factor does.
			s.text = "route {\n" + strings.Replace(s.text, "\nhandle_errors", "\n}\nhandle_errors", 1)
			if !strings.Contains(s.text, "handle_errors") {
				s.text += "\n}"
			}
			if rest, ok := strings.CutPrefix(c.site, "NAMED "); ok {
				s.named, s.text, _ = strings.Cut(rest, "|")
				s.text = "route {\n" + strings.Replace(s.text, "\nhandle_errors", "\n}\nhandle_errors", 1)
			}
			s.Load("")
			before := len(s.App.Seen())
			s.Browser().Get("/x", harness.Page, harness.With("X-Verified-Number", "+6421234567", "X-Verified-User", "bob"))
			claimed := false
			for _, seen := range s.App.Seen()[before:] {
				claimed = claimed || seen.Header.Get("X-Verified-Number") != "" || seen.Header.Get("X-Verified-User") != ""
			}
			if claimed != c.open {
				t.Errorf("a client claims an identity: %t", claimed)
			}
			if found := s.finds("", "handle_errors hands requests that no gate"); (len(found) > 0) != c.open {
				t.Errorf("the doctor finds %q", found)
			}
		})
	}
}

// The doctor names two gates whose sessions a browser keeps in one cookie, and no others.
func TestTwoGatesOneCookie(t *testing.T) {
	gate := func(matcher, options string) string {
		return fmt.Sprintf("websms_otp %s {\n company Acme\n %s\n}\n", matcher, options)
	}
	for name, c := range map[string]struct {
		config  string
		cookies int // findings about cookies
		pages   int // findings about pages
	}{
		"two realms":               {"localhost {\n" + gate("/a/*", "realm a") + gate("/b/*", "realm b") + "}", 1, 1},
		"two realms, two prefixes": {"localhost {\n" + gate("/a/*", "realm a") + gate("/b/*", "realm b\nprefix /b/.websms") + "}", 1, 0},
		"a realm and none":         {"localhost {\n" + gate("/a/*", "realm a") + gate("/b/*", "prefix /b/.websms") + "}", 1, 0},
		"two ports":                {"localhost:1 {\n" + gate("", "realm a") + "}\nlocalhost:2 {\n" + gate("", "realm b") + "}", 1, 0},
		"the port of plain HTTP, and another": {"{\n http_port 8000\n}\nhttp://localhost {\n" + gate("", "realm a") +
			"}\nhttp://localhost:8001 {\n" + gate("", "realm b") + "}", 1, 0},
		"no host": {":80 {\n" + gate("/a/*", "realm a") + gate("/b/*", "realm b") + "}", 1, 1},
		"in handles": {"localhost {\nhandle /a/* {\n" + gate("", "realm a\nprefix /a/.websms") + "}\nhandle {\n" +
			gate("", "realm b") + "}\n}", 1, 0},
		"one domain": {"a.example.com {\n" + gate("", "realm a\nsession {\n domain example.com\n}") + "}\n" +
			"b.example.com {\n" + gate("", "realm b\nsession {\n domain example.com\n}") + "}", 1, 0},
		"one second factor": {"localhost {\n" + gate("/a/*", "prefix /a/.websms\nsecond_factor {\n"+
			" user {http.auth.user.id}\n phone {vars.phone}\n}") +
			gate("/b/*", "") + "}", 1, 0},
		"three": {"localhost {\n" + gate("/a/*", "realm a\nprefix /a/.websms") + gate("/b/*", "realm b\nprefix /b/.websms") +
			gate("/c/*", "realm c") + "}", 3, 0},

		"a cookie of the other's name": {"localhost {\n" + gate("/a/*", "session {\n cookie x\n}") +
			gate("/b/*", "session {\n cookie x_device\n}") + "}", 1, 0},
		"by address": {"localhost {\n@a remote_ip 10.0.0.0/8\nhandle @a {\n" + gate("", "realm a") + "}\nhandle {\n" +
			gate("", "realm b") + "}\n}", 1, 0},
		"by address, without handle": {"localhost {\n@a remote_ip 10.0.0.0/8\n" + gate("@a", "realm a") + gate("/b/*", "realm b") + "}", 1, 1},

		"one of a domain": {"app.example.com {\n" + gate("/a/*", "session {\n domain example.com\n}\nprefix /a/.websms") +
			gate("/b/*", "realm b") + "}", 0, 0},
		"one realm": {"localhost {\n" + gate("/a/*", "realm a") + gate("/b/*", "realm a") + "}", 0, 0},
		"no realm":  {"localhost {\n" + gate("/a/*", "") + gate("/b/*", "") + "}", 0, 0},
		"the host":  {"app.example.com {\n" + gate("/a/*", "") + gate("/b/*", "realm app.example.com") + "}", 0, 0},
		"the domain": {"app.example.com {\n" + gate("/a/*", "session {\n domain example.com\n}") + gate("/b/*", "realm example.com") +
			"}", 0, 0},
		"two cookies": {"localhost {\n" + gate("/a/*", "realm a\nsession {\n cookie a\n}") + gate("/b/*", "realm b\nprefix /b/.websms") +
			"}", 0, 0},
		"two hosts": {"a.example.com {\n" + gate("", "realm a") + "}\nb.example.com {\n" + gate("", "realm b") + "}", 0, 0},
		"two domains": {"a.example.com {\n" + gate("", "realm a\nsession {\n domain a.example.com\n}") + "}\nb.example.com {\n" +
			gate("", "realm b\nsession {\n domain example.com\n}") + "}", 0, 0},
		"a host below a wildcard": {"*.example.com {\n" + gate("", "realm a") + "}\nb.example.com {\n" + gate("", "realm b") + "}", 0, 0},
		"hosts of one site": {"*.example.com {\n@a host a.example.com\nhandle @a {\n" + gate("", "realm a") + "}\nhandle {\n" +
			gate("", "realm b") + "}\n}", 0, 0},
		"with and without TLS": {"http://localhost:1 {\n" + gate("", "realm a") + "}\nhttps://localhost:2 {\n" + gate("", "realm b") +
			"}", 0, 0},
		"a gate in two places": {"&(app) {\n" + gate("", "") + "}\na.example.com {\ninvoke app\n}\nb.example.com {\ninvoke app\n}", 0, 0},
	} {
		cookies, pages := 0, 0
		for _, g := range readCaddyfile(t, c.config).Gates {
			for _, r := range g.Risks() {
				if strings.Contains(r.Text, "has the cookie ") {
					cookies++
				}
				if strings.Contains(r.Text, "only one of them can serve") {
					pages++
				}
			}
		}
		if cookies != c.cookies || pages != c.pages {
			t.Errorf("%s: %d about cookies, %d about pages; want %d and %d", name, cookies, pages, c.cookies, c.pages)
		}
	}
}

// Two gates with one cookie and two realms sign a person out of each other. With two cookies
// they do not.
func TestTwoRealmsOneBrowser(t *testing.T) {
	const site = "websms_otp /a/* {\n company Acme\n realm a\n prefix /a/.websms\n %s\n}\n" +
		"websms_otp /b/* {\n company Acme\n realm b\n prefix /b/.websms\n}\nAPP"
	s := newSite(t)
	for options, stays := range map[string]bool{"": false, "session {\n cookie a_session\n}": true} {
		s.text = fmt.Sprintf(site, options)
		s.Load("")
		b := s.Browser()
		for _, prefix := range []string{"/a/.websms", "/b/.websms"} {
			number := harness.FreshNumber()
			b.Post(prefix+"/send", []string{"phone", number}, harness.API)
			harness.WantStatus(t, "verify", b.Post(prefix+"/verify", []string{"code", s.CodeFor(number, 1)}, harness.API), http.StatusOK)
		}
		if in := b.Get("/a/x", harness.API).StatusCode == http.StatusOK; in != stays {
			t.Errorf("with %q the first session stays: %t", options, in)
		}
		if found := s.finds("", "signs out at the other"); (len(found) == 0) != stays {
			t.Errorf("with %q the doctor finds %q", options, found)
		}
	}
}

// The doctor reads the JSON form as it reads a Caddyfile.
func TestMisplacedInJSON(t *testing.T) {
	const gate = `{"handler": "websms_otp", "company": "Acme"}`
	const app = `{"handler": "reverse_proxy", "upstreams": [{"dial": "localhost:1"}]}`
	for name, c := range map[string]struct{ server, finds string }{
		"no prefix in the matcher":  {`"routes": [{"match": [{"path": ["/app/*"]}], "handle": [` + gate + `]}]`, "nobody can open its pages"},
		"the prefix in the matcher": {`"routes": [{"match": [{"path": ["/app/*"]}, {"path": ["/.websms/*"]}], "handle": [` + gate + `]}]`, ""},
		"stripped": {`"routes": [{"match": [{"path": ["/app/*"]}], "handle": [{"handler": "subroute", "routes": [
			{"handle": [{"handler": "rewrite", "strip_path_prefix": "/app"}]}, {"handle": [` + gate + `]}]}]}]`, "nobody can open its pages"},
		"a terminal route": {`"routes": [{"match": [{"path": ["/.websms/*"]}], "terminal": true, "handle": [` + app + `]},
			{"handle": [` + gate + `]}]`, "another route takes them first"},
		"headers": {`"routes": [{"handle": [{"handler": "headers", "response": {"deferred": true,
			"delete": ["x-frame-OPTIONS"]}}, ` + gate + `]}]`,
			"changes X-Frame-Options of the gate's own pages"},
		"headers by status": {`"routes": [{"handle": [{"handler": "headers", "response": {"require": {"status_code": [4]},
			"set": {"content-security-policy": ["x"]}}}]}, {"handle": [` + gate + `]}]`, "changes Content-Security-Policy"},
		"headers at once": {`"routes": [{"handle": [{"handler": "headers", "response": {
			"set": {"X-Frame-Options": ["x"]}}}, ` + gate + `]}]`, ""},
		"errors": {`"routes": [{"handle": [` + gate + `]}],
			"errors": {"routes": [{"handle": [` + app + `]}]}`, "handle_errors hands requests"},
		"errors, removed": {`"routes": [{"handle": [` + gate + `]}],
			"errors": {"routes": [{"handle": [{"handler": "websms_identity"}, ` + app + `]}]}`, ""},
		"errors, others removed": {`"routes": [{"handle": [` + gate + `]}], "errors": {"routes": [{"handle": [
			{"handler": "websms_identity", "headers": {"number": "X-Phone"}}, ` + app + `]}]}`, "handle_errors hands requests"},
		"errors of a subroute": {`"routes": [{"handle": [` + gate + `]}, {"handle": [{"handler": "subroute", "routes": [],
			"errors": {"routes": [{"handle": [` + app + `]}]}}]}]`, "handle_errors hands requests"},
		"errors of other hosts": {`"routes": [{"match": [{"host": ["a.test"]}], "handle": [` + gate + `]}],
			"errors": {"routes": [{"match": [{"host": ["b.test"]}], "handle": [` + app + `]}]}`, ""},
		"errors invoked": {`"routes": [{"handle": [` + gate + `]}], "errors": {"routes": [{"handle": [{"handler": "invoke", "name": "x"}]}]},
			"named_routes": {"x": {"handle": [` + app + `]}}`, "handle_errors hands requests"},
		"a response": {`"routes": [{"handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": "localhost:1"}],
			"handle_response": [{"routes": [{"handle": [` + app + `]}]}]}, ` + gate + `]}]`, "handle_response hands requests"},
		"named routes that invoke each other": {`"routes": [{"handle": [{"handler": "invoke", "name": "x"}]}], "named_routes": {
			"x": {"handle": [{"handler": "invoke", "name": "y"}, ` + gate + `]}, "y": {"handle": [{"handler": "invoke", "name": "x"}]}}`, ""},
		"malformed": {`"routes": [{"match": [{"host": {}}], "handle": [7, {"handler": "headers", "response": 7}, ` + gate + `]}]`, ""},
	} {
		read, err := readConfig([]byte(`{"apps": {"http": {"servers": {"s": {` + c.server + `}}}}}`))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var found []string
		for _, g := range read.Gates {
			for _, r := range g.Risks() {
				for _, kind := range []string{"its pages", "own pages", "hands requests"} {
					if strings.Contains(r.Text, kind) {
						found = append(found, r.Text)
						break
					}
				}
			}
		}
		if c.finds == "" && found != nil || c.finds != "" && (len(found) != 1 || !strings.Contains(found[0], c.finds)) {
			t.Errorf("%s: %q; want %q", name, found, c.finds)
		}
	}
}
