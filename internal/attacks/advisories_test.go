package attacks_test

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

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/number"
)

// These tests cover the published mistakes of other gates. Each test has the name of its advisory.
// A kind of attack that needs more tests has a file of its own.

// Caddy's forward_auth set the headers in the first factor's answer, and did not delete the others.
// So a client could send those itself. Later advisories (GHSA-f59h-q822-g45g, GHSA-49wc-4hcv-v58q)
// found the same with `_` and `.`, which PHP and CGI read as hyphens.
func TestCVE_2026_30851(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: "bypass {\n path /open\n}\n" + harness.Plenty})
	w.LoadServer("bypass {\n path /open\n}\n"+harness.Plenty, passOn)
	b := w.Browser()
	b.Login("+6421234567")
	for path, number := range map[string]string{"/": "+6421234567", "/open": ""} {
		for _, name := range []string{"X-Verified-Number", "x-verified-user", "X_Verified_Number", "X.Verified.User",
			"X_Verified.Number", "X~Verified~User"} {
			before := len(w.App.Seen())
			// The gate deletes the user header although nothing sets it.
			harness.WantStatus(t, path, b.Get(path, http.Header{name: {victim}}), http.StatusOK)
			wantTold(t, path+" with "+name, w.App.Seen()[before].Header, number)
		}
	}
}

// Caddy's path matcher compared a pattern that holds an escape with the unchanged path, although it
// promises to ignore case. Another case slipped past. Here the gate covers every path that Caddy's
// matcher matches, and every doubtful path, and no other.
func TestCVE_2026_27587(t *testing.T) {
	// These paths are the guarded ones without their parameters.
	parameters := map[string][]string{"/admin/*": {"/admin;x/y", "/;/admin/x"}, "*.php": {"/x.php;y"}}
	for _, pattern := range []string{"/admin/*", "/a%2fb/*", "*.php"} {
		w := harness.Start(t, harness.Setup{
			Matcher: "@guarded", Gate: harness.Plenty,
			Front: "@guarded path " + pattern + "\n header @guarded Matched yes",
		})
		b := w.Browser()
		b.Login(harness.FreshNumber())
		matched := 0
		for _, target := range []string{
			"/admin/", "/admin/users", "/ADMIN/users", "/Admin/Users", "/%61dmin/users", "/%41DMIN/users", "/admi%6e/users",
			"/admin%2fusers", "/admin%2Fusers",
			"//admin/users", "/admin//users", "///ADMIN///users", "/./admin/users", "/x/../admin/users", "/x/%2e%2e/admin/users",
			"/x/..%2fadmin/users", "/%2e/admin/x",
			"/admin/../admin/x", "/admin/./x", "/admin/x/..", "/admin/x/.", "/admin/..", "/admin/../public", "/admin",
			"/admin?x=/admin/", "/admin/?x", "/admin/%00", "/admin/x%20", "/admin./x", "/admin /x",
			`/\admin/x`, `/admin\x`, `/x\..\admin\users`, "/%5cadmin/x", "/administration", "/adminx/", "/xadmin/", "/x/admin/",
			"/%2561dmin/x", "/admin;x/y", "/;/admin/x", "/admin%3b/x",
			"/a%2fb/c", "/a%2Fb/c", "/A%2fB/c", "/A%2FB/C", "/a/b/c", "/A/b/c", "/%61%2fb/c", "/a%252fb/c", "/a%2fb//c",
			"//a%2fb/c", "/a%2fb/../a%2fb/c", "/a%2fbx/c",
			"/x.php", "/X.PHP", "/x.php/", "/x.php/.", "/x.php%00", "/x.php%20", "/x.ph%70", "/x.%50HP", "/x.php?y",
			"/x.php.txt", "/x.php;y", "/.websms/../x.php", "/.websmsx.php",
		} {
			for _, prefix := range []string{"", w.URL} { // the forms for a server and for a proxy
				if strings.Contains(target, " ") { // a space ends the target; the tests of raw bytes cover it
					continue
				}
				before := len(w.App.Seen())
				a := w.Raw("GET", prefix+target, "Accept: text/html")
				taken := request.DoubtOf(harness.AsRequest(target)) == request.Doubtful || slices.Contains(parameters[pattern], target)
				gated, reached := a.Header.Get("Matched") == "yes" || taken, len(w.App.Seen()) > before
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
		for _, own := range []string{"/.websms/session", "/.websms/login"} { // with any pattern
			harness.WantStatus(t, pattern+": "+own, b.Get(own, harness.Page), map[bool]int{true: 303, false: 200}[strings.HasSuffix(own, "login")])
		}
	}
}

// Caddy's host matcher became case-sensitive with more than 100 hosts, so another case of Host went
// past its guard. The gate covers the host also as one of many. A session is valid for its host in
// any case.
func TestCVE_2026_27588(t *testing.T) {
	hosts := []string{"localhost"}
	for i := range 150 {
		hosts = append(hosts, fmt.Sprintf("h%03d.example.test", i))
	}
	w := harness.Start(t, harness.Setup{Matcher: "@many", Front: "@many host " + strings.Join(hosts, " "), Gate: harness.Plenty})
	w.Serve(harness.Plenty, "")
	b := w.Browser()
	login := func(at string) {
		t.Helper()
		number := harness.FreshNumber()
		harness.WantStatus(t, at, b.Request(number, harness.Host(at)), http.StatusAccepted)
		harness.WantStatus(t, at, b.AnswerWith(w.CodeFor(number, 1), harness.Host(at)), http.StatusOK)
	}
	for _, spelling := range []string{"h077.example.test", "H077.example.test", "h077.EXAMPLE.test", "H077.EXAMPLE.TEST:80", "LOCALHOST"} {
		before := len(w.App.Seen())
		harness.WantStatus(t, spelling, w.Browser().Get("/", harness.API, harness.Host(spelling)), http.StatusUnauthorized)
		w.WantUnreached(t, spelling, before)
	}
	login("H077.Example.Test")
	for at, want := range map[string]int{"h077.example.test": 200, "H077.EXAMPLE.TEST": 200, "h078.example.test": 401,
		"H078.EXAMPLE.TEST": 401, "localhost": 401} {
		harness.WantStatus(t, "the session at "+at, b.Get("/", harness.API, harness.Host(at)), want)
	}
}

// Caddy's vars_regexp expanded a value of the request a second time, so {env.SECRET} in a header
// came back as the secret. The gate expands nothing that a request brings: not in an answer, the
// log, a message or a cookie, and not in the request to the application.
func TestCVE_2026_30852(t *testing.T) {
	const secret = "s3cr3t-of-the-environment"
	t.Setenv("WEBSMS_TEST_SECRET", secret)
	file := filepath.Join(t.TempDir(), "secret")
	harness.WriteFile(t, file, "s3cr3t-of-a-file")
	w := harness.Start(t, harness.Setup{
		Gate: harness.Plenty, Global: "servers {\n trusted_proxies static private_ranges\n}",
		Front: "log\n handle_errors {\n respond \"{err.message} {http.error.status_text}\" 500\n}",
	})
	hidden := []string{secret, "s3cr3t-of-a-file", harness.WebhookSecret, "csk_demo"}
	want := func(what string, a harness.Answer) harness.Answer {
		t.Helper()
		for _, s := range hidden {
			if strings.Contains(a.Text, s) || strings.Contains(fmt.Sprint(a.Header), s) {
				t.Errorf("%s: the answer holds %q: %s %v", what, s, harness.Excerpt(a.Text), a.Header)
			}
		}
		return a
	}
	for _, text := range []string{
		"{env.WEBSMS_TEST_SECRET}", "{$WEBSMS_TEST_SECRET}", "{file." + file + "}", "{http.request.header.Authorization}",
		"{http.vars.client_ip}",
		"{{env.WEBSMS_TEST_SECRET}}", `\{env.WEBSMS_TEST_SECRET}`, "{http.request.uri.query.x}", "{http.auth.user.id}",
		"{{.}}", "${WEBSMS_TEST_SECRET}",
	} {
		b, headers := w.Browser(), http.Header{}
		for _, name := range []string{
			"User-Agent", "Accept-Language", "Referer", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Other",
			"X-Verified-Number", "Cookie",
		} {
			headers[name] = []string{text}
		}
		indirect := harness.With("Authorization", secret) // an expansion of the header would give this
		escaped := url.QueryEscape(text)
		want("a stranger", b.Get("/"+url.PathEscape(text)+"?x="+escaped, harness.Page, headers))
		want("a program", b.Get("/"+url.PathEscape(text), harness.API, headers))
		want("our own path", b.Get("/.websms/"+url.PathEscape(text), harness.Page, headers))
		want("an asset", b.Get("/.websms/assets/"+url.PathEscape(text), harness.Page, headers))
		want("a form", b.Post("/x", []string{"a", text}, harness.Page, headers))
		if a := want("login", b.Get("/.websms/login?rd=/"+escaped, harness.Page, headers)); !strings.Contains(harness.UnescapeHTML(a.Text),
			`value="/`+text+`"`) && !strings.Contains(text, `\`) {
			t.Errorf("%s: the form keeps another target: %s", text, harness.Excerpt(a.Text))
		}
		want("send", b.Post("/.websms/send", []string{"phone", text, "rd", text}, harness.Page, headers))
		want("send", b.Post("/.websms/send", []string{"phone", text + "021234567"}, harness.API, headers))
		number := harness.FreshNumber()
		want("send", b.Post("/.websms/send", []string{"phone", number, "rd", "/" + text, "x", text}, harness.Page, headers))
		code := w.CodeFor(number, 1)
		for _, path := range []string{"/.websms/verify", "/.websms/status"} {
			want(path, b.Get(path, harness.Page))
		}
		want("a wrong code", b.Post("/.websms/verify", []string{"code", text, "remember", text}, harness.Page))
		want("a wrong code", b.AnswerWith(text))
		a := want("verify", b.Post("/.websms/verify", []string{"code", code}, harness.Page))
		rd := request.ReturnTarget("/"+text, "/.websms")
		if got := a.Header.Get("Location"); got != request.EscapeNonASCII(rd) {
			t.Errorf("%s: it leads to %q; want %q", text, got, rd)
		}
		before := len(w.App.Seen())
		want("the app", b.Get("/x?x="+escaped, harness.API, harness.With("X-Other", text), indirect))
		if seen := w.App.Seen(); len(seen) != before+1 || seen[before].Header.Get("X-Other") != text ||
			seen[before].URI != "/x?x="+escaped || strings.Contains(fmt.Sprint(seen[before].Header["X-Other"], seen[before].URI), secret) {
			t.Errorf("%s: the app saw %+v", text, seen[before:])
		}
		want("a host", b.Get("/", harness.Page, harness.Host("a"+strings.NewReplacer("{", "", "}", "", `\`, "", "$", "").Replace(text))))
		for _, line := range []string{"Host: " + text, "Host: localhost", "X-Other: " + text} {
			want(line, w.Raw("GET", "/"+url.PathEscape(text), line, "Accept: text/html"))
		}
	}
	for _, m := range w.Sim.Messages() {
		if strings.Contains(fmt.Sprintf("%+v", m), "s3cr3t") || m.Company != "Acme" || m.Comment != "" {
			t.Errorf("%+v was sent", m)
		}
	}
	for line := range strings.Lines(w.LogText()) { // Caddy's own lines hold the request as it came
		for _, s := range hidden {
			if strings.Contains(strings.ReplaceAll(line, `"Authorization":["REDACTED"]`, ""), s) {
				t.Errorf("the log holds %q: %s", s, harness.Excerpt(line))
			}
		}
	}
}

// Caddy's mTLS ignored a CA file that it could not read, and then accepted every certificate. Here
// a configuration with a secret or a list that cannot be read is refused, and the running
// configuration goes on.
func TestCVE_2026_27586(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b := w.Browser()
	b.Login("+6421234567")
	dir := t.TempDir()
	empty, blank, junk := filepath.Join(dir, "empty"), filepath.Join(dir, "blank"), filepath.Join(dir, "junk")
	harness.WriteFile(t, empty, "")
	harness.WriteFile(t, blank, " \n\t\n")
	harness.WriteFile(t, junk, "\x00\xff\xfe+64")
	t.Setenv("WEBSMS_TEST_EMPTY", "")
	if _, set := os.LookupEnv("WEBSMS_TEST_UNSET"); set {
		t.Fatal("WEBSMS_TEST_UNSET is set")
	}
	for _, secret := range []string{
		"{env.WEBSMS_TEST_UNSET}", "{env.WEBSMS_TEST_EMPTY}", "{$WEBSMS_TEST_UNSET}",
		"{file." + filepath.Join(dir, "missing") + "}", "{file." + empty + "}",
		"{file." + blank + "}", "{file." + dir + "}", "{file.}", "{env.}", `""`, `" "`,
	} {
		for option, old := range map[string]string{"client_id": "client_id cid_demo",
			"client_secret": "client_secret csk_demo", "secret": "\t\tsecret " + harness.WebhookSecret} {
			text := strings.Replace(w.Config(harness.Plenty), old, "\t\t"+option+" "+secret, 1)
			if text == w.Config(harness.Plenty) {
				t.Fatalf("the configuration has no %q", old)
			}
			if err := harness.LoadCaddyfile(text); err == nil || !strings.Contains(err.Error(), option) {
				t.Errorf("%s %s: %v", option, secret, err)
			}
		}
	}
	for _, list := range []string{filepath.Join(dir, "missing"), dir, junk} {
		if err := harness.LoadCaddyfile(w.Config("numbers {\n allow_file " + list + "\n}\n" + harness.Plenty)); err == nil ||
			!strings.Contains(err.Error(), "allow_file") {
			t.Errorf("allow_file %s: %v", list, err)
		}
	}
	harness.WantStatus(t, "who was signed in", b.Get("/", harness.API), http.StatusOK)
	harness.WantStatus(t, "a stranger", w.Browser().Get("/", harness.API), http.StatusUnauthorized)
	// An empty list loads. Nobody is on it, so the gate admits nobody.
	w.Load("numbers {\n allow_file " + empty + "\n}\n" + harness.Plenty)
	harness.WantStatus(t, "who is on no list", b.Get("/", harness.API), http.StatusUnauthorized)
	// Sealing keys that cannot be read are not replaced by new ones.
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	harness.WriteFile(t, filepath.Join(w.Dir, harness.KeysFile), "{}")
	if err := harness.LoadCaddyfile(w.Config(harness.Plenty)); err == nil {
		t.Error("it runs on keys that are none")
	}
}

// caddy-security counted wrong second factors within one run of its form. An attacker who started
// the form again had all attempts again. Here attempts belong to a challenge, and challenges to a
// number. No way to start over gives more guesses than the limits allow, not even the operator's
// reload.
func TestCVE_2024_21500(t *testing.T) {
	now := harness.UseClock(t)
	gate := "code {\n attempts 2\n}\n limits {\n per_number 3/1h\n cooldown 0s\n}"
	w := harness.Start(t, harness.Setup{Gate: gate})
	guesses, sends := 0, 0
	guess := func(b *harness.Browser) {
		for range 4 {
			switch a := b.AnswerWith("000000"); a.StatusCode {
			case http.StatusUnprocessableEntity:
				guesses++
			case http.StatusOK:
				t.Fatal("the guess is right")
			}
		}
	}
	spelled := []string{"+6421234567", "021 234 567", "0064 21 234 567", "(021) 234-567", "+64 (0)21 234 567"}
	b := w.Browser()
	for i, restart := range []func(){
		func() {},
		func() { b.Get("/.websms/login", harness.Page) },
		func() { b.Post("/.websms/logout", nil, harness.API) },
		func() { b = w.Browser() },
		func() { b = w.Browser(); b.Header.Set("User-Agent", "another") },
		func() { b.Client.Jar = w.Browser().Client.Jar },
		func() { w.Load("comment Reloaded.\n" + gate) },
		func() { b = w.Browser(); w.Load(gate) },
	} {
		restart()
		if a := b.Request(spelled[i%len(spelled)]); a.StatusCode == http.StatusAccepted {
			sends++
		}
		guess(b)
		if a := b.Post("/.websms/resend", nil, harness.API); a.StatusCode == http.StatusAccepted {
			sends++
		}
		guess(b)
	}
	if sends != 3 || guesses > 3*2 || guesses < 2 {
		t.Errorf("who starts over gets %d codes sent and %d guesses; the limits are 3 and 6", sends, guesses)
	}
	now.Advance(time.Hour)
	harness.WantStatus(t, "an hour later", w.Browser().Request(spelled[0]), http.StatusAccepted)
}

// caddy-security redirected to any redirect_url. Later advisories found the same with
// X-Forwarded-Host (CVE-2024-21498) and X-Forwarded-Proto (CVE-2024-21499). Here a return target is
// a path of this origin, and no header of a proxy changes that, trusted or not.
func TestCVE_2024_21497(t *testing.T) {
	for _, trusted := range []string{"", "servers {\n trusted_proxies static private_ranges\n}"} {
		w := harness.Start(t, harness.Setup{Global: trusted, Gate: harness.Plenty})
		b := w.Browser()
		b.Login(harness.FreshNumber())
		session := "Cookie: " + b.Cookies()
		for _, forwarded := range []http.Header{
			{}, {"X-Forwarded-Host": {"evil.example"}}, {"X-Forwarded-Proto": {"javascript"}}, {"X-Forwarded-Proto": {"https://evil.example/?"}},
			{"Forwarded": {"host=evil.example;proto=https"}}, {"X-Original-Url": {"//evil.example/"}},
			{"X-Rewrite-Url": {"//evil.example/"}}, {"X-Forwarded-Prefix": {"//evil.example"}},
			{"Referer": {"https://evil.example/"}}, {"Origin": {"https://evil.example"}},
		} {
			lines := []string{"Host: " + strings.TrimPrefix(w.URL, "http://")}
			for name, values := range forwarded {
				lines = append(lines, name+": "+values[0])
			}
			for _, rd := range append([]string{"/fine"}, harness.HostileTargets...) {
				want := map[bool]string{true: rd, false: "/"}[rd == "/fine"]
				a := w.Raw("GET", "/.websms/login?rd="+url.QueryEscape(rd), append(lines, session, "Accept: text/html")...)
				if a.StatusCode != http.StatusSeeOther || len(a.Header["Location"]) != 1 || a.Header.Get("Location") != want {
					t.Errorf("%q with %v leads to %q", rd, forwarded, a.Header["Location"])
				}
				if len(forwarded) > 0 && rd == "https://evil.example/" {
					break // all of them once, and a few with each header
				}
			}
			a := w.Raw("GET", "//evil.example/..", append(lines, "Accept: text/html")...)
			if got := a.Header.Get("Location"); got != "/.websms/login?rd=%2F" {
				t.Errorf("a stranger with %v is led to %q", forwarded, got)
			}
			if a := b.Get("/.websms/login", harness.API, forwarded); strings.Contains(fmt.Sprint(a.Header, a.Text), "evil.example") {
				t.Errorf("%v comes back: %v %s", forwarded, a.Header, a.Text)
			}
		}
		if a := b.Request(harness.FreshNumber(), harness.With("X-Forwarded-Host", "evil.example")); a.StatusCode != http.StatusAccepted {
			t.Errorf("send: %s", a.Status)
		}
		harness.Eventually(t, "two messages are sent", func() bool { return len(w.Sim.Messages()) == 2 })
		for _, m := range w.Sim.Messages() {
			if m.WebOTPDomain != "" || strings.Contains(m.Body, "evil.example") {
				t.Errorf("a message names the host of a header: %+v", m)
			}
		}
	}
}

// Caddy Defender judged the address of the peer, which behind a proxy is the proxy's.
// caddy-security believed any X-Forwarded-For (CVE-2024-21494). The gate uses the client IP that
// Caddy derives with trusted_proxies.
func TestCVE_2026_46415(t *testing.T) {
	for _, c := range []struct {
		name, servers string
		header        http.Header
		want          string
	}{
		{"a stranger's word", "", harness.With("X-Forwarded-For", "203.0.113.7"), ""},
		{"a stranger's other words", "",
			harness.With("Forwarded", "for=203.0.113.7", "X-Real-Ip", "203.0.113.7", "True-Client-Ip", "203.0.113.7",
				"Cf-Connecting-Ip", "203.0.113.7"), ""},
		{"a proxy's word", "trusted_proxies static private_ranges", harness.With("X-Forwarded-For", "203.0.113.7"), "203.0.113.7"},
		{"a proxy's word behind a stranger's", "trusted_proxies static private_ranges\n trusted_proxies_strict",
			harness.With("X-Forwarded-For", "198.51.100.9, 203.0.113.7"), "203.0.113.7"},
		{"a proxy's word in IPv6", "trusted_proxies static private_ranges", harness.With("X-Forwarded-For", "2001:db8::7"), "2001:db8::7"},
		{"a proxy's word that is none", "trusted_proxies static private_ranges", harness.With("X-Forwarded-For", "{env.HOME}"), ""},
		{"another proxy's word", "trusted_proxies static 192.0.2.0/24", harness.With("X-Forwarded-For", "203.0.113.7"), ""},
		{"a proxy's own header", "trusted_proxies static private_ranges\n client_ip_headers Cf-Connecting-Ip",
			harness.With("Cf-Connecting-Ip", "203.0.113.7", "X-Forwarded-For", "198.51.100.9"), "203.0.113.7"},
	} {
		w := harness.Start(t, harness.Setup{Global: "servers {\n" + c.servers + "\n}", Gate: harness.Plenty})
		b := w.Browser()
		phone := harness.FreshNumber()
		harness.WantStatus(t, c.name, b.Request(phone, c.header), http.StatusAccepted)
		code := w.CodeFor(phone, 1)
		harness.WantStatus(t, c.name, b.AnswerWith(harness.OtherCode(code), c.header), http.StatusUnprocessableEntity)
		harness.WantStatus(t, c.name, b.AnswerWith(code, c.header), http.StatusOK)
		harness.WantStatus(t, c.name, b.Post("/.websms/logout", nil, harness.API, c.header), http.StatusNoContent)
		harness.Eventually(t, "five lines are logged", func() bool { return len(w.Logged("websms.audit")) == 5 })
		for _, line := range w.Logged("websms.audit") {
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
