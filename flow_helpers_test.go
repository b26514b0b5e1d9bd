package websms

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

// plenty is the limits of a gate whose limits are not what a test is about.
const plenty = "limits {\n per_number 100000/1h\n budget 1000000/1h\n cooldown 0s\n}"

// trustLocal makes the world's server believe X-Forwarded-For: whoever asks in
// a test does so from this machine.
const trustLocal = "servers {\n trusted_proxies static 127.0.0.1 ::1\n}"

var lastNumber atomic.Int32

// freshNumber returns a New Zealand mobile number that no test has used.
func freshNumber() string { return fmt.Sprintf("+6421%07d", 4000000+lastNumber.Add(1)) }

// serve makes the world's site answer at other addresses of the same port,
// such as ":", for every host.
func (w *world) serve(gateOptions string, hosts ...string) {
	w.t.Helper()
	scheme, port, _ := strings.Cut(w.url, "://localhost:")
	var sites []string
	for _, host := range hosts {
		sites = append(sites, scheme+"://"+host+":"+port)
	}
	plain, addresses := w.config, strings.Join(sites, ", ")
	w.config = func(options string) string {
		return strings.Replace(plain(options), "\n"+w.url+" {", "\n"+addresses+" {", 1)
	}
	w.load(gateOptions)
	for _, host := range hosts {
		if w.https {
			w.awaitCertificate(host)
		}
	}
}

// host makes a request go to another host of the site.
func host(name string) http.Header { return http.Header{"Host": {name}} }

// with returns headers that are name, value, name, value.
func with(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i+1 < len(pairs); i += 2 {
		h[pairs[i]] = append(h[pairs[i]], pairs[i+1])
	}
	return h
}

// send posts a body as it is.
func (b *browser) send(path, contentType, body string, headers ...http.Header) answer {
	b.t.Helper()
	return b.pour(path, contentType, strings.NewReader(body), headers...)
}

// pour posts what a reader holds; its length is told only if the client knows
// that kind of reader.
func (b *browser) pour(path, contentType string, body io.Reader, headers ...http.Header) answer {
	b.t.Helper()
	req, err := http.NewRequest(http.MethodPost, b.url+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	if contentType != "" {
		headers = append(headers, with("Content-Type", contentType))
	}
	return b.fetch(req, headers...)
}

// raw sends the bytes of one HTTP/1.1 request and returns the answer to it. No
// client tidies them. Host and Connection: close are added behind the request line.
func (w *world) raw(method, target string, lines ...string) answer {
	w.t.Helper()
	address := strings.TrimPrefix(w.url, "http://")
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		w.t.Fatal(err)
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
		w.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, target, err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body) // an upgraded or cut connection has no clean end
	return answer{res, string(text)}
}

// cookies returns what the browser would send as its Cookie field.
func (b *browser) cookies() string {
	req, err := http.NewRequest(http.MethodGet, b.url, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.client.Jar.Cookies(req.URL) {
		req.AddCookie(c)
	}
	return req.Header.Get("Cookie")
}

// setCookie returns the cookie of that name that an answer sets, or nil.
func (a answer) setCookie(name string) *http.Cookie {
	for _, c := range a.Cookies() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// wantProblem checks that a is that refusal, for programs.
func wantProblem(t *testing.T, what string, a answer, status int, slug string) {
	t.Helper()
	if a.StatusCode != status || a.json("type") != slug {
		t.Errorf("%s: %s with %s; want %d %s", what, a.Status, redact(a.body), status, slug)
		return
	}
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("%s: its type is %q", what, got)
	}
	if a.json("status") != float64(status) || a.json("title") == nil {
		t.Errorf("%s: its body is %s", what, a.body)
	}
	if got := a.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("%s: Cache-Control is %q", what, got)
	}
}

// wantStatus checks the status of a.
func wantStatus(t *testing.T, what string, a answer, status int) {
	t.Helper()
	if a.StatusCode != status {
		t.Errorf("%s: %s to %q with %s; want %d", what, a.Status, a.Header.Get("Location"), redact(a.body), status)
	}
}

// messagesTo returns the messages that a number got, newest first.
func (w *world) messagesTo(number string) []websmstest.Message {
	var list []websmstest.Message
	for _, m := range w.sim.Messages() {
		if "+"+m.To == number {
			list = append(list, m)
		}
	}
	return list
}

// codeFor waits for the n-th message to a number and returns the latest code.
func (w *world) codeFor(number string, n int) string {
	w.t.Helper()
	eventually(w.t, "a message arrives", func() bool { return len(w.messagesTo(number)) >= n })
	return w.messagesTo(number)[0].Code
}

// request asks for a code, for programs.
func (b *browser) request(number string, headers ...http.Header) answer {
	b.t.Helper()
	return b.post("/.websms/send", []string{"phone", number}, append(headers, api)...)
}

// answerWith answers the challenge, for programs.
func (b *browser) answerWith(code string, headers ...http.Header) answer {
	b.t.Helper()
	return b.post("/.websms/verify", []string{"code", code}, append(headers, api)...)
}

// wantSends checks that what do does has WebSMS asked for so many messages.
// More of them would show before two codes have come to the witness, whom the
// gate must be willing to send them.
func (w *world) wantSends(what string, want int, witness string, do func()) {
	w.t.Helper()
	before := w.sim.Counts().OTPRequests
	do()
	for range 2 {
		got := len(w.messagesTo(witness))
		if a := w.browser().request(witness); a.StatusCode != http.StatusAccepted {
			w.t.Fatalf("%s: the witness gets %s %s", what, a.Status, a.body)
		}
		w.codeFor(witness, got+1)
	}
	sent := func() int { return w.sim.Counts().OTPRequests - before - 2 }
	eventually(w.t, fmt.Sprintf("%s: %d messages are sent", what, want), func() bool { return sent() >= want })
	if got := sent(); got != want {
		w.t.Errorf("%s: %d messages were sent; want %d", what, got, want)
	}
}

// other returns a code that is not the right one.
func other(code string) string {
	wrong := []byte(code)
	wrong[0] = '0' + (wrong[0]-'0'+1)%10
	return string(wrong)
}

// words are what a code could stand as: ids and fractions hold digits too.
var words = regexp.MustCompile(`[0-9A-Za-z.]+`)

// wantNoSecrets checks that what Caddy has logged tells nothing it must not:
// no secret, no token, no whole number, and no code that was sent.
func (w *world) wantNoSecrets(more ...string) {
	w.t.Helper()
	log := w.logText()
	if log == "" {
		w.t.Error("nothing was logged")
	}
	secrets := append([]string{"csk_demo", "wst_", webhookSecret}, more...)
	codes := make(map[string]bool)
	for _, m := range w.sim.Messages() {
		if secrets = append(secrets, m.To[2:]); len(m.Code) >= 6 { // shorter ones are years and ports too
			codes[m.Code] = true
		}
	}
	for _, secret := range secrets {
		if at := strings.Index(log, secret); at >= 0 {
			w.t.Errorf("the log holds a secret: …%s…", log[max(0, at-200):min(len(log), at+40)])
		}
	}
	for _, at := range words.FindAllStringIndex(log, -1) {
		if codes[log[at[0]:at[1]]] {
			w.t.Errorf("the log holds a code: …%s…", log[max(0, at[0]-200):min(len(log), at[1]+40)])
		}
	}
}
