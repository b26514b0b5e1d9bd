package websms_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
)

// nextHandler is the handler behind a webhook with passthrough. The test sets its response.
type nextHandler struct {
	*httptest.Server
	do atomic.Pointer[http.HandlerFunc]

	mu  sync.Mutex
	got []harness.SeenRequest
}

func newNextHandler(t *testing.T) *nextHandler {
	n := new(nextHandler)
	n.answer(http.StatusOK, "")
	n.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("the next handler cannot read the body: %v", err)
		}
		n.mu.Lock()
		n.got = append(n.got, harness.SeenRequest{Method: r.Method, URI: r.RequestURI, Body: string(body), Header: r.Header.Clone()})
		n.mu.Unlock()
		(*n.do.Load())(w, r)
	}))
	t.Cleanup(n.Close)
	return n
}

func (n *nextHandler) then(do http.HandlerFunc) { n.do.Store(&do) }

func (n *nextHandler) answer(status int, body string) {
	n.then(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Next", "yes")
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
}

func (n *nextHandler) seen() []harness.SeenRequest {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.got)
}

// behind returns a world with the handler behind the webhook. The site's gate lets events through,
// because they carry the secret.
func (n *nextHandler) behind() harness.Setup {
	return harness.Setup{
		Webhook: "passthrough", Gate: "bypass {\n\t\t\tpath /webhook\n\t\t}",
		Hook: "reverse_proxy " + strings.TrimPrefix(n.URL, "http://"),
	}
}

func TestWebhookPassthrough(t *testing.T) {
	next := newNextHandler(t)
	w := harness.Start(t, next.behind())
	b := w.Browser()
	id := 0
	event := func() string {
		id++
		return fmt.Sprintf(`{"type":"mo", "messageId":"MO%d",  "body":"spaces  stay\u0021 ✓"}`+"\n", id)
	}

	t.Run("body intact and the next handler's answer", func(t *testing.T) {
		body := event()
		next.answer(http.StatusAccepted, "taken")
		a := harness.Deliver(b, body)
		if a.StatusCode != http.StatusAccepted || a.Text != "taken" || a.Header.Get("X-Next") != "yes" {
			t.Errorf("the answer is %s %q, not the next handler's", a.Status, a.Text)
		}
		seen := next.seen()
		last := seen[len(seen)-1]
		if last.Body != body || last.Method != "POST" || last.Header.Get("Content-Type") != "application/json" {
			t.Errorf("the next handler got %+v", last)
		}
		if length := last.Header.Get("Content-Length"); length != fmt.Sprint(len(body)) {
			t.Errorf("Content-Length is %q for %d bytes", length, len(body))
		}
	})

	t.Run("chunked body", func(t *testing.T) {
		body := event()
		header := http.Header{"Authorization": {"Bearer " + harness.WebhookSecret}}
		harness.PostHook(b, http.MethodPost, w.HookPath, io.MultiReader(strings.NewReader(body)), header)
		seen := next.seen()
		if last := seen[len(seen)-1]; last.Body != body {
			t.Errorf("the next handler got %q", last.Body)
		}
	})

	t.Run("taken once", func(t *testing.T) {
		body := event()
		harness.Deliver(b, body)
		before := len(next.seen())
		harness.WantAnswer(t, "a repetition", harness.Deliver(b, body), http.StatusOK, harness.Acknowledged)
		if n := len(next.seen()); n != before {
			t.Errorf("%d repetitions reached the next handler", n-before)
		}
	})

	t.Run("nothing to tell apart", func(t *testing.T) {
		before := len(next.seen())
		for _, body := range []string{`{"type":"voice"}`, `{"type":"voice"}`, `{"type":"mo"}`, `{"type":"mo"}`} {
			if a := harness.Deliver(b, body); a.StatusCode != http.StatusAccepted {
				t.Errorf("%s: %s", body, a.Status)
			}
		}
		if n := len(next.seen()) - before; n != 4 {
			t.Errorf("%d of 4 reached the next handler", n)
		}
	})

	t.Run("refused before", func(t *testing.T) {
		before := len(next.seen())
		harness.WantAnswer(t, "no JSON", harness.Deliver(b, "no"), http.StatusBadRequest, harness.InvalidPayload)
		a := harness.PostHook(b, http.MethodPost, w.HookPath, strings.NewReader(event()), nil)
		harness.WantAnswer(t, "no secret", a, http.StatusUnauthorized, `{"error":"unauthorized"}`)
		if n := len(next.seen()); n != before {
			t.Errorf("%d reached the next handler", n-before)
		}
	})

	// An event that the next handler refuses is not marked as seen. When WebSMS sends it again, it
	// is handled.
	for _, failing := range []struct {
		name   string
		do     http.HandlerFunc
		status int
	}{
		{"error", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, http.StatusInternalServerError},
		{"refusal", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, http.StatusForbidden},
		{"redirection", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusFound)
		}, http.StatusFound},
		{"no answer", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, http.StatusBadGateway},
	} {
		t.Run(failing.name, func(t *testing.T) {
			body, before, logged := event(), len(next.seen()), len(w.Logged("websms.mo"))
			next.then(failing.do)
			if a := harness.Deliver(b, body); a.StatusCode != failing.status {
				t.Errorf("the answer is %s", a.Status)
			}
			if a := harness.Deliver(b, body); a.StatusCode != failing.status {
				t.Errorf("the answer to the repetition is %s", a.Status)
			}
			next.answer(http.StatusOK, "at last")
			if a := harness.Deliver(b, body); a.Text != "at last" {
				t.Errorf("the answer to the next repetition is %s %q", a.Status, a.Text)
			}
			harness.WantAnswer(t, "a repetition of what was taken", harness.Deliver(b, body), http.StatusOK, harness.Acknowledged)
			if n := len(next.seen()) - before; n != 3 {
				t.Errorf("the next handler was asked %d times, want 3", n)
			}
			if n := len(w.Logged("websms.mo")) - logged; n != 3 {
				t.Errorf("%d lines, want 3", n)
			}
		})
	}

	// A proxy panics if its upstream disconnects in the middle of an answer.
	t.Run("half an answer", func(t *testing.T) {
		body := event()
		next.then(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "half")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		})
		req, err := http.NewRequest(http.MethodPost, w.URL+w.HookPath, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+harness.WebhookSecret)
		if res, err := b.Client.Do(req); err == nil {
			if text, err := io.ReadAll(res.Body); err == nil {
				t.Errorf("half an answer arrived as a whole: %s %q", res.Status, text)
			}
			res.Body.Close()
		}
		next.answer(http.StatusOK, "at last")
		if a := harness.Deliver(b, body); a.Text != "at last" {
			t.Errorf("the answer to the repetition is %s %q", a.Status, a.Text)
		}
	})
}

// An event for passthrough is accepted even without a next handler.
func TestWebhookPassthroughToNothing(t *testing.T) {
	w := harness.Start(t, harness.Setup{Webhook: "passthrough", Gate: "bypass {\n\t\t\tpath /webhook\n\t\t}"})
	b := w.Browser()
	for range 2 {
		if a := harness.Deliver(b, `{"type":"mo","messageId":"MO1"}`); a.StatusCode != http.StatusOK {
			t.Errorf("the answer is %s %s", a.Status, a.Text)
		}
	}
	if n := len(w.Logged("websms.mo")); n != 1 {
		t.Errorf("%d lines, want 1", n)
	}
}

// WebSMS waits 5 seconds (its developer guide, step 6). It gets an answer within that time, even if
// the sender or the next handler is slow.
func TestWebhookInTime(t *testing.T) {
	next := newNextHandler(t)
	release := make(chan struct{})
	next.then(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-release:
		}
	})
	t.Cleanup(func() { close(release) })
	s := next.behind()
	s.HTTPS = true
	w := harness.Start(t, s)
	b := w.Browser()
	const body = `{"type":"mo","messageId":"MO1"}`
	inTime := func(what string, do func()) {
		begun := time.Now()
		do()
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("%s: answered after %s", what, took)
		}
	}
	var all sync.WaitGroup
	all.Go(func() {
		inTime("slow next handler", func() {
			if a := harness.Deliver(b, body); a.StatusCode < 500 {
				t.Errorf("slow next handler: %s", a.Status)
			}
		})
	})
	for _, trickle := range []bool{false, true} {
		all.Go(func() {
			inTime(fmt.Sprintf("slow body over HTTP/1.1, trickling: %t", trickle), func() { trickleAnswers(w, trickle) })
		})
	}
	all.Go(func() {
		inTime("slow body over HTTP/2", func() {
			body, feed := io.Pipe()
			defer feed.Close()
			go io.WriteString(feed, `{"type":`)
			header := http.Header{"Authorization": {"Bearer " + harness.WebhookSecret}}
			a := harness.PostHook(w.Browser(), http.MethodPost, w.HookPath, body, header)
			harness.WantAnswer(t, "slow body over "+a.Proto, a, http.StatusRequestTimeout, `{"error":"the body did not arrive"}`)
			if a.ProtoMajor != 2 {
				t.Errorf("that was %s", a.Proto)
			}
		})
	})
	all.Wait()
	lines := refusals(w)
	for _, line := range lines {
		if line["reason"] != "not_arrived" {
			t.Errorf("a slow body is logged as %v", line)
		}
	}
	if len(lines) == 0 {
		t.Error("no slow body is logged")
	}
	// The event was not accepted, so its repetition is handled.
	next.answer(http.StatusOK, "at last")
	if a := harness.Deliver(b, body); a.Text != "at last" {
		t.Errorf("the answer to the repetition is %s %q", a.Status, a.Text)
	}
}

// trickleAnswers posts a body that never ends. It sends a byte at a time, or nothing.
func trickleAnswers(w *harness.World, bytes bool) {
	conn, err := tls.Dial("tcp", strings.TrimPrefix(w.URL, "https://"), &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"})
	if err != nil {
		w.T.Error(err)
		return
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Length: 1000\r\n\r\n{",
		w.HookPath, harness.WebhookSecret)
	if bytes {
		go func() {
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for range tick.C {
				if _, err := conn.Write([]byte(" ")); err != nil {
					return
				}
			}
		}()
	}
	a := readAnswer(w.T, bufio.NewReader(conn))
	harness.WantAnswer(w.T, "slow body", a, http.StatusRequestTimeout, `{"error":"the body did not arrive"}`)
}
