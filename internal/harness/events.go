package harness

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// EventStream is a status stream as a browser reads it.
type EventStream struct {
	t        *testing.T
	Response *http.Response
	cancel   context.CancelFunc
	events   chan string     // the data of each event
	end      chan error      // the reason why the stream has ended; nil if it ended well
	All      strings.Builder // every event that was read
}

// OpenEvents opens the status stream of a browser.
func OpenEvents(b *Browser, ctx context.Context) *EventStream {
	b.T.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.URL+"/.websms/status", nil)
	if err != nil {
		b.T.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	res, err := b.Client.Do(req)
	if err != nil {
		b.T.Fatal(err)
	}
	s := &EventStream{t: b.T, Response: res, cancel: cancel, events: make(chan string, 100), end: make(chan error, 1)}
	if res.StatusCode != http.StatusOK {
		return s
	}
	go func() {
		lines := bufio.NewReader(res.Body)
		for {
			line, err := lines.ReadString('\n')
			if data, ok := strings.CutPrefix(line, "data: "); ok && err == nil {
				s.events <- strings.TrimSuffix(data, "\n")
			}
			if err != nil {
				if err == io.EOF {
					err = nil
				}
				close(s.events)
				s.end <- err
				return
			}
		}
	}()
	return s
}

// Close closes the connection, as a browser does when it leaves the page.
func (s *EventStream) Close() {
	s.cancel()
	s.Response.Body.Close()
}

// Next returns the next event, or false if the stream ends.
func (s *EventStream) Next() (event map[string]any, ok bool) {
	s.t.Helper()
	select {
	case data, ok := <-s.events:
		if !ok {
			return nil, false
		}
		s.All.WriteString(data + "\n")
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			s.t.Fatalf("an event is %q: %v", data, err)
		}
		return event, true
	case <-time.After(10 * time.Second):
		s.t.Fatal("no event comes, and no end")
	}
	return nil, false
}

// Until reads events up to the first one with a status.
func (s *EventStream) Until(status string) map[string]any {
	s.t.Helper()
	for {
		event, ok := s.Next()
		if !ok {
			s.t.Fatalf("the stream ends before %s:\n%s", status, s.All.String())
		}
		if event["status"] == status {
			return event
		}
	}
}

// Ends reads the other events, and checks that the stream ends well. It returns the last
// event.
func (s *EventStream) Ends(why string) (last map[string]any) {
	s.t.Helper()
	for {
		event, ok := s.Next()
		if !ok {
			break
		}
		last = event
	}
	if err := <-s.end; err != nil {
		s.t.Errorf("%s: the stream ends with %v", why, err)
	}
	return last
}
