package attacks_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
)

// held has the cookies of one browser that has a session, a challenge and a device cookie.
type held struct {
	session, challenge, device string
	number, code               string // those of the pending challenge
}

// holdCookie makes a browser hold all cookies of a gate, at a host.
func holdCookie(w *harness.World, t *testing.T, prefix, cookie string, headers ...http.Header) held {
	t.Helper()
	b, h := w.Browser(), held{}
	b.Client.Jar = nil // the jar would refuse names that are no domains
	pass := func(a harness.Answer) {
		t.Helper()
		if a.StatusCode/100 != 2 {
			t.Fatalf("%s: %s %s", prefix, a.Status, a.Text)
		}
		for into, name := range map[*string]string{&h.session: cookie, &h.challenge: cookie + "_challenge", &h.device: cookie + "_device"} {
			if c := a.SetCookie(name); c != nil && c.MaxAge >= 0 {
				*into = c.Value
			}
		}
	}
	for i := range 2 {
		h.number = harness.FreshNumber()
		pass(b.Post(prefix+"/send", []string{"phone", h.number}, append(headers, harness.API)...))
		if h.code = w.CodeFor(h.number, 1); i == 0 {
			pass(b.Post(prefix+"/verify", []string{"code", h.code},
				append(headers, harness.API, harness.With("Cookie", cookie+"_challenge="+h.challenge))...))
		}
	}
	if h.session == "" || h.challenge == "" || h.device == "" {
		t.Fatalf("a browser holds only %+v", h)
	}
	return h
}

// opensWith reports whether a gate accepts a value as a session, as a challenge, as both or as
// neither.
func opensWith(b *harness.Browser, prefix, path, name, value string, headers ...http.Header) (session, challenge bool) {
	b.T.Helper()
	offered := func(cookie string) []http.Header {
		return append(headers, harness.API, harness.With("Cookie", cookie+"="+value))
	}
	a, c := b.Get(path, offered(name)...), b.Get(prefix+"/status", offered(name+"_challenge")...)
	if a.StatusCode >= 500 || c.StatusCode >= 500 {
		b.T.Errorf("%q: %s and %s", value, a.Status, c.Status)
	}
	return a.StatusCode == http.StatusOK, c.StatusCode == http.StatusOK
}

// A sealed value opens only unchanged: not with one bit flipped, not cut anywhere, not in another
// spelling of the same bytes, and not put together from two.
func TestCookieBits(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	const name, prefix = "websms_session", "/.websms"
	h, second := holdCookie(w, t, prefix, name), holdCookie(w, t, prefix, name)
	b := w.Browser()
	if s, _ := opensWith(b, prefix, "/", name, h.session); !s {
		t.Fatal("the session does not open")
	}
	if _, c := opensWith(b, prefix, "/", name, h.challenge); !c {
		t.Fatal("the challenge does not open")
	}
	wantNone := func(what, value string) {
		t.Helper()
		if s, c := opensWith(b, prefix, "/", name, value); s || c {
			t.Errorf("%s, it opens: as a session %t, as a challenge %t", what, s, c)
		}
	}
	for i, value := range []string{h.session, h.challenge} {
		raw, err := base64.RawURLEncoding.DecodeString(value)
		if err != nil {
			t.Fatal(err)
		}
		for bit := range 8 * len(raw) {
			raw[bit/8] ^= 1 << (bit % 8)
			wantNone(fmt.Sprintf("with bit %d changed", bit), base64.RawURLEncoding.EncodeToString(raw))
			raw[bit/8] ^= 1 << (bit % 8)
		}
		for at := range len(value) {
			wantNone(fmt.Sprintf("cut to %d", at), value[:at])
			wantNone(fmt.Sprintf("cut from %d", at+1), value[at+1:])
		}
		other := []string{second.session, second.challenge}[i]
		for at := 8; at < min(len(raw), len(other)); at += 3 { // behind the key id, which they share
			wantNone(fmt.Sprintf("spliced at %d", at), value[:at]+other[at:])
		}
		last := value[len(value)-1]
		for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") {
			if c != last { // only unused low bits differ, so the bytes are the same
				wantNone("with another last letter", value[:len(value)-1]+string(c))
			}
		}
		for what, spelled := range map[string]string{
			"padded": value + strings.Repeat("=", 4-len(value)%4), "padded too far": value + "====",
			"in standard base64": base64.RawStdEncoding.EncodeToString(raw) + "+/",
			"in hexadecimal":     fmt.Sprintf("%x", raw),
			"escaped":            strings.ReplaceAll(value, value[:1], fmt.Sprintf("%%%02X", value[0])), "twice": value + value,
			"with a comma": value + ",x", "in single quotes": "'" + value + "'", "quoted twice": `""` + value + `""`,
			"quoted in front": `"` + value, "quoted behind": value + `"`,
			"with a quoted pair": `"\` + value + `"`, "with a blank": value[:9] + " " + value[9:],
			"with NUL": value[:9] + "%00" + value[9:], "with an attribute": value + ",Path=/",
			"raw": string([]byte{'A', 0x80, 0xff}), "huge": strings.Repeat("A", 60000),
			"huge behind": value + strings.Repeat("A", 60000), "of zeros": strings.Repeat("A", len(value)),
		} {
			wantNone(what, spelled)
		}
		quoted, c := opensWith(b, prefix, "/", name, `"`+value+`"`) // RFC 6265, 4.1.1 allows quotes
		if quoted != (i == 0) || c != (i == 1) {
			t.Errorf("quoted, it opens as a session %t, as a challenge %t", quoted, c)
		}
	}
}

// A neighbour on the parent domain can plant cookies of the same name. The gate finds its own among
// a few of them, at any position. It tries only the first few, so that no request costs more than
// that.
func TestCookieDuplicates(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	h := holdCookie(w, t, "/.websms", "websms_session")
	ended := holdCookie(w, t, "/.websms", "websms_session")
	b := w.Browser()
	harness.WantStatus(t, "logout", b.Post("/.websms/logout", nil, harness.API, harness.With("Cookie", "websms_session="+ended.session)),
		http.StatusNoContent)
	status := func(path string, cookies ...string) int {
		return b.Get(path, harness.API, http.Header{"Cookie": cookies}).StatusCode
	}
	for _, c := range []struct {
		path, name, value string
		refused           int
	}{{"/", "websms_session", h.session, 401}, {"/.websms/status", "websms_session_challenge", h.challenge, 409}} {
		ours := c.name + "=" + c.value
		for _, junk := range []string{"", "x", `""`, h.device, strings.Repeat("A", 400), ended.session, c.value + "x", c.value[:40]} {
			planted := c.name + "=" + junk
			for n := range 8 {
				want := http.StatusOK
				if n >= 16 {
					want = c.refused
				}
				one := strings.Repeat(planted+"; ", n) + ours
				several := append(strings.Split(strings.TrimSuffix(strings.Repeat(planted+"\n", n), "\n"), "\n"), ours)
				for what, cookies := range map[string][]string{
					"in one field": {one}, "with others around": {"a=1; " + one + "; z=26"}, "in a field each": several,
					"and more behind": {one + strings.Repeat("; "+planted, 10)},
				} {
					if got := status(c.path, cookies...); got != want {
						t.Errorf("%s behind %d of %.20q, %s: %d; want %d", c.name, n, junk, what, got, want)
					}
				}
			}
		}
		for _, alike := range []string{"x" + c.name, c.name + "x", " " + strings.ToUpper(c.name), c.name + " ",
			c.name + "[0]", "$" + c.name, "__Secure-" + c.name, "__Host-" + c.name, "__host-" + c.name} {
			if got := status(c.path, alike+"="+c.value); got != c.refused {
				t.Errorf("by the name %q it opens: %d", alike, got)
			}
			if got := status(c.path, strings.Repeat(alike+"=x; ", 20)+ours); got != http.StatusOK {
				t.Errorf("behind many of the name %q: %d", alike, got)
			}
		}
		for _, odd := range []string{"a;" + ours, "; ;;" + ours, "=; " + ours, `q="a;` + ours, "a=\"b; " + ours + "\"; c",
			"\t" + ours, ours + ";", "a,b=c; " + ours} {
			want := http.StatusOK
			if strings.HasSuffix(odd, `"; c`) { // the quote at the end belongs to it; no browser writes that
				want = c.refused
			}
			if got := status(c.path, odd); got != want {
				t.Errorf("in %.30q: %d; want %d", odd, got, want)
			}
		}
	}
	if got := status("/", "websms_session="+ended.session); got != http.StatusUnauthorized {
		t.Errorf("a session that has ended: %d", got)
	}
}

// A value that is sealed for one purpose, host, realm, gate or scheme is invalid for every other.
func TestCookieSwaps(t *testing.T) {
	w := harness.Start(t, harness.Setup{
		Front: `websms_otp /hr/* {
			company Acme
			prefix /hr-login
			realm hr
			` + harness.Plenty + `
		}
		websms_otp /pay/* {
			company Acme
			prefix /pay-login
			realm hr2
			session {
				cookie pay
			}
			` + harness.Plenty + `
		}`,
		Matcher: "/app/*", Gate: harness.Plenty,
	})
	w.Serve(harness.Plenty, "")
	places := []struct {
		name, prefix, path, cookie string
		host                       http.Header
	}{
		{"a host", "/.websms", "/app/x", "websms_session", harness.Host("a.example.test")},
		{"another host", "/.websms", "/app/x", "websms_session", harness.Host("b.example.test")},
		{"the parent host", "/.websms", "/app/x", "websms_session", harness.Host("example.test")},
		{"a host that looks like a realm", "/.websms", "/app/x", "websms_session", harness.Host("hr")},
		{"no host to speak of", "/.websms", "/app/x", "websms_session", harness.Host(":80")},
		{"a realm", "/hr-login", "/hr/x", "websms_session", harness.Host("hr2")},
		{"another realm", "/pay-login", "/pay/x", "pay", harness.Host("hr2")},
	}
	realm := []string{"a.example.test", "b.example.test", "example.test", "hr, the host", "", "hr", "hr2"}
	b := w.Browser()
	for i, from := range places {
		h := holdCookie(w, t, from.prefix, from.cookie, from.host)
		for j, to := range places {
			what := fmt.Sprintf("of %s, offered to %s: ", from.name, to.name)
			for purpose, value := range map[string]string{"session": h.session, "challenge": h.challenge, "device": h.device} {
				s, c := opensWith(b, to.prefix, to.path, to.cookie, value, to.host)
				wantS, wantC := realm[i] == realm[j] && purpose == "session", realm[i] == realm[j] && purpose == "challenge"
				if s != wantS || c != wantC {
					t.Errorf("%sa %s cookie opens as a session %t, as a challenge %t; want %t, %t", what, purpose, s, c, wantS, wantC)
				}
			}
		}
	}
	harness.WantStatus(t, "nobody's cookie",
		b.Get("/app/x", harness.API, harness.With("Cookie", "pay=x; pay_challenge=y"), harness.Host("a.example.test")), http.StatusUnauthorized)
}

// A browser is known for a number only by its device cookie of this realm. No other cookie shows it
// a delivery.
func TestDeviceCookieSwaps(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.ListGate + harness.Plenty})
	w.Serve(harness.ListGate+harness.Plenty, "")
	b := w.Browser()
	b.Client.Jar = nil
	signIn := func(at string) held {
		t.Helper()
		before := len(w.MessagesTo(harness.Listed))
		challenge := b.Request(harness.Listed, harness.Host(at)).SetCookie("websms_session_challenge")
		a := b.AnswerWith(w.CodeFor(harness.Listed, before+1), harness.Host(at), harness.With("Cookie", challenge.Name+"="+challenge.Value))
		harness.WantStatus(t, "verify", a, http.StatusOK)
		return held{session: a.SetCookie("websms_session").Value, device: a.SetCookie("websms_session_device").Value}
	}
	here, elsewhere := signIn("a.example.test"), signIn("b.example.test")
	before := len(w.MessagesTo(harness.Listed))
	challenge := b.Request(harness.Listed, harness.Host("a.example.test")).SetCookie("websms_session_challenge").Value
	w.CodeFor(harness.Listed, before+1)
	harness.Eventually(t, "it is reported on", func() bool { return len(w.Logged("websms.dlr")) >= 2*(before+1) })
	harness.Eventually(t, "it is accepted, for all to see", func() bool {
		a := b.Get("/.websms/status", harness.API, harness.Host("a.example.test"),
			harness.With("Cookie", "websms_session_challenge="+challenge+"; websms_session_device="+here.device))
		return a.JSON("status") == "delivered"
	})
	for what, c := range map[string]struct{ device, want string }{
		"its own":            {here.device, "delivered"},
		"none":               {"", "accepted"},
		"another host's":     {elsewhere.device, "accepted"},
		"its session":        {here.session, "accepted"},
		"its challenge":      {challenge, "accepted"},
		"its own, cut":       {here.device[:len(here.device)-1], "accepted"},
		"its own, prolonged": {here.device + "A", "accepted"},
	} {
		a := b.Get("/.websms/status", harness.API, harness.Host("a.example.test"),
			harness.With("Cookie", "websms_session_challenge="+challenge+"; websms_session_device="+c.device))
		if a.JSON("status") != c.want {
			t.Errorf("with %s for its device cookie it is told %s; want %s", what, a.Text, c.want)
		}
	}
}

// Over HTTPS the gate reads only the cookie name that browsers protect. Plain HTTP or a neighbour
// may have set the other one.
func TestCookieSchemes(t *testing.T) {
	for _, c := range []struct {
		name    string
		setup   harness.Setup
		header  http.Header
		counted string
		ignored string
	}{
		{"https", harness.Setup{HTTPS: true, Gate: harness.Plenty}, nil, "__Host-websms_session", "websms_session"},
		{"http", harness.Setup{Gate: harness.Plenty}, nil, "websms_session", "__Host-websms_session"},
		{"https to a trusted proxy", harness.Setup{Gate: harness.Plenty, Global: "servers {\n trusted_proxies static private_ranges\n}"},
			harness.With("X-Forwarded-Proto", "https"), "__Host-websms_session", "websms_session"},
		{"https, says a stranger", harness.Setup{Gate: harness.Plenty}, harness.With("X-Forwarded-Proto", "https"),
			"websms_session", "__Host-websms_session"},
	} {
		w := harness.Start(t, c.setup)
		h := holdCookie(w, t, "/.websms", c.counted, c.header)
		b := w.Browser()
		for _, value := range []string{h.session, h.challenge, h.device} {
			s, ch := opensWith(b, "/.websms", "/", c.counted, value, c.header)
			if s != (value == h.session) || ch != (value == h.challenge) {
				t.Errorf("%s: under its name it opens as a session %t, as a challenge %t", c.name, s, ch)
			}
			for _, name := range []string{c.ignored, "__Secure-websms_session", "__HOST-websms_session", "__Host-__Host-websms_session"} {
				if s, ch := opensWith(b, "/.websms", "/", name, value, c.header); s || ch {
					t.Errorf("%s: under the name %s it opens as a session %t, as a challenge %t", c.name, name, s, ch)
				}
			}
		}
	}
}
