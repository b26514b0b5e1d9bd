package websms_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/websmstest"
)

// The page shows a new state of a message within a second of its report.
func TestStatusFollowsReports(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: noSecondTry})
	for _, c := range []struct {
		name   string
		states map[int]string // the state after a report with each code
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
			stream := harness.OpenEvents(b, t.Context())
			defer stream.Close()
			for name, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-store"} {
				if got := stream.Response.Header.Get(name); got != want {
					t.Errorf("%s is %q", name, got)
				}
			}
			stream.Until("accepted")
			message := w.MessagesTo(number)[0]
			for _, code := range c.order {
				begun := time.Now()
				if err := w.Sim.Report(t.Context(), message.ID, code); err != nil {
					t.Fatal(err)
				}
				want := c.states[code]
				if want == "" {
					continue // the next event shows that it changed nothing
				}
				event, ok := stream.Next()
				if took := time.Since(begun); !ok || event["status"] != want || took > time.Second {
					t.Errorf("after a report of %d comes %v, after %s; want %s", code, event, took, want)
				}
				if got := b.Get("/.websms/status", harness.API).JSON("status"); got != want {
					t.Errorf("after a report of %d status is %v; want %s", code, got, want)
				}
			}
			harness.WantStatus(t, "the code", b.AnswerWith(message.Code), http.StatusOK)
			if last := stream.Ends("verified"); last != nil {
				t.Errorf("before the end comes %v", last)
			}
			if strings.Contains(stream.All.String(), message.Code) {
				t.Error("an event holds the code")
			}
		})
	}
	w.WantNoSecrets()
}

// The simulator posts its own reports to the webhook.
func TestStatusFollowsDelivery(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	for delivery, want := range map[websmstest.Delivery]string{websmstest.DeliverNow: "delivered",
		websmstest.Undelivered: "delivered", websmstest.Rejected: "delivered", // by the second try
		websmstest.Blocked: "failed"} {
		w.Sim.SetDelivery(delivery)
		b, number := w.Browser(), harness.FreshNumber()
		b.Request(number)
		stream := harness.OpenEvents(b, t.Context())
		stream.Until(want)
		harness.WantStatus(t, "the code of a message that is "+want, b.AnswerWith(w.CodeFor(number, 1)), http.StatusOK)
		stream.Ends("verified")
		stream.Close()
	}
}

// Each change causes one event. A report without a change causes none.
func TestStatusTellsOfEachChange(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: "code {\n attempts 3\n}\n" + harness.Plenty})
	w.Sim.SetWebhook("", "")
	b, number := w.Browser(), harness.FreshNumber()
	b.Request(number)
	stream := harness.OpenEvents(b, t.Context())
	defer stream.Close()
	twin := harness.OpenEvents(b, t.Context())
	defer twin.Close()
	stream.Until("accepted")
	code := w.CodeFor(number, 1)
	b.Get("/.websms/status", harness.API)
	b.AnswerWith(harness.OtherCode(code))
	if event, _ := stream.Next(); event["attempts_left"] != 2.0 {
		t.Errorf("after a wrong code comes %v", event)
	}
	w.Sim.Next(websmstest.LateReply(300 * time.Millisecond)) // without a delay, the state queued might end before the stream opens
	b.Resend()
	if event, _ := stream.Next(); event["status"] != "queued" || event["attempts_left"] != 2.0 {
		t.Errorf("after a resend comes %v", event)
	}
	stream.Until("accepted")
	b.AnswerWith(harness.OtherCode(code))
	if event, _ := stream.Next(); event["attempts_left"] != 1.0 {
		t.Errorf("after a wrong code comes %v", event)
	}
	b.AnswerWith(harness.OtherCode(code))
	for name, s := range map[string]*harness.EventStream{"it": stream, "its twin": twin} {
		if last := s.Ends(name + " is dead"); last["attempts_left"] != 0.0 {
			t.Errorf("%s ends with %v", name, last)
		}
	}
	dead := harness.OpenEvents(b, t.Context())
	defer dead.Close()
	if dead.Response.StatusCode != http.StatusNoContent { // browsers do not reconnect after this status
		t.Errorf("of a dead challenge: %s", dead.Response.Status)
	}
}

// A stream ends with its challenge, and when the browser closes it.
func TestStatusEnds(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: "code {\n ttl 30s\n}\n" + harness.Plenty})
	w.Sim.SetWebhook("", "")
	open := func() (*harness.Browser, *harness.EventStream) {
		b := w.Browser()
		harness.AskFor(w, b)
		stream := harness.OpenEvents(b, t.Context())
		t.Cleanup(stream.Close)
		stream.Until("accepted")
		return b, stream
	}
	b, stream := open()
	b.Request(harness.FreshNumber())
	stream.Ends("replaced")

	_, stream = open()
	now.Advance(30 * time.Second)
	harness.AskFor(w, w.Browser()) // the store removes the expired challenge
	stream.Ends("expired, and its room taken")

	// The challenge expires without a request: a timer ends the stream.
	b = w.Browser()
	harness.AskFor(w, b)
	now.Advance(30*time.Second - 100*time.Millisecond)
	stream = harness.OpenEvents(b, t.Context())
	defer stream.Close()
	if event, ok := stream.Next(); !ok || event["attempts_left"] != 5.0 {
		t.Errorf("in its last moment it tells %v", event)
	}
	now.Advance(100 * time.Millisecond)
	stream.Ends("expired")

	nobody := harness.OpenEvents(w.Browser(), t.Context())
	defer nobody.Close()
	if nobody.Response.StatusCode != http.StatusNoContent {
		t.Errorf("without a challenge: %s", nobody.Response.Status)
	}
}

// The number of streams for each challenge is limited. Further streams are refused. A closed stream
// makes room.
func TestStatusStreamsAreBounded(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b := w.Browser()
	harness.AskFor(w, b)
	for range 3 {
		var open []*harness.EventStream
		for i := range 8 { // the most for one challenge
			var stream *harness.EventStream
			harness.Eventually(t, fmt.Sprintf("stream %d opens", i+1), func() bool { // closed streams may still be ending
				stream = harness.OpenEvents(b, t.Context())
				return stream.Response.StatusCode == http.StatusOK
			})
			open = append(open, stream)
		}
		extra := harness.OpenEvents(b, t.Context())
		if extra.Response.StatusCode != http.StatusServiceUnavailable || extra.Response.Header.Get("Retry-After") == "" {
			t.Errorf("one more: %s", extra.Response.Status)
		}
		extra.Close()
		for _, stream := range open {
			stream.Close()
		}
	}
}

// A reload ends the streams without waiting for them, and keeps all challenges.
func TestStatusEndsAtReload(t *testing.T) {
	for _, https := range []bool{false, true} {
		w := harness.Start(t, harness.Setup{HTTPS: https, Gate: harness.Plenty})
		plain := w.Config
		w.Config = func(options string) string { return strings.Replace(plain(options), "grace_period 5s", "", 1) } // the default: no limit
		w.Load(harness.Plenty)
		w.Sim.SetWebhook("", "")
		b := w.Browser()
		code := harness.AskFor(w, b)
		stream := harness.OpenEvents(b, t.Context())
		defer stream.Close()
		stream.Until("accepted")
		if want := map[bool]int{false: 1, true: 2}[https]; stream.Response.ProtoMajor != want {
			t.Errorf("it is HTTP/%d", stream.Response.ProtoMajor)
		}
		begun := time.Now()
		w.Load("comment Changed.\n" + harness.Plenty)
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("a reload beside an open stream takes %s", took)
		}
		stream.Ends("reloaded")
		again := harness.OpenEvents(b, t.Context())
		again.Until("accepted")
		harness.WantStatus(t, "the code", b.AnswerWith(code), http.StatusOK)
		again.Ends("verified")
		again.Close()
	}
}
