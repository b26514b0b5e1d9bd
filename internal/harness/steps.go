package harness

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-websms/websms/websmstest"
)

// Plenty has high limits, for tests of other things.
const Plenty = "limits {\n per_number 100000/1h\n budget 1000000/1h\n cooldown 0s\n}"

// TrustLocal makes the world's server believe X-Forwarded-For. All clients of a test are
// on this machine.
const TrustLocal = "servers {\n trusted_proxies static 127.0.0.1 ::1\n}"

var lastNumber atomic.Int32

// FreshNumber returns a New Zealand mobile number that no test has used.
func FreshNumber() string { return fmt.Sprintf("+6421%07d", 4000000+lastNumber.Add(1)) }

// Serve makes the world's site answer at other addresses of the same port,
// such as ":", for every host.
func (w *World) Serve(gateOptions string, hosts ...string) {
	w.T.Helper()
	scheme, port, _ := strings.Cut(w.URL, "://localhost:")
	var sites []string
	for _, host := range hosts {
		sites = append(sites, scheme+"://"+host+":"+port)
	}
	plain, addresses := w.Config, strings.Join(sites, ", ")
	w.Config = func(options string) string {
		return strings.Replace(plain(options), "\n"+w.URL+" {", "\n"+addresses+" {", 1)
	}
	w.Load(gateOptions)
	for _, host := range hosts {
		if w.HTTPS {
			w.awaitCertificate(host)
		}
	}
}

// Host makes a request go to another host of the site.
func Host(name string) http.Header { return http.Header{"Host": {name}} }

// With returns headers that are name, value, name, value.
func With(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i+1 < len(pairs); i += 2 {
		h[pairs[i]] = append(h[pairs[i]], pairs[i+1])
	}
	return h
}

// Send posts a body without a change.
func (b *Browser) Send(path, contentType, body string, headers ...http.Header) Answer {
	b.T.Helper()
	return b.Pour(path, contentType, strings.NewReader(body), headers...)
}

// Pour posts the content of a reader. The request has a Content-Length only if net/http
// knows the type of the reader.
func (b *Browser) Pour(path, contentType string, body io.Reader, headers ...http.Header) Answer {
	b.T.Helper()
	req, err := http.NewRequest(http.MethodPost, b.URL+path, body)
	if err != nil {
		b.T.Fatal(err)
	}
	if contentType != "" {
		headers = append(headers, With("Content-Type", contentType))
	}
	return b.fetch(req, headers...)
}

// Raw sends one HTTP/1.1 request byte for byte, and returns the answer. It adds only Host
// and `Connection: close`, after the request line.
func (w *World) Raw(method, target string, lines ...string) Answer {
	w.T.Helper()
	address := strings.TrimPrefix(w.URL, "http://")
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		w.T.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	head, body, _ := strings.Cut(strings.Join(lines, "\r\n"), "\r\n\r\n")
	if head != "" {
		head += "\r\n"
	}
	if !strings.Contains(strings.ToLower(head), "connection:") {
		head += "Connection: close\r\n"
	}
	if !strings.Contains(strings.ToLower(head), "host:") {
		head = "Host: " + address + "\r\n" + head
	}
	if _, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\n%s\r\n%s", method, target, head, body); err != nil {
		w.T.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		w.T.Fatalf("%s %s: %v", method, target, err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body) // an upgraded or cut connection has no clean end
	return Answer{res, string(text)}
}

// Cookies returns the Cookie field that the browser would send.
func (b *Browser) Cookies() string {
	req, err := http.NewRequest(http.MethodGet, b.URL, nil)
	if err != nil {
		b.T.Fatal(err)
	}
	for _, c := range b.Client.Jar.Cookies(req.URL) {
		req.AddCookie(c)
	}
	return req.Header.Get("Cookie")
}

// SetCookie returns the cookie of that name that an answer sets, or nil.
func (a Answer) SetCookie(name string) *http.Cookie {
	for _, c := range a.Cookies() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// WantProblem checks that a is a problem in JSON with this status and type.
func WantProblem(t *testing.T, what string, a Answer, status int, slug string) {
	t.Helper()
	if a.StatusCode != status || a.JSON("type") != slug {
		t.Errorf("%s: %s with %s; want %d %s", what, a.Status, Excerpt(a.Text), status, slug)
		return
	}
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("%s: its type is %q", what, got)
	}
	if a.JSON("status") != float64(status) || a.JSON("title") == nil {
		t.Errorf("%s: its body is %s", what, a.Text)
	}
	if got := a.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("%s: Cache-Control is %q", what, got)
	}
}

// WantStatus checks the status of a.
func WantStatus(t *testing.T, what string, a Answer, status int) {
	t.Helper()
	if a.StatusCode != status {
		t.Errorf("%s: %s to %q with %s; want %d", what, a.Status, a.Header.Get("Location"), Excerpt(a.Text), status)
	}
}

// MessagesTo returns the messages that a number got, newest first.
func (w *World) MessagesTo(number string) []websmstest.Message {
	var list []websmstest.Message
	for _, m := range w.Sim.Messages() {
		if "+"+m.To == number {
			list = append(list, m)
		}
	}
	return list
}

// CodeFor waits for the n-th message to a number and returns the latest code.
func (w *World) CodeFor(number string, n int) string {
	w.T.Helper()
	Eventually(w.T, "a message arrives", func() bool { return len(w.MessagesTo(number)) >= n })
	return w.MessagesTo(number)[0].Code
}

// Visit opens the login page, as a person does before posting its form. The page sets a
// cookie, without which the form is refused.
func (b *Browser) Visit() *Browser {
	b.T.Helper()
	b.Get("/.websms/login", Page)
	return b
}

// Request asks for a code, for programs.
func (b *Browser) Request(number string, headers ...http.Header) Answer {
	b.T.Helper()
	return b.Post("/.websms/send", []string{"phone", number}, append(headers, API)...)
}

// Resend asks for the same code again, for programs.
func (b *Browser) Resend() Answer {
	b.T.Helper()
	return b.Post("/.websms/resend", nil, API)
}

// AnswerWith answers the challenge, for programs.
func (b *Browser) AnswerWith(code string, headers ...http.Header) Answer {
	b.T.Helper()
	return b.Post("/.websms/verify", []string{"code", code}, append(headers, API)...)
}

// WantSends checks that do causes want messages. Then it sends two codes to the witness,
// a number that may get codes. A message too many would arrive before them.
func (w *World) WantSends(what string, want int, witness string, do func()) {
	w.T.Helper()
	before := w.Sim.Counts().OTPRequests
	do()
	for range 2 {
		got := len(w.MessagesTo(witness))
		if a := w.Browser().Request(witness); a.StatusCode != http.StatusAccepted {
			w.T.Fatalf("%s: the witness gets %s %s", what, a.Status, a.Text)
		}
		w.CodeFor(witness, got+1)
	}
	sent := func() int { return w.Sim.Counts().OTPRequests - before - 2 }
	Eventually(w.T, fmt.Sprintf("%s: %d messages are sent", what, want), func() bool { return sent() >= want })
	if got := sent(); got != want {
		w.T.Errorf("%s: %d messages were sent; want %d", what, got, want)
	}
}

// OtherCode returns a code that is not the right one.
func OtherCode(code string) string {
	wrong := []byte(code)
	wrong[0] = '0' + (wrong[0]-'0'+1)%10
	return string(wrong)
}

// words matches whole words. A code stands alone, but ids and fractions hold digits too.
var words = regexp.MustCompile(`[0-9A-Za-z.]+`)

// WantNoSecrets checks that Caddy's log holds no secret, no token, no whole number and no
// code that was sent.
func (w *World) WantNoSecrets(more ...string) {
	w.T.Helper()
	log := w.LogText()
	if log == "" {
		w.T.Error("nothing was logged")
	}
	secrets := append([]string{"csk_demo", "wst_", WebhookSecret}, more...)
	codes := make(map[string]bool)
	for _, m := range w.Sim.Messages() {
		if secrets = append(secrets, m.To[2:]); len(m.Code) >= 6 { // shorter ones are years and ports too
			codes[m.Code] = true
		}
	}
	for _, secret := range secrets {
		if at := strings.Index(log, secret); at >= 0 {
			w.T.Errorf("the log holds a secret: …%s…", log[max(0, at-200):min(len(log), at+40)])
		}
	}
	for _, at := range words.FindAllStringIndex(log, -1) {
		if codes[log[at[0]:at[1]]] {
			w.T.Errorf("the log holds a code: …%s…", log[max(0, at[0]-200):min(len(log), at[1]+40)])
		}
	}
}
