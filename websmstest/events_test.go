package websmstest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/websmstest"
)

// event is one event of a stream.
type event struct{ id, name, data string }

// stream is an open event stream.
type stream struct {
	t      *testing.T
	lines  *bufio.Scanner
	leave  context.CancelFunc
	header http.Header
}

// listen opens the event stream after a given event.
func (a *account) listen(t *testing.T, query, lastEventID string) *stream {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.sim.InboxURL+"events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastEventID != "" {
		req.Header.Set("Last-Event-ID", lastEventID)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { leave(); resp.Body.Close() })
	return &stream{t, bufio.NewScanner(resp.Body), leave, resp.Header}
}

// next returns the next event, and passes over comments and retry lines. If ok is
// false, the stream has ended.
func (s *stream) next() (e event, ok bool) {
	s.t.Helper()
	for s.lines.Scan() {
		name, value, _ := strings.Cut(s.lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.data = value
		case "":
			if e != (event{}) {
				return e, true
			}
		}
	}
	return e, false
}

// until returns the next event of that name.
func (s *stream) until(name string) event {
	s.t.Helper()
	for {
		e, ok := s.next()
		if !ok {
			s.t.Fatalf("the stream ended before an event %q", name)
		}
		if e.name == name {
			return e
		}
	}
}

// end checks that the stream ends without an error and without another event.
func (s *stream) end() {
	s.t.Helper()
	if e, ok := s.next(); ok {
		s.t.Errorf("the stream goes on with %+v", e)
	} else if err := s.lines.Err(); err != nil {
		s.t.Errorf("the stream breaks off: %v", err)
	}
}

// message returns the next message event.
func (s *stream) message() (id, html, text string) {
	s.t.Helper()
	var m struct{ ID, HTML, Text string }
	if err := json.Unmarshal([]byte(s.until("message").data), &m); err != nil {
		s.t.Fatal(err)
	}
	return m.ID, m.HTML, m.Text
}

func TestEvents(t *testing.T) {
	h := newHook(t)
	a := open(t, websmstest.Options{})
	a.sim.SetDelivery(websmstest.Silent)
	shown := a.send()
	page := a.inbox("GET", "", nil)
	since := regexp.MustCompile(`data-since="([^"]+)"`).FindStringSubmatch(page.body)[1]
	a.sim.SetDelivery(websmstest.Silent)
	older := a.send() // before the page listens
	a.sim.SetDelivery(websmstest.Silent)
	missed := a.send("msgCompany", "A\u2028&B")

	s := a.listen(t, "?since="+since, "")
	if s.header.Get("Content-Type") != "text/event-stream" || s.header.Get("Cache-Control") != "no-store" {
		t.Errorf("header %v", s.header)
	}
	if id, _, _ := s.message(); id != older.ID {
		t.Errorf("the first event is of %s, want the oldest, %s", id, older.ID)
	}
	id, html, text := s.message()
	if id != missed.ID || !strings.Contains(html, `<code class="otp">`+missed.Code+`</code>`) || !strings.Contains(html, "A\u2028&amp;B") ||
		text != "New message to +6421234567: "+missed.Body {
		t.Errorf("event %s %s %s, want %s", id, html, text, missed.ID)
	}
	if e := s.until("delivery"); e.data != "now" {
		t.Errorf("the page is told that the next message is delivered %q", e.data)
	}

	// A message that the page already shows has changed.
	a.sim.SetWebhook(h.URL, "")
	if err := a.sim.Reply(t.Context(), shown.ID, "one\r\ntwo"); err != nil {
		t.Fatal(err)
	}
	if id, html, _ := s.message(); id != shown.ID || !strings.Contains(html, "<li>one\r\ntwo</li>") {
		t.Errorf("event %s %s, want the reply to %s", id, html, shown.ID)
	}
	a.sim.SetDelivery(websmstest.Rejected)
	if e := s.until("delivery"); e.data != "rejected" {
		t.Errorf("delivery %q", e.data)
	}
	last := s.until("").id
	s.leave()

	// After a break, the page gets the events that it has missed, and no others.
	sent := a.send()
	s = a.listen(t, "?since="+since, last)
	if id, _, _ := s.message(); id != sent.ID {
		t.Errorf("after a break: %s, want %s", id, sent.ID)
	}
}

// A page that was opened before a restart reloads itself.
func TestEventsOfAnotherSimulator(t *testing.T) {
	a := open(t, websmstest.Options{})
	a.send()
	for _, since := range []string{"", "?since=other-1", "?since=1"} {
		s := a.listen(t, since, "")
		if e, ok := s.next(); !ok || e.name != "reload" {
			t.Errorf("since %q: got %+v", since, e)
		}
	}
}

func TestCloseEndsEvents(t *testing.T) {
	a := open(t, websmstest.Options{})
	s := a.listen(t, "", "")
	s.until("reload")
	a.sim.Close()
	s.end()
}
