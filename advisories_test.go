package websms

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/number"
)

// The mistakes of other gates, each told in the advisory that the test is
// named after. What an advisory taught in more depth has a file of its own.

// Caddy's forward_auth set the headers that the first factor answered with,
// and did not delete those it did not: a client's own passed for them. Its
// sequels (GHSA-f59h-q822-g45g, GHSA-49wc-4hcv-v58q) did the same with `_` and
// `.`, which PHP and CGI read as hyphens.
func TestCVE_2026_30851(t *testing.T) {
	w := start(t, setup{gate: "bypass {\n path /open\n}\n" + plenty})
	w.loadServer("bypass {\n path /open\n}\n"+plenty, passOn)
	b := w.browser()
	b.login("+6421234567")
	for path, number := range map[string]string{"/": "+6421234567", "/open": ""} {
		for _, name := range []string{"X-Verified-Number", "x-verified-user", "X_Verified_Number", "X.Verified.User", "X_Verified.Number", "X~Verified~User"} {
			before := len(w.app.seen())
			// Nothing sets the user header: it is deleted all the same.
			wantStatus(t, path, b.get(path, http.Header{name: {victim}}), http.StatusOK)
			wantTold(t, path+" with "+name, w.app.seen()[before].Header, number)
		}
	}
}

// Caddy's path matcher compared a pattern that holds an escape with the path
// in its own case, against its promise: another case slipped past. Whatever a
// path is spelled like, what Caddy's matcher takes in is gated. So is a path
// that servers read in several ways; nothing else is.
func TestCVE_2026_27587(t *testing.T) {
	// Paths that are the guarded ones once their parameters are cut.
	parameters := map[string][]string{"/admin/*": {"/admin;x/y", "/;/admin/x"}, "*.php": {"/x.php;y"}}
	for _, pattern := range []string{"/admin/*", "/a%2fb/*", "*.php"} {
		w := start(t, setup{
			matcher: "@guarded", gate: plenty,
			front: "@guarded path " + pattern + "\n header @guarded Matched yes",
		})
		b := w.browser()
		b.login(freshNumber())
		matched := 0
		for _, target := range []string{
			"/admin/", "/admin/users", "/ADMIN/users", "/Admin/Users", "/%61dmin/users", "/%41DMIN/users", "/admi%6e/users", "/admin%2fusers", "/admin%2Fusers",
			"//admin/users", "/admin//users", "///ADMIN///users", "/./admin/users", "/x/../admin/users", "/x/%2e%2e/admin/users", "/x/..%2fadmin/users", "/%2e/admin/x",
			"/admin/../admin/x", "/admin/./x", "/admin/x/..", "/admin/x/.", "/admin/..", "/admin/../public", "/admin", "/admin?x=/admin/", "/admin/?x", "/admin/%00", "/admin/x%20", "/admin./x", "/admin /x",
			`/\admin/x`, `/admin\x`, `/x\..\admin\users`, "/%5cadmin/x", "/administration", "/adminx/", "/xadmin/", "/x/admin/", "/%2561dmin/x", "/admin;x/y", "/;/admin/x", "/admin%3b/x",
			"/a%2fb/c", "/a%2Fb/c", "/A%2fB/c", "/A%2FB/C", "/a/b/c", "/A/b/c", "/%61%2fb/c", "/a%252fb/c", "/a%2fb//c", "//a%2fb/c", "/a%2fb/../a%2fb/c", "/a%2fbx/c",
			"/x.php", "/X.PHP", "/x.php/", "/x.php/.", "/x.php%00", "/x.php%20", "/x.ph%70", "/x.%50HP", "/x.php?y", "/x.php.txt", "/x.php;y", "/.websms/../x.php", "/.websmsx.php",
		} {
			for _, prefix := range []string{"", w.url} { // as one asks a server, and as one asks a proxy
				if strings.Contains(target, " ") { // ends the target: see the tests of raw bytes
					continue
				}
				before := len(w.app.seen())
				a := w.raw("GET", prefix+target, "Accept: text/html")
				taken := requestDoubt(asRequest(target)) == doubtful || slices.Contains(parameters[pattern], target)
				gated, reached := a.Header.Get("Matched") == "yes" || taken, len(w.app.seen()) > before
				if gated && reached || gated && a.StatusCode != http.StatusFound && a.StatusCode != http.StatusNotFound {
					t.Errorf("%s: Caddy's matcher takes in %s, or it is doubtful, and without a session it gets %s", pattern, target, a.Status)
				}
				if !gated && !reached && a.StatusCode != http.StatusNotFound && a.StatusCode != http.StatusBadRequest {
					t.Errorf("%s: Caddy's matcher passes over %s, which is not doubtful, and it gets %s", pattern, target, a.Status)
				}
				if gated {
					matched++
				}
			}
		}
		if matched < 10 {
			t.Errorf("%s: only %d targets are matched: the test tests little", pattern, matched)
		}
		for _, own := range []string{"/.websms/session", "/.websms/login"} { // whatever the pattern
			wantStatus(t, pattern+": "+own, b.get(own, page), map[bool]int{true: 303, false: 200}[strings.HasSuffix(own, "login")])
		}
	}
}

// Caddy's host matcher became sensitive to case where it knew more than 100
// hosts: another case of Host went past what guarded it. The gate holds where
// the host is one of many, and its sessions are those of the host in any case.
func TestCVE_2026_27588(t *testing.T) {
	hosts := []string{"localhost"}
	for i := range 150 {
		hosts = append(hosts, fmt.Sprintf("h%03d.example.test", i))
	}
	w := start(t, setup{matcher: "@many", front: "@many host " + strings.Join(hosts, " "), gate: plenty})
	w.serve(plenty, "")
	b := w.browser()
	login := func(at string) {
		t.Helper()
		number := freshNumber()
		wantStatus(t, at, b.request(number, host(at)), http.StatusAccepted)
		wantStatus(t, at, b.answerWith(w.codeFor(number, 1), host(at)), http.StatusOK)
	}
	for _, spelling := range []string{"h077.example.test", "H077.example.test", "h077.EXAMPLE.test", "H077.EXAMPLE.TEST:80", "LOCALHOST"} {
		before := len(w.app.seen())
		wantStatus(t, spelling, w.browser().get("/", api, host(spelling)), http.StatusUnauthorized)
		w.wantUnreached(t, spelling, before)
	}
	login("H077.Example.Test")
	for at, want := range map[string]int{"h077.example.test": 200, "H077.EXAMPLE.TEST": 200, "h078.example.test": 401, "H078.EXAMPLE.TEST": 401, "localhost": 401} {
		wantStatus(t, "the session at "+at, b.get("/", api, host(at)), want)
	}
}

// Caddy's vars_regexp put a value of the request through the replacer once
// more, so {env.SECRET} in a header came back as the secret. Nothing that a
// request brings is expanded here: not in an answer, the log, a message, a
// cookie, or what the app sees.
func TestCVE_2026_30852(t *testing.T) {
	const secret = "s3cr3t-of-the-environment"
	t.Setenv("WEBSMS_TEST_SECRET", secret)
	file := filepath.Join(t.TempDir(), "secret")
	writeFile(t, file, "s3cr3t-of-a-file")
	w := start(t, setup{
		gate: plenty, global: "servers {\n trusted_proxies static private_ranges\n}",
		front: "log\n handle_errors {\n respond \"{err.message} {http.error.status_text}\" 500\n}",
	})
	hidden := []string{secret, "s3cr3t-of-a-file", webhookSecret, "csk_demo"}
	want := func(what string, a answer) answer {
		t.Helper()
		for _, s := range hidden {
			if strings.Contains(a.body, s) || strings.Contains(fmt.Sprint(a.Header), s) {
				t.Errorf("%s: the answer holds %q: %s %v", what, s, redact(a.body), a.Header)
			}
		}
		return a
	}
	for _, text := range []string{
		"{env.WEBSMS_TEST_SECRET}", "{$WEBSMS_TEST_SECRET}", "{file." + file + "}", "{http.request.header.Authorization}", "{http.vars.client_ip}",
		"{{env.WEBSMS_TEST_SECRET}}", `\{env.WEBSMS_TEST_SECRET}`, "{http.request.uri.query.x}", "{http.auth.user.id}", "{{.}}", "${WEBSMS_TEST_SECRET}",
	} {
		b, headers := w.browser(), http.Header{}
		for _, name := range []string{
			"User-Agent", "Accept-Language", "Referer", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Other", "X-Verified-Number", "Cookie",
		} {
			headers[name] = []string{text}
		}
		indirect := with("Authorization", secret) // what an expansion of the header would bring
		escaped := url.QueryEscape(text)
		want("a stranger", b.get("/"+url.PathEscape(text)+"?x="+escaped, page, headers))
		want("a program", b.get("/"+url.PathEscape(text), api, headers))
		want("our own path", b.get("/.websms/"+url.PathEscape(text), page, headers))
		want("an asset", b.get("/.websms/assets/"+url.PathEscape(text), page, headers))
		want("a form", b.post("/x", []string{"a", text}, page, headers))
		if a := want("login", b.get("/.websms/login?rd=/"+escaped, page, headers)); !strings.Contains(unescapeHTML(a.body), `value="/`+text+`"`) && !strings.Contains(text, `\`) {
			t.Errorf("%s: the form keeps another target: %s", text, redact(a.body))
		}
		want("send", b.post("/.websms/send", []string{"phone", text, "rd", text}, page, headers))
		want("send", b.post("/.websms/send", []string{"phone", text + "021234567"}, api, headers))
		number := freshNumber()
		want("send", b.post("/.websms/send", []string{"phone", number, "rd", "/" + text, "x", text}, page, headers))
		code := w.codeFor(number, 1)
		for _, path := range []string{"/.websms/verify", "/.websms/status"} {
			want(path, b.get(path, page))
		}
		want("a wrong code", b.post("/.websms/verify", []string{"code", text, "remember", text}, page))
		want("a wrong code", b.answerWith(text))
		a := want("verify", b.post("/.websms/verify", []string{"code", code}, page))
		rd := (&Gate{Prefix: DefaultPrefix}).target("/" + text)
		if got := a.Header.Get("Location"); got != escapeNonASCII(rd) {
			t.Errorf("%s: it leads to %q; want %q", text, got, rd)
		}
		before := len(w.app.seen())
		want("the app", b.get("/x?x="+escaped, api, with("X-Other", text), indirect))
		if seen := w.app.seen(); len(seen) != before+1 || seen[before].Header.Get("X-Other") != text || seen[before].URI != "/x?x="+escaped || strings.Contains(fmt.Sprint(seen[before].Header["X-Other"], seen[before].URI), secret) {
			t.Errorf("%s: the app saw %+v", text, seen[before:])
		}
		want("a host", b.get("/", page, host("a"+strings.NewReplacer("{", "", "}", "", `\`, "", "$", "").Replace(text))))
		for _, line := range []string{"Host: " + text, "Host: localhost", "X-Other: " + text} {
			want(line, w.raw("GET", "/"+url.PathEscape(text), line, "Accept: text/html"))
		}
	}
	for _, m := range w.sim.Messages() {
		if strings.Contains(fmt.Sprintf("%+v", m), "s3cr3t") || m.Company != "Acme" || m.Comment != "" {
			t.Errorf("%+v was sent", m)
		}
	}
	for line := range strings.Lines(w.logText()) { // what a request brought stands there as it came, in Caddy's own lines
		for _, s := range hidden {
			if strings.Contains(strings.ReplaceAll(line, `"Authorization":["REDACTED"]`, ""), s) {
				t.Errorf("the log holds %q: %s", s, redact(line))
			}
		}
	}
}

// Caddy's mTLS went on without the CA file that it could not read, and took
// every certificate. A secret, or a list, that cannot be read refuses to load,
// and what runs goes on.
func TestCVE_2026_27586(t *testing.T) {
	w := start(t, setup{gate: plenty})
	b := w.browser()
	b.login("+6421234567")
	dir := t.TempDir()
	empty, blank, junk := filepath.Join(dir, "empty"), filepath.Join(dir, "blank"), filepath.Join(dir, "junk")
	writeFile(t, empty, "")
	writeFile(t, blank, " \n\t\n")
	writeFile(t, junk, "\x00\xff\xfe+64")
	t.Setenv("WEBSMS_TEST_EMPTY", "")
	if _, set := os.LookupEnv("WEBSMS_TEST_UNSET"); set {
		t.Fatal("WEBSMS_TEST_UNSET is set")
	}
	for _, secret := range []string{
		"{env.WEBSMS_TEST_UNSET}", "{env.WEBSMS_TEST_EMPTY}", "{$WEBSMS_TEST_UNSET}", "{file." + filepath.Join(dir, "missing") + "}", "{file." + empty + "}",
		"{file." + blank + "}", "{file." + dir + "}", "{file.}", "{env.}", `""`, `" "`,
	} {
		for option, old := range map[string]string{"client_id": "client_id cid_demo", "client_secret": "client_secret csk_demo", "secret": "\t\tsecret " + webhookSecret} {
			text := strings.Replace(w.config(plenty), old, "\t\t"+option+" "+secret, 1)
			if text == w.config(plenty) {
				t.Fatalf("the configuration has no %q", old)
			}
			if err := loadCaddyfile(text); err == nil || !strings.Contains(err.Error(), option) {
				t.Errorf("%s %s: %v", option, secret, err)
			}
		}
	}
	for _, list := range []string{filepath.Join(dir, "missing"), dir, junk} {
		if err := loadCaddyfile(w.config("numbers {\n allow_file " + list + "\n}\n" + plenty)); err == nil || !strings.Contains(err.Error(), "allow_file") {
			t.Errorf("allow_file %s: %v", list, err)
		}
	}
	wantStatus(t, "who was signed in", b.get("/", api), http.StatusOK)
	wantStatus(t, "a stranger", w.browser().get("/", api), http.StatusUnauthorized)
	// An empty list is read, and lists nobody: it opens the gate to none.
	w.load("numbers {\n allow_file " + empty + "\n}\n" + plenty)
	wantStatus(t, "who is on no list", b.get("/", api), http.StatusUnauthorized)
	// Nor do keys that cannot be read make way for new ones, or for none.
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(w.dir, keysFile), "{}")
	if err := loadCaddyfile(w.config(plenty)); err == nil {
		t.Error("it runs on keys that are none")
	}
}

// caddy-security counted wrong second factors within one run of its form, and
// whoever began the form anew had all tries again. Here attempts belong to a
// challenge and challenges to a number: no way of starting over, not even the
// operator's reload, gives more guesses than the limits do.
func TestCVE_2024_21500(t *testing.T) {
	now := useClock(t)
	gate := "code {\n attempts 2\n}\n limits {\n per_number 3/1h\n cooldown 0s\n}"
	w := start(t, setup{gate: gate})
	guesses, sends := 0, 0
	guess := func(b *browser) {
		for range 4 {
			switch a := b.answerWith("abcdef"); a.StatusCode {
			case http.StatusUnprocessableEntity:
				guesses++
			case http.StatusOK:
				t.Fatal("the guess is right")
			}
		}
	}
	spelled := []string{"+6421234567", "021 234 567", "0064 21 234 567", "(021) 234-567", "+64 (0)21 234 567"}
	b := w.browser()
	for i, restart := range []func(){
		func() {},
		func() { b.get("/.websms/login", page) },
		func() { b.post("/.websms/logout", nil, api) },
		func() { b = w.browser() },
		func() { b = w.browser(); b.header.Set("User-Agent", "another") },
		func() { b.client.Jar = w.browser().client.Jar },
		func() { w.load("comment Reloaded.\n" + gate) },
		func() { b = w.browser(); w.load(gate) },
	} {
		restart()
		if a := b.request(spelled[i%len(spelled)]); a.StatusCode == http.StatusAccepted {
			sends++
		}
		guess(b)
		if a := b.post("/.websms/resend", nil, api); a.StatusCode == http.StatusAccepted {
			sends++
		}
		guess(b)
	}
	if sends != 3 || guesses > 3*2 || guesses < 2 {
		t.Errorf("who starts over gets %d codes sent and %d guesses; the limits are 3 and 6", sends, guesses)
	}
	now.Advance(time.Hour)
	wantStatus(t, "an hour later", w.browser().request(spelled[0]), http.StatusAccepted)
}

// caddy-security redirected to whatever redirect_url named; its siblings went
// by X-Forwarded-Host (CVE-2024-21498) and X-Forwarded-Proto (CVE-2024-21499).
// A target is a path of this origin, whoever names it and whatever a proxy,
// trusted or not, says of the way.
func TestCVE_2024_21497(t *testing.T) {
	for _, trusted := range []string{"", "servers {\n trusted_proxies static private_ranges\n}"} {
		w := start(t, setup{global: trusted, gate: plenty})
		b := w.browser()
		b.login(freshNumber())
		session := "Cookie: " + b.cookies()
		for _, forwarded := range []http.Header{
			{}, {"X-Forwarded-Host": {"evil.example"}}, {"X-Forwarded-Proto": {"javascript"}}, {"X-Forwarded-Proto": {"https://evil.example/?"}},
			{"Forwarded": {"host=evil.example;proto=https"}}, {"X-Original-Url": {"//evil.example/"}}, {"X-Rewrite-Url": {"//evil.example/"}}, {"X-Forwarded-Prefix": {"//evil.example"}},
			{"Referer": {"https://evil.example/"}}, {"Origin": {"https://evil.example"}},
		} {
			lines := []string{"Host: " + strings.TrimPrefix(w.url, "http://")}
			for name, values := range forwarded {
				lines = append(lines, name+": "+values[0])
			}
			for _, rd := range append([]string{"/fine"}, hostile...) {
				want := map[bool]string{true: rd, false: "/"}[rd == "/fine"]
				a := w.raw("GET", "/.websms/login?rd="+url.QueryEscape(rd), append(lines, session, "Accept: text/html")...)
				if a.StatusCode != http.StatusSeeOther || len(a.Header["Location"]) != 1 || a.Header.Get("Location") != want {
					t.Errorf("%q with %v leads to %q", rd, forwarded, a.Header["Location"])
				}
				if len(forwarded) > 0 && rd == "https://evil.example/" {
					break // the list of all once, and a few with each header
				}
			}
			a := w.raw("GET", "//evil.example/..", append(lines, "Accept: text/html")...)
			if got := a.Header.Get("Location"); got != "/.websms/login?rd=%2F" {
				t.Errorf("a stranger with %v is led to %q", forwarded, got)
			}
			if a := b.get("/.websms/login", api, forwarded); strings.Contains(fmt.Sprint(a.Header, a.body), "evil.example") {
				t.Errorf("%v comes back: %v %s", forwarded, a.Header, a.body)
			}
		}
		if a := b.request(freshNumber(), with("X-Forwarded-Host", "evil.example")); a.StatusCode != http.StatusAccepted {
			t.Errorf("send: %s", a.Status)
		}
		eventually(t, "two messages are sent", func() bool { return len(w.sim.Messages()) == 2 })
		for _, m := range w.sim.Messages() {
			if m.WebOTPDomain != "" || strings.Contains(m.Body, "evil.example") {
				t.Errorf("a message names the host of a header: %+v", m)
			}
		}
	}
}

// Caddy Defender judged the address of the peer, which behind a proxy is the
// proxy's; caddy-security believed any X-Forwarded-For (CVE-2024-21494). The
// client is whom Caddy's trusted_proxies make it.
func TestCVE_2026_46415(t *testing.T) {
	for _, c := range []struct {
		name, servers string
		header        http.Header
		want          string
	}{
		{"a stranger's word", "", with("X-Forwarded-For", "203.0.113.7"), ""},
		{"a stranger's other words", "", with("Forwarded", "for=203.0.113.7", "X-Real-Ip", "203.0.113.7", "True-Client-Ip", "203.0.113.7", "Cf-Connecting-Ip", "203.0.113.7"), ""},
		{"a proxy's word", "trusted_proxies static private_ranges", with("X-Forwarded-For", "203.0.113.7"), "203.0.113.7"},
		{"a proxy's word behind a stranger's", "trusted_proxies static private_ranges\n trusted_proxies_strict", with("X-Forwarded-For", "198.51.100.9, 203.0.113.7"), "203.0.113.7"},
		{"a proxy's word in IPv6", "trusted_proxies static private_ranges", with("X-Forwarded-For", "2001:db8::7"), "2001:db8::7"},
		{"a proxy's word that is none", "trusted_proxies static private_ranges", with("X-Forwarded-For", "{env.HOME}"), ""},
		{"another proxy's word", "trusted_proxies static 192.0.2.0/24", with("X-Forwarded-For", "203.0.113.7"), ""},
		{"a proxy's own header", "trusted_proxies static private_ranges\n client_ip_headers Cf-Connecting-Ip", with("Cf-Connecting-Ip", "203.0.113.7", "X-Forwarded-For", "198.51.100.9"), "203.0.113.7"},
	} {
		w := start(t, setup{global: "servers {\n" + c.servers + "\n}", gate: plenty})
		b := w.browser()
		phone := freshNumber()
		wantStatus(t, c.name, b.request(phone, c.header), http.StatusAccepted)
		code := w.codeFor(phone, 1)
		wantStatus(t, c.name, b.answerWith(other(code), c.header), http.StatusUnprocessableEntity)
		wantStatus(t, c.name, b.answerWith(code, c.header), http.StatusOK)
		wantStatus(t, c.name, b.post("/.websms/logout", nil, api, c.header), http.StatusNoContent)
		eventually(t, "five lines are logged", func() bool { return len(w.logged("websms.audit")) == 5 })
		for _, line := range w.logged("websms.audit") {
			got := fmt.Sprint(line["client_ip"])
			if c.want != "" && got != c.want || c.want == "" && got != "127.0.0.1" && got != "::1" {
				t.Errorf("%s: the audit log has %v from %q; want %q", c.name, line["event"], got, c.want)
			}
			if line["number"] != number.Mask(phone) {
				t.Errorf("%s: the audit log names %v", c.name, line["number"])
			}
		}
	}
}
