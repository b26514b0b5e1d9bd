package pages

import (
	"errors"
	"html/template"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const prefix = "/.websms"

// noon is the time of the server's clock in the tests that need one.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newPages(t testing.TB) *Pages {
	t.Helper()
	p, err := New(prefix, "Harbour Bank")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// codeForm returns the code page just after the number was entered.
func codeForm() Verify {
	return Verify{
		Challenge: "c2FtcGxlIGNoYWxs", Masked: "+64•••567", ReturnTo: "/reports?year=2026&page=2", CodeLength: 6, AttemptsLeft: 5,
		Status: "accepted", Now: noon, ExpiresAt: noon.Add(5 * time.Minute), ResendAt: noon.Add(30 * time.Second),
	}
}

// everyView returns one view for each way that a page can look.
func everyView() map[string]View {
	code := func(change func(*Verify)) View {
		v := codeForm()
		change(&v)
		return v
	}
	limited := &Problem{
		Slug: "rate_limited", Title: "Please wait a little", Detail: "We have not sent a code.", RetryAfter: 5 * time.Minute,
	}
	return map[string]View{
		"login":              Login{ReturnTo: "/", Example: "021 234 567"},
		"login no example":   Login{},
		"login signed out":   Login{Example: "021 234 567", SignedOut: true},
		"login wrong number": Login{Example: "021 234 567", Problem: InvalidNumber("021 234 567")},
		"login country":      Login{Problem: CountryNotAllowed()},
		"login limited":      Login{Example: "021 234 567", Problem: limited},
		"login pending":      Login{ReturnTo: "/", Example: "021 234 567", Pending: true},
		"login cookies off":  Login{ReturnTo: "/", Example: "021 234 567", Phone: "021 234 567", Problem: CookiesOff()},
		"login second off":   Login{Masked: "+64•••567", Pending: true, Problem: CookiesOff()},
		"login second":       Login{Masked: "+64•••567"},
		"login second limit": Login{Masked: "+64•••567", Problem: limited},
		"code":               codeForm(),
		"code queued":        code(func(v *Verify) { v.Status = "queued" }),
		"code delivered":     code(func(v *Verify) { v.Status = "delivered"; v.Remember = 720 * time.Hour }),
		"code failed":        code(func(v *Verify) { v.Status = "failed"; v.ResendAt = noon }),
		"code sent":          code(func(v *Verify) { v.Sent = true }),
		"code second":        code(func(v *Verify) { v.SecondFactor = true }),
		"code wrong": code(func(v *Verify) {
			v.Problem, v.AttemptsLeft, v.Remember, v.Remembered = WrongCode(1), 1, 720*time.Hour, true
		}),
		"code limited":       code(func(v *Verify) { v.Problem = NotSent("rate_limited", 5*time.Minute) }),
		"code not sent":      code(func(v *Verify) { v.Problem = NotSent("unavailable", 30*time.Second) }),
		"code incomplete":    code(func(v *Verify) { v.Problem = IncompleteCode(6, false) }),
		"code any length":    code(func(v *Verify) { v.AnyLength, v.Problem = true, IncompleteCode(6, true) }),
		"code other":         code(func(v *Verify) { v.Problem = OtherChallenge("+64•••567") }),
		"code late":          code(func(v *Verify) { v.ResendAt = noon.Add(9 * time.Minute) }),
		"code last try":      code(func(v *Verify) { v.AttemptsLeft = 1 }),
		"code expired":       code(func(v *Verify) { v.ExpiresAt = noon }),
		"recovery":           Recover{ReturnTo: "/reports?year=2026&page=2"},
		"recovery wrong":     Recover{Problem: WrongRecovery("Acme")},
		"recovery limited":   Recover{Problem: TooManyTries(10 * time.Minute)},
		"expired":            Expired(),
		"too many attempts":  TooManyAttempts(),
		"no challenge":       NoChallenge(),
		"locked out":         LockedOut(15*time.Minute, "Acme"),
		"no number":          NoNumber("Acme"),
		"no user":            NoUser("Acme"),
		"rate limited":       RateLimited(10 * time.Minute),
		"unavailable":        Unavailable(30 * time.Second),
		"code unavailable":   CodeUnavailable(30 * time.Second),
		"cross origin":       CrossOrigin(),
		"too early":          TooEarly(),
		"not found":          NotFound(),
		"method not allowed": MethodNotAllowed(),
		"too large":          TooLarge(),
		"bad request":        BadRequest(),
		"form not sent":      FormNotSent(prefix + "/login?rd=%2Fforms%2F7"),
		"form of other site": FormOfAnotherSite("Acme", prefix+"/login?rd=%2F"),
		"frame":              SignInAbove(prefix + "/login?rd=%2Fdesk%3Ftab%3D2"),
		"no action":          Message{Heading: "Hello", Body: []string{"One", "Two"}},
	}
}

func write(t testing.TB, p *Pages, status int, v View) *httptest.ResponseRecorder {
	t.Helper()
	rec := httptest.NewRecorder()
	if err := p.Write(rec, status, v); err != nil {
		t.Fatal(err)
	}
	return rec
}

func TestNew(t *testing.T) {
	for _, bad := range []struct{ prefix, company, want string }{
		{"", "Bank", "prefix"},
		{"websms", "Bank", "prefix"},
		{"/websms/", "Bank", "prefix"},
		{"//evil.example", "Bank", "prefix"},
		{"/", "Bank", "prefix"},
		{prefix, "", "company"},
		{prefix, " ", "company"},
	} {
		_, err := New(bad.prefix, bad.company)
		if err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("New(%q, %q) = %v, want an error about the %s", bad.prefix, bad.company, err, bad.want)
		}
	}
}

func TestWriteHeaders(t *testing.T) {
	p := newPages(t)
	for name, v := range everyView() {
		t.Run(name, func(t *testing.T) {
			rec := httptest.NewRecorder()
			rec.Header().Set("Set-Cookie", "a=b")
			rec.Header().Set("Retry-After", "30")
			rec.Header().Set("X-Frame-Options", "SAMEORIGIN") // of another handler
			if err := p.Write(rec, http.StatusTeapot, v); err != nil {
				t.Fatal(err)
			}
			if rec.Code != http.StatusTeapot {
				t.Errorf("status %d", rec.Code)
			}
			ancestors, frames := "'none'", []string{"DENY"}
			if name == "frame" {
				ancestors, frames = "'self'", nil
			}
			csp := "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
				"connect-src 'self'; base-uri 'none'; frame-ancestors " + ancestors
			if v.view() != "verify" {
				csp += "; form-action 'self'"
			}
			for header, want := range map[string]string{
				"Content-Type":            "text/html; charset=utf-8",
				"Content-Security-Policy": csp,
				"Permissions-Policy":      "otp-credentials=(self)",
				"Referrer-Policy":         "no-referrer",
				"X-Content-Type-Options":  "nosniff",
				"Cache-Control":           "no-store",
				"Content-Length":          strconv.Itoa(rec.Body.Len()),
				"Set-Cookie":              "a=b",
				"Retry-After":             "30",
			} {
				if got := rec.Header().Values(header); len(got) != 1 || got[0] != want {
					t.Errorf("%s = %q, want %q", header, got, want)
				}
			}
			if got := rec.Header().Values("X-Frame-Options"); !slices.Equal(got, frames) {
				t.Errorf("X-Frame-Options = %q, want %q", got, frames)
			}
			// A popup of the application must stay able to report to its opener after the login.
			if got := rec.Header().Values("Cross-Origin-Opener-Policy"); len(got) > 0 {
				t.Errorf("Cross-Origin-Opener-Policy = %q", got)
			}
		})
	}
}

// gone is a client that has closed the connection.
type gone struct{ http.ResponseWriter }

func (gone) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestWriteReportsALostClient(t *testing.T) {
	if err := newPages(t).Write(gone{httptest.NewRecorder()}, 200, NotFound()); err == nil {
		t.Error("Write returned nil though nothing was written")
	}
}

// If a view cannot be rendered, the caller can still write an answer of its own.
func TestWriteRendersBeforeItAnswers(t *testing.T) {
	p := newPages(t)
	p.templates["message"] = template.Must(template.New("").Parse(`half a page {{.Nothing}}`))
	rec := httptest.NewRecorder()
	if err := p.Write(rec, 200, NotFound()); err == nil {
		t.Fatal("Write returned nil")
	}
	if rec.Body.Len() > 0 || len(rec.Header()) > 0 {
		t.Errorf("already written: %v %q", rec.Header(), rec.Body)
	}
	// The buffer of the failed page is not reused with its content.
	if body := write(t, p, 200, Login{}).Body.String(); strings.Contains(body, "half a page") {
		t.Error("the next page begins with the one that failed")
	}
}

func TestWriteConcurrently(t *testing.T) {
	p := newPages(t)
	views := everyView()
	want := make(map[string]string)
	for name, v := range views {
		want[name] = write(t, p, 200, v).Body.String()
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for name, v := range views {
				rec := httptest.NewRecorder()
				if err := p.Write(rec, 200, v); err != nil || rec.Body.String() != want[name] {
					t.Errorf("%s differs when written concurrently (%v)", name, err)
				}
			}
		})
	}
	wg.Wait()
}

// Every string of the caller is escaped.
func TestEverythingIsEscaped(t *testing.T) {
	for _, attack := range []string{
		`<script>alert(1)</script>`,
		`"><img src=x onerror=alert(1)>`,
		`' onfocus='alert(1)' autofocus='`,
		`</title><svg onload=alert(1)>`,
		`javascript:alert(1)`,
		`//evil.example/`,
		"\x00</p>\xff<iframe>",
	} {
		p, err := New(prefix, attack)
		if err != nil {
			t.Fatal(err)
		}
		problem := &Problem{Slug: "wrong_code", Title: attack, Detail: attack}
		other := &Problem{Slug: attack, Title: attack, Detail: attack, RetryAfter: time.Minute}
		code := codeForm()
		code.Masked, code.ReturnTo, code.Status, code.Problem = attack, attack, attack, problem
		limited := code
		limited.Problem = other
		for _, v := range []View{
			Login{ReturnTo: attack, Example: attack, Problem: &Problem{Slug: "invalid_number", Title: attack, Detail: attack}},
			Login{Example: attack, Problem: other},
			Login{ReturnTo: attack, Masked: attack},
			Recover{ReturnTo: attack, Problem: &Problem{Slug: "wrong_code", Title: attack, Detail: attack}},
			Recover{Problem: other},
			code, limited,
			Message{
				Heading: attack, Body: []string{attack}, Steps: []string{attack},
				Action: &Action{Label: attack, Href: attack}, NewTab: true,
			},
			Message{
				Heading: attack, Body: []string{attack}, Steps: []string{attack},
				Action: &Action{Label: attack, Href: attack}, Framed: true,
			},
		} {
			// The attack adds no element and no attribute.
			harmless := write(t, newPages(t), 200, withoutAttack(v)).Body.String()
			if got, want := skeleton(t, write(t, p, 200, v).Body.String()), skeleton(t, harmless); got != want {
				t.Errorf("%q changes the markup of %s:\n%s\nwant\n%s", attack, v.view(), got, want)
			}
			for n := range elements(parse(t, write(t, p, 200, v).Body.String())) {
				for _, a := range []string{"href", "src", "action"} {
					if u := attr(n, a); u != "" && !strings.HasPrefix(u, prefix+"/") {
						t.Errorf("%q leads %s %s to %q", attack, n.Data, a, u)
					}
				}
			}
		}
	}
}

// withoutAttack returns the view with harmless text in place of the attack.
func withoutAttack(v View) View {
	plain := func(p *Problem) *Problem {
		if p == nil {
			return nil
		}
		c := *p
		c.Title, c.Detail = "Title", "Detail"
		return &c
	}
	switch v := v.(type) {
	case Login:
		v.ReturnTo, v.Problem = "/", plain(v.Problem)
		if v.Example != "" {
			v.Example = "021"
		}
		if v.Masked != "" {
			v.Masked = "+64"
		}
		return v
	case Verify:
		v.Masked, v.ReturnTo, v.Status, v.Problem = "+64", "/", "queued", plain(v.Problem)
		return v
	case Recover:
		v.ReturnTo, v.Problem = "/", plain(v.Problem)
		return v
	case Message:
		return Message{
			Heading: "Heading", Body: []string{"Body"}, Steps: []string{"Step"},
			Action: &Action{"Label", "login"}, NewTab: v.NewTab, Framed: v.Framed,
		}
	}
	panic("unknown view")
}

// skeleton returns the markup of the page without its text and the values of its attributes.
func skeleton(t *testing.T, page string) string {
	var b strings.Builder
	for n := range elements(parse(t, page)) {
		b.WriteString(n.Data)
		for _, a := range n.Attr {
			b.WriteString(" " + a.Key)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func BenchmarkWrite(b *testing.B) {
	p := newPages(b)
	for _, v := range []View{Login{ReturnTo: "/", Example: "021 234 567"}, codeForm(), NotFound()} {
		b.Run(v.view(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Write(discard{http.Header{}}, 200, v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// discard is a ResponseWriter that keeps only its headers.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}
