package flow

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/caddy-websms/websms/internal/cookies"
	"github.com/caddy-websms/websms/otp"
)

// streams are the status streams of a gate that are open.
type streams struct {
	closing chan struct{} // closed when the server shuts down
	close   func()        // closes it, once

	mu   sync.Mutex
	open map[otp.ID]int
}

func newStreams() *streams {
	s := &streams{closing: make(chan struct{}), open: make(map[otp.ID]int)}
	s.close = sync.OnceFunc(func() { close(s.closing) })
	return s
}

// maxStreams bounds the streams of one challenge: a person has a tab or two.
const maxStreams = 8

func (s *streams) begin(id otp.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[id] >= maxStreams {
		return false
	}
	s.open[id]++
	return true
}

func (s *streams) end(id otp.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[id]--; s.open[id] == 0 {
		delete(s.open, id)
	}
}

// wantsEvents reports whether r asks for server-sent events.
func wantsEvents(r *http.Request) bool {
	for _, field := range r.Header["Accept"] {
		if strings.Contains(strings.ToLower(field), "text/event-stream") {
			return true
		}
	}
	return false
}

const (
	// heartbeat keeps proxies from ending a stream that has nothing to say.
	heartbeat = 15 * time.Second
	// writeTime bounds how long one event may take to leave.
	writeTime = 10 * time.Second
)

// stream sends one event for each change of a challenge, until it ends
// (WHATWG HTML, 9.2).
func (f *Flow) stream(v *visit, a *cookies.Challenge) error {
	if !f.streams.begin(a.ID) {
		return f.refuse(v.W, v.R, problem{
			Type: "unavailable", Title: "Too many status streams", Status: http.StatusServiceUnavailable, retryAfter: heartbeat,
		}, nil)
	}
	defer f.streams.end(a.ID)
	// One rhythm for the whole stream: a change that is not shown must not
	// show in when the next beat comes either.
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	var last []byte
	for {
		// Watch first, then Get: a change between the two is not missed.
		changed, stop := f.Engine.Watch(a.ID)
		c, err := f.Engine.Get(v.R.Context(), f.Policy.Scope, a.ID)
		dead := errors.Is(err, otp.ErrTooManyAttempts)
		if err != nil && !(dead && last != nil) {
			stop()
			if last != nil {
				return nil // it ended
			}
			return f.refuseStatus(v, a, err)
		}
		if last == nil {
			beginEvents(v.W.Header())
		}
		line, err := json.Marshal(f.view(v, a, c))
		if err != nil {
			stop()
			return err
		}
		alive := bytes.Equal(line, last) || sendEvent(v.W, "data: "+string(line)+"\n\n")
		last = line
		alive = alive && !dead && f.await(v, changed, c.ExpiresAt, beat.C)
		stop()
		if !alive {
			return nil
		}
	}
}

// await keeps a stream alive until its challenge has changed or expires; it
// reports false if the browser or the server goes away before.
func (f *Flow) await(v *visit, changed <-chan struct{}, expires time.Time, beat <-chan time.Time) bool {
	expiry := time.NewTimer(expires.Sub(f.Now()))
	defer expiry.Stop()
	for {
		select {
		case <-changed:
			return true
		case <-expiry.C:
			return true
		case <-beat:
			if !sendEvent(v.W, ":\n\n") {
				return false
			}
		case <-v.R.Context().Done():
			return false
		case <-f.streams.closing:
			return false
		}
	}
}

func beginEvents(h http.Header) {
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Accel-Buffering", "no") // for proxies that would collect events
}

// sendEvent writes to a stream, and reports whether it is still there.
func sendEvent(w http.ResponseWriter, text string) bool {
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(writeTime)) // where it can be set
	// A deadline that passes between two events would reset an HTTP/2 stream,
	// and keep an HTTP/1 one from ending properly.
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }()
	_, err := w.Write([]byte(text))
	return err == nil && control.Flush() == nil
}
