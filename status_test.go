package websms

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/websmstest"
)

// eventStream is a status stream as a browser reads it.
type eventStream struct {
	t      *testing.T
	res    *http.Response
	cancel context.CancelFunc
	events chan string // the data of each event
	end    chan error  // why there are no more; nil: it ended well
	all    strings.Builder
}

// openEvents opens the status stream of a browser.
func openEvents(b *harness.Browser, ctx context.Context) *eventStream {
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
	s := &eventStream{t: b.T, res: res, cancel: cancel, events: make(chan string, 100), end: make(chan error, 1)}
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

func (s *eventStream) close() {
	s.cancel()
	s.res.Body.Close()
}

// next returns the next event, or false if the stream ends.
func (s *eventStream) next() (event map[string]any, ok bool) {
	s.t.Helper()
	select {
	case data, ok := <-s.events:
		if !ok {
			return nil, false
		}
		s.all.WriteString(data + "\n")
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			s.t.Fatalf("an event is %q: %v", data, err)
		}
		return event, true
	case <-time.After(10 * time.Second):
		s.t.Fatal("no event comes, and no end")
	}
	return nil, false
}

// until reads events to the first of a status.
func (s *eventStream) until(status string) map[string]any {
	s.t.Helper()
	for {
		event, ok := s.next()
		if !ok {
			s.t.Fatalf("the stream ends before %s:\n%s", status, s.all.String())
		}
		if event["status"] == status {
			return event
		}
	}
}

// ends reads what is left, and checks that the stream ends well. It returns
// the last event.
func (s *eventStream) ends(why string) (last map[string]any) {
	s.t.Helper()
	for {
		event, ok := s.next()
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

// What becomes of a message shows within a second of its report.
func TestStatusFollowsReports(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	for _, c := range []struct {
		name   string
		states map[int]string // after a report of that code
		order  []int
	}{
		{"delivered", map[int]string{8: "", 1: "delivered", 2: "", 16: ""}, []int{8, 1, 8, 2, 16}},
		{"undelivered", map[int]string{2: "failed", 4: "", 8: "", 1: "delivered"}, []int{2, 4, 8, 1}},
		{"rejected", map[int]string{4: "", 16: "failed"}, []int{4, 16}},
		{"blocked", map[int]string{-1: "failed"}, []int{-1}},
		{"unknown", map[int]string{99: "", 1: "delivered"}, []int{99, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.Sim.SetDelivery(websmstest.Silent)
			b := w.Browser()
			b.T = t
			number := harness.FreshNumber()
			b.Request(number)
			stream := openEvents(b, t.Context())
			defer stream.close()
			for name, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-store"} {
				if got := stream.res.Header.Get(name); got != want {
					t.Errorf("%s is %q", name, got)
				}
			}
			stream.until("accepted")
			message := w.MessagesTo(number)[0]
			for _, code := range c.order {
				begun := time.Now()
				if err := w.Sim.Report(t.Context(), message.ID, code); err != nil {
					t.Fatal(err)
				}
				want := c.states[code]
				if want == "" {
					continue // what follows tells that it changed nothing
				}
				event, ok := stream.next()
				if took := time.Since(begun); !ok || event["status"] != want || took > time.Second {
					t.Errorf("after a report of %d comes %v, after %s; want %s", code, event, took, want)
				}
				if got := b.Get("/.websms/status", harness.API).JSON("status"); got != want {
					t.Errorf("after a report of %d status is %v; want %s", code, got, want)
				}
			}
			harness.WantStatus(t, "the code", b.AnswerWith(message.Code), http.StatusOK)
			if last := stream.ends("verified"); last != nil {
				t.Errorf("before the end comes %v", last)
			}
			if strings.Contains(stream.all.String(), message.Code) {
				t.Error("an event holds the code")
			}
		})
	}
	w.WantNoSecrets()
}

// Reports that come by themselves: the simulator posts them to the webhook.
func TestStatusFollowsDelivery(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	for delivery, want := range map[websmstest.Delivery]string{websmstest.DeliverNow: "delivered", websmstest.Undelivered: "failed", websmstest.Rejected: "failed"} {
		w.Sim.SetDelivery(delivery)
		b, number := w.Browser(), harness.FreshNumber()
		b.Request(number)
		stream := openEvents(b, t.Context())
		stream.until(want)
		harness.WantStatus(t, "the code of a message that is "+want, b.AnswerWith(w.CodeFor(number, 1)), http.StatusOK)
		stream.ends("verified")
		stream.close()
	}
}

// Each change is one event; what changes nothing is none.
func TestStatusTellsOfEachChange(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: "code {\n attempts 3\n}\n" + harness.Plenty})
	w.Sim.SetWebhook("", "")
	b, number := w.Browser(), harness.FreshNumber()
	b.Request(number)
	stream := openEvents(b, t.Context())
	defer stream.close()
	twin := openEvents(b, t.Context())
	defer twin.close()
	stream.until("accepted")
	code := w.CodeFor(number, 1)
	b.Get("/.websms/status", harness.API)
	b.AnswerWith(harness.OtherCode(code))
	if event, _ := stream.next(); event["attempts_left"] != 2.0 {
		t.Errorf("after a wrong code comes %v", event)
	}
	w.Sim.Next(websmstest.LateReply(300 * time.Millisecond)) // or queued would be over before it is told
	b.Resend()
	if event, _ := stream.next(); event["status"] != "queued" || event["attempts_left"] != 2.0 {
		t.Errorf("after a resend comes %v", event)
	}
	stream.until("accepted")
	b.AnswerWith(harness.OtherCode(code))
	if event, _ := stream.next(); event["attempts_left"] != 1.0 {
		t.Errorf("after a wrong code comes %v", event)
	}
	b.AnswerWith(harness.OtherCode(code))
	for name, s := range map[string]*eventStream{"it": stream, "its twin": twin} {
		if last := s.ends(name + " is dead"); last["attempts_left"] != 0.0 {
			t.Errorf("%s ends with %v", name, last)
		}
	}
	dead := openEvents(b, t.Context())
	defer dead.close()
	if dead.res.StatusCode != http.StatusNoContent { // which keeps browsers from trying again
		t.Errorf("of a dead challenge: %s", dead.res.Status)
	}
}

// A stream ends when there is nothing more to tell, and with the browser.
func TestStatusEnds(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: "code {\n ttl 30s\n}\n" + harness.Plenty})
	w.Sim.SetWebhook("", "")
	open := func() (*harness.Browser, *eventStream) {
		b := w.Browser()
		askFor(w, b)
		stream := openEvents(b, t.Context())
		t.Cleanup(stream.close)
		stream.until("accepted")
		return b, stream
	}
	b, stream := open()
	b.Request(harness.FreshNumber())
	stream.ends("replaced")

	_, stream = open()
	now.Advance(30 * time.Second)
	askFor(w, w.Browser()) // the store makes room
	stream.ends("expired, and its room taken")

	// Expired, and nobody asks for anything: its own timer ends it.
	b = w.Browser()
	askFor(w, b)
	now.Advance(30*time.Second - 100*time.Millisecond)
	stream = openEvents(b, t.Context())
	defer stream.close()
	if event, ok := stream.next(); !ok || event["attempts_left"] != 5.0 {
		t.Errorf("in its last moment it tells %v", event)
	}
	now.Advance(100 * time.Millisecond)
	stream.ends("expired")

	nobody := openEvents(w.Browser(), t.Context())
	defer nobody.close()
	if nobody.res.StatusCode != http.StatusNoContent {
		t.Errorf("without a challenge: %s", nobody.res.Status)
	}
}

// A person has a tab or two. The streams beyond that are refused, and those
// that were left make room.
func TestStatusStreamsAreBounded(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b := w.Browser()
	askFor(w, b)
	for range 3 {
		var open []*eventStream
		for i := range 8 { // as many as one challenge may have
			var stream *eventStream
			harness.Eventually(t, fmt.Sprintf("stream %d opens", i+1), func() bool { // those before are still leaving
				stream = openEvents(b, t.Context())
				return stream.res.StatusCode == http.StatusOK
			})
			open = append(open, stream)
		}
		extra := openEvents(b, t.Context())
		if extra.res.StatusCode != http.StatusServiceUnavailable || extra.res.Header.Get("Retry-After") == "" {
			t.Errorf("one more: %s", extra.res.Status)
		}
		extra.close()
		for _, stream := range open {
			stream.close()
		}
	}
}

// A reload ends streams, does not wait for them, and loses no challenge.
func TestStatusEndsAtReload(t *testing.T) {
	for _, https := range []bool{false, true} {
		w := harness.Start(t, harness.Setup{HTTPS: https, Gate: harness.Plenty})
		plain := w.Config
		w.Config = func(options string) string { return strings.Replace(plain(options), "grace_period 5s", "", 1) } // the default: for ever
		w.Load(harness.Plenty)
		w.Sim.SetWebhook("", "")
		b := w.Browser()
		code := askFor(w, b)
		stream := openEvents(b, t.Context())
		defer stream.close()
		stream.until("accepted")
		if want := map[bool]int{false: 1, true: 2}[https]; stream.res.ProtoMajor != want {
			t.Errorf("it is HTTP/%d", stream.res.ProtoMajor)
		}
		begun := time.Now()
		w.Load("comment Changed.\n" + harness.Plenty)
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("a reload beside an open stream takes %s", took)
		}
		stream.ends("reloaded")
		again := openEvents(b, t.Context())
		again.until("accepted")
		harness.WantStatus(t, "the code", b.AnswerWith(code), http.StatusOK)
		again.ends("verified")
		again.close()
	}
}
