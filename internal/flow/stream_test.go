package flow

import (
	"errors"
	"net/http/httptest"
	"os"
	"testing"
	"time"
)

// deadlineWriter remembers the write deadline that is in force.
type deadlineWriter struct {
	*httptest.ResponseRecorder
	deadline time.Time
	broken   bool
}

func (w *deadlineWriter) SetWriteDeadline(t time.Time) error { w.deadline = t; return nil }

func (w *deadlineWriter) Write(p []byte) (int, error) {
	if w.broken || !w.deadline.After(time.Now()) {
		return 0, os.ErrDeadlineExceeded
	}
	return w.ResponseRecorder.Write(p)
}

func (w *deadlineWriter) FlushError() error {
	if w.broken {
		return errors.New("gone")
	}
	w.Flush()
	return nil
}

// The deadline of one event is no deadline of the stream: HTTP/2 resets a
// stream whose write deadline passes, and HTTP/1 could not end it properly.
func TestEventLeavesNoDeadline(t *testing.T) {
	w := &deadlineWriter{ResponseRecorder: httptest.NewRecorder()}
	for range 2 {
		if !sendUpdate(w, "data: {}\n\n") {
			t.Error("an event is not sent")
		}
		if !w.deadline.IsZero() {
			t.Errorf("an event leaves a deadline %s from now", time.Until(w.deadline))
		}
	}
	if w.broken = true; sendUpdate(w, ":\n\n") {
		t.Error("a broken stream takes an event")
	}
}
