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

// streams counts the open status streams of each challenge of a gate.
type streams struct {
	closing chan struct{} // closed when the server shuts down
	close   func()        // closes it, once

	mu   sync.Mutex
	open map[otp.ID]int
}

// newStreams returns a counter without open streams.
func newStreams() *streams {
	s := &streams{closing: make(chan struct{}), open: make(map[otp.ID]int)}
	s.close = sync.OnceFunc(func() { close(s.closing) })
	return s
}

// maxStreams is the most open streams of one challenge. A person needs one or two tabs.
const maxStreams = 8

// begin counts a new stream of a challenge. It returns false if there are too many. If
// it returns true, the caller must call end once.
func (s *streams) begin(id otp.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[id] >= maxStreams {
		return false
	}
	s.open[id]++
	return true
}

// end counts that a stream of a challenge has ended.
func (s *streams) end(id otp.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[id]--; s.open[id] == 0 {
		delete(s.open, id)
	}
}

// wantsStream reports whether r asks for server-sent events.
func wantsStream(r *http.Request) bool {
	for _, field := range r.Header["Accept"] {
		if strings.Contains(strings.ToLower(field), "text/event-stream") {
			return true
		}
	}
	return false
}

const (
	// heartbeat is the time between two comments that keep a stream open. Proxies end a
	// stream that stays silent.
	heartbeat = 15 * time.Second
	// writeTime is how long the write of one update may take.
	writeTime = 10 * time.Second
)

// stream sends an update for each change of a challenge, as server-sent events
// (WHATWG HTML, 9.2). It returns when the challenge has ended, the browser has gone or
// the server stops.
func (f *Flow) stream(v *visit, cookie *cookies.Challenge) error {
	if !f.streams.begin(cookie.ID) {
		return f.refuse(v.W, v.R, problem{
			Type: typeUnavailable, Title: "Too many status streams", Status: http.StatusServiceUnavailable, retryAfter: heartbeat,
		}, nil)
	}
	defer f.streams.end(cookie.ID)
	// One ticker serves the whole stream. A new one for each change would reveal a change
	// that viewOf hides, because the next heartbeat would come later.
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	var last []byte
	for {
		// Watch comes before Get, so that no change between the two is lost.
		changed, stop := f.Engine.Watch(cookie.ID)
		c, err := f.Engine.Get(v.R.Context(), f.Policy.Scope, cookie.ID)
		dead := errors.Is(err, otp.ErrTooManyAttempts)
		if err != nil && !(dead && last != nil) {
			stop()
			if last != nil {
				return nil // the challenge has ended
			}
			return f.refuseStatus(v, cookie, err)
		}
		if last == nil {
			beginStream(v.W.Header())
		}
		line, err := json.Marshal(f.viewOf(v, cookie, c))
		if err != nil {
			stop()
			return err
		}
		alive := bytes.Equal(line, last) || sendUpdate(v.W, "data: "+string(line)+"\n\n")
		last = line
		alive = alive && !dead && f.await(v, changed, c.ExpiresAt, beat.C)
		stop()
		if !alive {
			return nil
		}
	}
}

// await sends heartbeats until the challenge changes or expires, and then returns true.
// It returns false if the browser goes away or the server stops before that.
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
			if !sendUpdate(v.W, ":\n\n") {
				return false
			}
		case <-v.R.Context().Done():
			return false
		case <-f.streams.closing:
			return false
		}
	}
}

// beginStream sets the headers of a stream.
func beginStream(h http.Header) {
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Accel-Buffering", "no") // so that nginx passes on each update at once
}

// sendUpdate writes text to a stream, and reports whether the stream is still open.
func sendUpdate(w http.ResponseWriter, text string) bool {
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(writeTime)) // some writers have no deadline
	// A deadline that passes between two updates would reset an HTTP/2 stream. It would
	// also keep an HTTP/1 stream from ending properly.
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }()
	_, err := w.Write([]byte(text))
	return err == nil && control.Flush() == nil
}
