package websms_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/request"
)

// For any requested target, the final redirect is safe. It is the same for a query, a form and
// JSON.
func TestReturnThroughFlow(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	stranger, b := w.Browser(), w.Browser().Visit()
	targets := append(append(append([]string{strings.Repeat("/x", 999)}, harness.HostileTargets...), harness.HarmlessTargets...),
		harness.OwnTargets...)
	for rd := range harness.MendedTargets {
		targets = append(targets, rd)
	}
	for _, rd := range targets {
		want := request.ReturnTarget(rd, "/.websms")
		what := harness.Excerpt(rd)

		// The login page puts the target of its query into the form.
		if a := stranger.Get("/.websms/login?rd="+url.QueryEscape(rd),
			harness.Page); !strings.Contains(harness.UnescapeHTML(a.Text), `name="rd" value="`+want+`"`) {
			t.Errorf("%q: the form posts back something else than %q", what, want)
		}

		// A person sends the target in a form.
		number := harness.FreshNumber()
		if a := b.Post("/.websms/send", []string{"phone", number, "rd", rd}, harness.Page); a.StatusCode != http.StatusSeeOther ||
			a.Header.Get("Location") != "/.websms/verify" {
			t.Fatalf("%q: %s", what, a.Status)
		}
		a := b.Post("/.websms/verify", []string{"code", w.CodeFor(number, 1)}, harness.Page)
		if location := a.Header.Get("Location"); a.StatusCode != http.StatusSeeOther ||
			location != request.EscapeNonASCII(want) || !harness.StaysHere(location) {
			t.Errorf("%q: %s to %q; want %q", what, a.Status, location, want)
		}
		if len(a.Header["Location"]) != 1 || a.Header.Get("Set-Cookie") == "" || a.SetCookie("a") != nil {
			t.Errorf("%q: the header became %v", what, a.Header)
		}

		// With a session, the login page redirects at once.
		a = b.Get("/.websms/login?rd="+url.QueryEscape(rd), harness.Page)
		if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != request.EscapeNonASCII(want) {
			t.Errorf("%q: with a session %s to %q", what, a.Status, a.Header.Get("Location"))
		}
	}
	for _, rd := range append(append([]string{}, harness.HostileTargets[:30]...), harness.HarmlessTargets...) {
		// A program sends the target as JSON. JSON cannot hold invalid UTF-8.
		number := harness.FreshNumber()
		body, err := json.Marshal(map[string]string{"phone": number, "rd": rd})
		if err != nil {
			t.Fatal(err)
		}
		if a := b.Send("/.websms/send", "application/json", string(body)); a.StatusCode != http.StatusAccepted {
			t.Fatalf("%q: %s %s", rd, a.Status, a.Text)
		}
		a := b.Send("/.websms/verify", "application/json", `{"code":"`+w.CodeFor(number, 1)+`"}`)
		if want := request.ReturnTarget(rd, "/.websms"); a.JSON("rd") != want {
			t.Errorf("%q: JSON says %v; want %q", rd, a.JSON("rd"), want)
		}
	}
}

// The login returns a stranger to the page that they requested.
func TestChallengeRemembersTarget(t *testing.T) {
	w := harness.Start(t, harness.Setup{})
	long := "/search?q=" + strings.Repeat("x", 1900)
	for target, rd := range map[string]string{
		"/":                                    "/",
		"/a/b?c=d&e=%26":                       "/a/b?c=d&e=%26",
		"/m%C4%81ori":                          "/m%C4%81ori",
		"//evil.example/":                      "/",
		`/\evil.example`:                       "/",
		"/%5cevil.example":                     "/",
		"/x%0d%0aSet-Cookie:a=b":               "/",
		"http://evil.example/a":                "/a", // the absolute form, as for a proxy: only the path counts
		long:                                   long,
		long + strings.Repeat("x", 1000):       "/search",
		"/" + long + strings.Repeat("x", 1000): "/",
		"/authorize?redirect_uri=https%3A%2F%2Fapp.example%2Fcb&scope=a+b": "/authorize?redirect_uri=https%3A%2F%2Fapp.example%2Fcb&scope=a+b",
		"/doc?id=%2f%2fserver%2fshare&&x;y":                                "/doc?id=%2f%2fserver%2fshare&&x;y",
		"/Caf%E9?q=Caf%E9&p=C%3A%5C":                                       "/Caf%E9?q=Caf%E9&p=C%3A%5C",
		"/x?":                                                              "/x?",
	} {
		lines := []string{"Accept: text/html"}
		if strings.HasPrefix(target, "http") {
			target = strings.Replace(target, "evil.example", strings.TrimPrefix(w.URL, "http://"), 1)
		}
		a := w.Raw("GET", target, lines...)
		if got, want := a.Header.Get("Location"), "/.websms/login?rd="+url.QueryEscape(rd); a.StatusCode != http.StatusFound || got != want {
			t.Errorf("%s: %s to %q; want %q", harness.Excerpt(target), a.Status, harness.Excerpt(got), harness.Excerpt(want))
		}
	}
}

// Every page that refuses keeps the return target: its form posts it again, or its link leads to a
// number form that has it.
func TestRefusalsKeepTarget(t *testing.T) {
	const target = "/orders/7?next=https%3A%2F%2Fapp.example%2F%2e%2e&q=Caf%E9#row 3"
	now := harness.UseClock(t)
	const gate = "code {\n attempts 2\n ttl 1m\n}\nlimits {\n per_number 4/10m\n cooldown 30s\n lockout 3 15m\n}"
	w := harness.Start(t, harness.Setup{Gate: gate})
	from := func(page string) http.Header { return harness.With("Referer", w.URL+page) }
	fromLogin := from("/.websms/login?rd=" + url.QueryEscape(target))
	send := func(b *harness.Browser, number string) harness.Answer {
		return b.Post("/.websms/send", []string{"phone", number, "rd", target}, harness.Page)
	}
	enter := func(b *harness.Browser, code string) harness.Answer {
		return b.Post("/.websms/verify", []string{"code", code, "rd", target}, harness.Page)
	}
	want := strings.ReplaceAll(target, "#row 3", "") // a fragment never holds a raw space
	check := func(what string, a harness.Answer, status int) {
		t.Helper()
		text := harness.UnescapeHTML(a.Text)
		if a.StatusCode != status || !strings.Contains(text, `name="rd" value="`+want+`"`) &&
			!strings.Contains(text, `href="/.websms/login?rd=`+url.QueryEscape(want)+`"`) {
			t.Errorf("%s: %s without the target: %s", what, a.Status, harness.Excerpt(a.Text))
		}
	}

	b, number := w.Browser().Visit(), harness.FreshNumber()
	check("no number", send(b, "12"), http.StatusUnprocessableEntity)
	check("a foreign number", send(b, "+14155550123"), http.StatusUnprocessableEntity)
	check("no challenge", enter(b, "123456"), http.StatusConflict)
	check("no challenge to send again", b.Post("/.websms/resend", []string{"rd", target}, harness.Page), http.StatusConflict)
	harness.WantStatus(t, "send", send(b, number), http.StatusSeeOther)
	wrong := harness.OtherCode(w.CodeFor(number, 1))
	check("a wrong code", b.Post("/.websms/verify", []string{"code", wrong}, harness.Page), http.StatusUnprocessableEntity)
	check("the last wrong code", b.Post("/.websms/verify", []string{"code", wrong}, harness.Page), http.StatusUnprocessableEntity)
	check("no attempts left", b.Post("/.websms/verify", []string{"code", wrong}, harness.Page), http.StatusTooManyRequests)
	check("its page", b.Get("/.websms/verify", harness.Page), http.StatusTooManyRequests)
	now.Advance(31 * time.Second)
	harness.WantStatus(t, "send", send(b, number), http.StatusSeeOther)
	check("the code that locks", b.Post("/.websms/verify", []string{"code", harness.OtherCode(w.CodeFor(number, 2))}, harness.Page),
		http.StatusUnprocessableEntity)
	check("a locked number", send(w.Browser().Visit(), number), http.StatusTooManyRequests)

	b = w.Browser().Visit()
	number = harness.FreshNumber()
	harness.WantStatus(t, "send", send(b, number), http.StatusSeeOther)
	now.Advance(61 * time.Second)
	check("an expired code", b.Post("/.websms/verify", []string{"code", wrong}, harness.Page), http.StatusGone)

	for what, c := range map[string]struct {
		method, path, contentType, body string
		status                          int
	}{
		"a wrong method":     {"GET", "send", "", "", http.StatusMethodNotAllowed},
		"a wrong path":       {"GET", "nothing", "", "", http.StatusNotFound},
		"another media type": {"POST", "send", "text/plain", "phone=1", http.StatusUnsupportedMediaType},
		"a broken form":      {"POST", "send", "application/x-www-form-urlencoded", "phone=%zz", http.StatusBadRequest},
		"a long form": {"POST", "send", "application/x-www-form-urlencoded", strings.Repeat("x", 9000),
			http.StatusRequestEntityTooLarge},
	} {
		headers := []http.Header{harness.Page, fromLogin}
		if c.method == "GET" {
			check(what, w.Browser().Get("/.websms/"+c.path, headers...), c.status)
			check(what+" with rd", w.Browser().Get("/.websms/"+c.path+"?rd="+url.QueryEscape(target), harness.Page), c.status)
			continue
		}
		check(what, w.Browser().Send("/.websms/"+c.path, c.contentType, c.body, headers...), c.status)
	}
	check("a wrong recovery code", w.Browser().Post("/.websms/recover", []string{"code", "x", "rd", target}, harness.Page),
		http.StatusUnprocessableEntity)

	// The page of an application tells where its form came from. The page of another site does not.
	post := func(referer string) harness.Answer {
		return w.Browser().Post("/orders/7", nil, harness.Page, harness.With("Referer", referer))
	}
	want = "/orders/7?q=Caf%E9"
	check("a form of the app", post(w.URL+want), http.StatusUnauthorized)
	want = "/"
	check("a form of another site", post("https://evil.example/orders/7"), http.StatusUnauthorized)
}
