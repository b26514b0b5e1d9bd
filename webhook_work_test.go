package websms

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/otp"
)

const someReply = `{"type":"mo","messageId":"MO1","body":"yes"}`

// hookBench is a webhook on a memory store, with the clock of synctest.
type hookBench struct {
	*Webhook
	t     *testing.T
	lines *observer.ObservedLogs
	store *awayStore
	next  func(w http.ResponseWriter, r *http.Request) error
}

// awayStore is a store that can be unavailable. As every store must, it applies later the calls
// that came meanwhile.
type awayStore struct {
	otp.Store
	away atomic.Bool
	mu   sync.Mutex
	owed []func() error
}

var errAwayHere = &otp.UnavailableError{Reason: "the store is away", RetryAfter: time.Second}

func (s *awayStore) Begin(ctx context.Context, key otp.Digest, l otp.Lease) error {
	if s.away.Load() {
		return errAwayHere
	}
	return s.Store.Begin(ctx, key, l)
}

func (s *awayStore) Done(ctx context.Context, key otp.Digest, ttl time.Duration, now time.Time) error {
	return s.orOwe(func() error { return s.Store.Done(ctx, key, ttl, now) })
}

func (s *awayStore) Forget(ctx context.Context, key otp.Digest, holder string) error {
	return s.orOwe(func() error { return s.Store.Forget(ctx, key, holder) })
}

func (s *awayStore) orOwe(do func() error) error {
	if !s.away.Load() {
		return do()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owed = append(s.owed, do)
	return errAwayHere
}

func (s *awayStore) back(t *testing.T) {
	s.away.Store(false)
	for _, do := range s.owed {
		if err := do(); err != nil {
			t.Error(err)
		}
	}
	s.owed = nil
}

func withHook(t *testing.T, body func(h *hookBench)) {
	synctest.Test(t, func(t *testing.T) {
		core, lines := observer.New(zapcore.DebugLevel)
		h := &hookBench{Webhook: bareWebhook(t, core), t: t, lines: lines}
		h.Passthrough = true
		h.store = &awayStore{Store: openStore(t, 10)}
		h.engine = &engine{Engine: otp.NewEngine(otp.Config{Store: h.store, Ring: bareRing(t)})}
		h.next = func(http.ResponseWriter, *http.Request) error { return nil }
		body(h)
	})
}

// deliver gives one event to the webhook.
func (h *hookBench) deliver(body string) *httptest.ResponseRecorder {
	h.t.Helper()
	return h.deliverUnder(context.Background(), body)
}

func (h *hookBench) deliverUnder(ctx context.Context, body string) *httptest.ResponseRecorder {
	h.t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/webhook", strings.NewReader(body)).WithContext(ctx)
	r.Header.Set("Authorization", "Bearer "+harness.WebhookSecret)
	w := httptest.NewRecorder()
	func() {
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				panic(p)
			}
		}()
		if err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(h.next)); err != nil {
			w.Code = http.StatusBadGateway
		}
	}()
	return w
}

// want delivers an event, and checks the answer and whether the event was handled.
func (h *hookBench) want(what, body string, status int, handled bool) *httptest.ResponseRecorder {
	h.t.Helper()
	before := h.lines.FilterMessage("incoming reply").Len() + h.lines.FilterMessage("delivery report").Len()
	w := h.deliver(body)
	after := h.lines.FilterMessage("incoming reply").Len() + h.lines.FilterMessage("delivery report").Len()
	if w.Code != status || after > before != handled {
		h.t.Errorf("%s: %d, handled %v; want %d, %v", what, w.Code, after > before, status, handled)
	}
	return w
}

// inWork checks that a repetition is refused with this Retry-After.
func (h *hookBench) inWork(what, body, after string) {
	h.t.Helper()
	w := h.want(what, body, http.StatusServiceUnavailable, false)
	if got := w.Header().Get("Retry-After"); got != after {
		h.t.Errorf("%s: Retry-After is %q, want %q", what, got, after)
	}
	if got := w.Body.String(); got != `{"error":"the event is in work"}` {
		h.t.Errorf("%s: %s", what, got)
	}
}

// While an event is in work, its repetition is refused with a Retry-After, however long the work
// takes. Afterwards the repetition is acknowledged, or handled if the first try failed.
func TestWebhookInWork(t *testing.T) {
	for name, c := range map[string]struct {
		end     func(w http.ResponseWriter) error
		handled bool // the repetition is handled
	}{
		"taken":  {func(w http.ResponseWriter) error { w.WriteHeader(http.StatusNoContent); return nil }, false},
		"failed": {func(w http.ResponseWriter) error { w.WriteHeader(http.StatusBadGateway); return nil }, true},
		"error":  {func(http.ResponseWriter) error { return errors.New("it fails") }, true},
		"panic":  {func(http.ResponseWriter) error { panic(http.ErrAbortHandler) }, true},
		"silent": {func(http.ResponseWriter) error { return nil }, true}, // it gave up when its time was over
	} {
		t.Run(name, func(t *testing.T) {
			withHook(t, func(h *hookBench) {
				release := make(chan struct{})
				h.next = func(w http.ResponseWriter, _ *http.Request) error {
					<-release // ignores the end of the request
					return c.end(w)
				}
				var first sync.WaitGroup
				first.Go(func() { h.deliver(someReply) })
				synctest.Wait()
				h.inWork("at once", someReply, "10")
				time.Sleep(2500 * time.Millisecond)
				h.inWork("before it is renewed", someReply, "8")
				for range 100 {
					time.Sleep(time.Second)
					synctest.Wait()
					if w := h.deliver(someReply); w.Code != http.StatusServiceUnavailable {
						t.Fatalf("a repetition gets %d", w.Code)
					}
				}
				close(release)
				first.Wait()
				h.next = func(http.ResponseWriter, *http.Request) error { return nil }
				h.want("a repetition", someReply, http.StatusOK, c.handled)
				h.want("a repetition of what was taken", someReply, http.StatusOK, false)
				time.Sleep(24 * time.Hour)
				h.want("after a day", someReply, http.StatusOK, true)
			})
		})
	}
}

// Another event of the same message is handled separately, even while the first one is in work.
func TestWebhookInWorkApart(t *testing.T) {
	withHook(t, func(h *hookBench) {
		release := make(chan struct{})
		h.next = func(_ http.ResponseWriter, r *http.Request) error {
			<-release
			return nil
		}
		events := []string{
			someReply, `{"type":"mo","messageId":"MO2"}`, `{"type":"dlr","messageId":"MO1","statusCode":8}`,
			`{"type":"dlr","messageId":"MO1","statusCode":1}`, `{"type":"dlr","messageId":"MO1","status":"DELIVRD"}`,
			`{"type":"dlr","messageId":"MO1","statusCode":4}`, `{"type":"dlr","messageId":"MO1","statusCode":4,"status":"EXPIRED"}`,
		}
		var all sync.WaitGroup
		for _, e := range events {
			all.Go(func() { h.deliver(e) })
		}
		synctest.Wait()
		for _, e := range events {
			h.inWork(e, e, "10")
		}
		if n := h.lines.FilterMessage("incoming reply").Len() + h.lines.FilterMessage("delivery report").Len(); n != len(events) {
			t.Errorf("%d of %d were handled", n, len(events))
		}
		close(release)
		all.Wait()
	})
}

// If a process dies while it handles an event, the repetition is handled when the lease ends, 10 s
// after its last renewal.
func TestWebhookDiedInWork(t *testing.T) {
	withHook(t, func(h *hookBench) {
		key := []string{"mo", "MO1", ""}
		work, err := h.engine.Begin(context.Background(), 24*time.Hour, key...)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if err := work.Renew(context.Background()); err != nil { // the last renewal
			t.Fatal(err)
		}
		h.inWork("in work", someReply, "10")
		time.Sleep(10*time.Second - time.Millisecond)
		h.inWork("just before the lease is over", someReply, "1")
		time.Sleep(time.Millisecond)
		h.want("then", someReply, http.StatusOK, true)
		h.want("and again", someReply, http.StatusOK, false)
		if err := work.Forget(context.Background()); err != nil { // the process was only paused
			t.Fatal(err)
		}
		h.want("after the first gave up", someReply, http.StatusOK, false)
	})
}

// WebSMS disconnects while the event is being handled. The result of the handler counts.
func TestWebhookHungUp(t *testing.T) {
	for _, taken := range []bool{false, true} {
		withHook(t, func(h *hookBench) {
			ctx, hangUp := context.WithCancel(context.Background())
			h.next = func(w http.ResponseWriter, r *http.Request) error {
				<-r.Context().Done()
				if taken {
					w.WriteHeader(http.StatusOK)
				}
				return nil
			}
			var first sync.WaitGroup
			first.Go(func() { h.deliverUnder(ctx, someReply) })
			synctest.Wait()
			hangUp()
			first.Wait()
			h.next = func(http.ResponseWriter, *http.Request) error { return nil }
			h.want(fmt.Sprintf("a repetition, taken %v", taken), someReply, http.StatusOK, !taken)
		})
	}
}

// If the store is unavailable, no event is lost. The store gets the result later.
func TestWebhookStoreAway(t *testing.T) {
	fails := func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusBadGateway)
		return nil
	}
	for name, c := range map[string]struct {
		atBegin, atEnd, fails bool
		repeated              bool // the repetition is handled
	}{
		"at begin":             {atBegin: true, repeated: false},
		"at done":              {atEnd: true, repeated: false},
		"at both":              {atBegin: true, atEnd: true, repeated: false},
		"at forget":            {atEnd: true, fails: true, repeated: true},
		"at begin, and failed": {atBegin: true, fails: true, repeated: true},
	} {
		t.Run(name, func(t *testing.T) {
			withHook(t, func(h *hookBench) {
				h.store.away.Store(c.atBegin)
				h.next = func(w http.ResponseWriter, r *http.Request) error {
					h.store.away.Store(c.atEnd)
					if c.fails {
						return fails(w, r)
					}
					return nil
				}
				status := http.StatusOK
				if c.fails {
					status = http.StatusBadGateway
				}
				h.want("the first", someReply, status, true)
				h.store.back(t)
				h.next = func(http.ResponseWriter, *http.Request) error { return nil }
				h.want("a repetition", someReply, http.StatusOK, c.repeated)
				h.want("another", someReply, http.StatusOK, false)
			})
		})
	}
}

// An event is also in work while it is handled without a next handler.
func TestWebhookInWorkWithoutPassthrough(t *testing.T) {
	withHook(t, func(h *hookBench) {
		h.Passthrough = false
		work, err := h.engine.Begin(context.Background(), 24*time.Hour, "mo", "MO1", "")
		if err != nil {
			t.Fatal(err)
		}
		h.inWork("in work", someReply, "10")
		if err := work.Done(context.Background()); err != nil {
			t.Fatal(err)
		}
		h.want("done", someReply, http.StatusOK, false)
	})
}
