package websmstest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeHook replaces the network by a webhook that answers with the given statuses in
// turn, and then with 200. A status of 0 stands for no answer until the caller gives up.
// It notes each post with the time since start.
type fakeHook struct {
	mu       sync.Mutex
	start    time.Time
	statuses []int
	posts    []string
	requests []*http.Request
}

func (f *fakeHook) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var event struct {
		Type       string
		StatusCode int
	}
	if err := json.Unmarshal(body, &event); err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.posts = append(f.posts, fmt.Sprintf("%s %s %d", time.Since(f.start), event.Type, event.StatusCode))
	f.requests = append(f.requests, r)
	status := http.StatusOK
	if len(f.statuses) > 0 {
		status, f.statuses = f.statuses[0], f.statuses[1:]
	}
	f.mu.Unlock()
	if status == 0 {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(bytes.NewReader(body)), Request: r}, nil
}

// got waits until all goroutines wait, and returns the posts so far.
func (f *fakeHook) got() []string {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.posts)
}

// inBubble runs a test with a simulator that has a fake clock and a fake network.
func inBubble(t *testing.T, statuses []int, test func(t *testing.T, s *Simulator, hook *fakeHook)) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{
			WebhookURL:    "http://gate.example/hook?secret=query-secret",
			WebhookSecret: "bearer-secret",
			DeliveryDelay: 2 * time.Second,
			LateDelay:     40 * time.Second,
			RetryPause:    time.Second,
		})
		hook := &fakeHook{start: time.Now(), statuses: statuses}
		s.state.hooks.client.Transport = hook
		defer s.Close()
		test(t, s, hook)
	})
}

func accepted(s *Simulator) *message {
	m := &message{Message: Message{To: "6421234567", Company: "MyApp", Code: "482174", OwnCode: true}}
	s.accept(m)
	return m
}

func TestDeliverySequences(t *testing.T) {
	for _, tc := range []struct {
		delivery Delivery
		posts    []string
		state    string
	}{
		{DeliverNow, []string{"0s dlr 8", "2s dlr 1"}, "delivered"},
		{DeliverLate, []string{"0s dlr 8", "40s dlr 1"}, "delivered"},
		{Undelivered, []string{"0s dlr 8", "2s dlr 2"}, "undelivered"},
		{Rejected, []string{"2s dlr 16"}, "rejected"},
		{Silent, nil, "accepted"},
	} {
		t.Run(string(tc.delivery), func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, s *Simulator, hook *fakeHook) {
				s.SetDelivery(tc.delivery)
				m := accepted(s)
				if got := s.Messages()[0].State; got != "accepted" {
					t.Errorf("state %q at first", got)
				}
				time.Sleep(time.Hour)
				if !slices.Equal(hook.got(), tc.posts) {
					t.Errorf("posts %q, want %q", hook.got(), tc.posts)
				}
				if got := s.Messages()[0].State; got != tc.state {
					t.Errorf("state %q, want %q", got, tc.state)
				}
				// SetDelivery was for one message.
				hook.posts, hook.start = nil, time.Now()
				accepted(s)
				time.Sleep(time.Hour)
				if want := []string{"0s dlr 8", "2s dlr 1"}; !slices.Equal(hook.got(), want) {
					t.Errorf("posts of the next message %q, want %q", hook.got(), want)
				}
				if m.trouble != "" {
					t.Errorf("trouble %q", m.trouble)
				}
			})
		})
	}
}

func TestReportRetries(t *testing.T) {
	for _, tc := range []struct {
		name     string
		statuses []int
		posts    []string
		err      string // part of it; empty: none
	}{
		{"ok", nil, []string{"0s dlr 1"}, ""},
		{"201 is not 200", []int{201}, []string{"0s dlr 1", "1s dlr 1"}, ""},
		{"redirect is not 200", []int{302}, []string{"0s dlr 1", "1s dlr 1"}, ""},
		{"the last retry", []int{500, 401, 404}, []string{"0s dlr 1", "1s dlr 1", "3s dlr 1", "7s dlr 1"}, ""},
		{"all fail", []int{500, 500, 500, 503}, []string{"0s dlr 1", "1s dlr 1", "3s dlr 1", "7s dlr 1"}, "webhook answered 503"},
		{"5 seconds each", []int{0, 0, 0, 0}, []string{"0s dlr 1", "6s dlr 1", "13s dlr 1", "22s dlr 1"}, "deadline exceeded"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, tc.statuses, func(t *testing.T, s *Simulator, hook *fakeHook) {
				s.SetDelivery(Silent)
				m := accepted(s)
				err := s.Report(t.Context(), m.ID, 1)
				if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
					t.Errorf("got %v, want %q", err, tc.err)
				}
				if err != nil && strings.Contains(err.Error(), "secret") {
					t.Errorf("the error tells a secret: %v", err)
				}
				if !slices.Equal(hook.got(), tc.posts) {
					t.Errorf("posts %q, want %q", hook.got(), tc.posts)
				}
				if got := s.Counts().WebhookPosts; got != len(tc.posts) {
					t.Errorf("%d posts counted, want %d", got, len(tc.posts))
				}
				if got := s.state.since(0).messages[0].trouble; strings.HasSuffix(got,
					"; given up") != (tc.err != "") || tc.err == "" && got != "" {
					t.Errorf("trouble %q", got)
				}
				if auth := hook.requests[0].Header.Get("Authorization"); auth != "Bearer bearer-secret" {
					t.Errorf("Authorization %q", auth)
				}
			})
		})
	}
}

// The final report follows the first try of the report before it. So a webhook that is
// down for a moment gets the reports out of order.
func TestReportsOutOfOrder(t *testing.T) {
	inBubble(t, []int{500, 500}, func(t *testing.T, s *Simulator, hook *fakeHook) {
		accepted(s)
		time.Sleep(time.Minute)
		if want := []string{"0s dlr 8", "1s dlr 8", "2s dlr 1", "3s dlr 8"}; !slices.Equal(hook.got(), want) {
			t.Errorf("posts %q, want %q", hook.got(), want)
		}
	})
}

func TestCloseGivesUpReports(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *Simulator, hook *fakeHook) {
		accepted(s)
		time.Sleep(time.Second)
		s.Close()
		time.Sleep(time.Hour)
		if want := []string{"0s dlr 8"}; !slices.Equal(hook.got(), want) {
			t.Errorf("posts %q, want %q", hook.got(), want)
		}
		if d := s.state.hooks; len(d.timers) != 0 || len(d.due) != 0 {
			t.Errorf("in the end %d are timed, %d due", len(d.timers), len(d.due))
		}
	})
}

func TestReportStatusTexts(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *Simulator, hook *fakeHook) {
		s.SetDelivery(Silent)
		m := accepted(s)
		state := "accepted"
		for _, tc := range []struct {
			code          int
			status, state string
		}{
			{4, "QUEUED", "queued"},
			{8, "ACCEPTD", "accepted"},
			{2, "UNDELIV", "undelivered"},
			{16, "UNDELIV", "rejected"},
			{-1, "BLOCKED", "blocked"},
			{1, "DELIVRD", "delivered"},
			{99, "UNKNOWN", "delivered"},
		} {
			event := string(s.report(m, tc.code))
			want := fmt.Sprintf(`{"type":"dlr","messageId":%q,"status":%q,"statusCode":%d,"timestamp":%d}`+"\n", m.ID,
				tc.status, tc.code, time.Now().Unix())
			if event != want {
				t.Errorf("event %s, want %s", event, want)
			}
			if state = s.Messages()[0].State; state != tc.state {
				t.Errorf("after %d: state %q, want %q", tc.code, state, tc.state)
			}
		}
	})
}

func TestReplyEvent(t *testing.T) {
	inBubble(t, []int{500}, func(t *testing.T, s *Simulator, hook *fakeHook) {
		m := accepted(s)
		if err := s.Reply(t.Context(), m.ID, "STOP\r\n<b>"); err != nil {
			t.Fatal(err)
		}
		var event struct {
			Type, MessageID, From, To, Body string
			Timestamp                       int64
		}
		last := len(hook.requests) - 1
		body, err := hook.requests[last].GetBody()
		if err != nil {
			t.Fatal(err)
		}
		if err := json.NewDecoder(body).Decode(&event); err != nil {
			t.Fatal(err)
		}
		if event.Type != "mo" || !strings.HasPrefix(event.MessageID, "MO") || event.From != "+6421234567" || event.To != shortCode ||
			event.Body != "STOP\r\n<b>" || event.Timestamp != hook.start.Unix() {
			t.Errorf("event %+v", event)
		}
		if got := s.Messages()[0].Replies; !slices.Equal(got, []string{"STOP\r\n<b>"}) {
			t.Errorf("replies %q", got)
		}
		for what, err := range map[string]error{
			"empty":           s.Reply(t.Context(), m.ID, ""),
			"long":            s.Reply(t.Context(), m.ID, strings.Repeat("x", 1001)),
			"not UTF-8":       s.Reply(t.Context(), m.ID, "\xff"),
			"unknown message": s.Reply(t.Context(), "MSG1", "hello"),
		} {
			if err == nil {
				t.Errorf("%s reply: no error", what)
			}
		}
	})
}

func TestNoWebhook(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *Simulator, hook *fakeHook) {
		s.SetWebhook("", "")
		m := accepted(s)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := s.Messages()[0].State; got != "delivered" || len(hook.got()) != 0 || m.trouble != "" {
			t.Errorf("state %q, posts %q, trouble %q", got, hook.got(), m.trouble)
		}
		if err := s.Report(t.Context(), m.ID, 2); !errors.Is(err, errNoWebhook) {
			t.Errorf("report by hand: %v", err)
		}
		s.SetWebhook("http://other.example/", "")
		if err := s.Report(t.Context(), m.ID, 2); err != nil {
			t.Error(err)
		}
		if r := hook.requests[0]; r.Host != "other.example" || r.Header.Get("Authorization") != "" {
			t.Errorf("posted to %s, %v", r.Host, r.Header)
		}
	})
}

func TestReportWaits(t *testing.T) {
	inBubble(t, []int{0, 0, 0, 0}, func(t *testing.T, s *Simulator, hook *fakeHook) {
		s.SetDelivery(Silent)
		m := accepted(s)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Report(ctx, m.ID, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("past its context: %v", err)
		}
		ended := make(chan error)
		go func() { ended <- s.Report(t.Context(), m.ID, 1) }()
		synctest.Wait()
		s.Close()
		if err := <-ended; err == nil {
			t.Error("report by a closed simulator: no error")
		}
		s.Close() // a second call has no effect
	})
}

func TestTooManyPosts(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *Simulator, hook *fakeHook) {
		d := s.state.hooks
		setLive := func(live int) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.live = live
		}
		setLive(maxPosts - 1)
		m := accepted(s) // its first report takes the last free place
		if err := s.Report(t.Context(), m.ID, 1); !errors.Is(err, errTooMany) {
			t.Errorf("report by hand: %v", err)
		}
		if got := s.Counts().Dropped; got != 1 {
			t.Errorf("%d dropped, want 1", got)
		}
		if want := []string{"0s dlr 8"}; !slices.Equal(hook.got(), want) {
			t.Errorf("posts %q, want %q", hook.got(), want)
		}
		time.Sleep(2 * time.Second)
		if want := []string{"0s dlr 8", "2s dlr 1"}; !slices.Equal(hook.got(), want) {
			t.Errorf("posts %q, want %q", hook.got(), want)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.live != maxPosts-1 || len(d.timers) != 0 || len(d.due) != 0 {
			t.Errorf("in the end %d are live, %d timed, %d due", d.live, len(d.timers), len(d.due))
		}
	})
}
