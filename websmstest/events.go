package websmstest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// heartbeat is the longest silence of an event stream. Proxies cut a stream that is
// silent for about a minute. The HTML standard, section 9.2.7, advises 15 seconds.
const heartbeat = 15 * time.Second

// messageEvent tells an open page about a new or changed message.
type messageEvent struct {
	ID   string `json:"id"`
	HTML string `json:"html"`
	Text string `json:"text"` // announced by a screen reader if the message is new
}

// eventID names a revision of this state. It differs from all names of another state.
func (s *Simulator) eventID(rev uint64) string {
	return s.state.boot + "-" + strconv.FormatUint(rev, 10)
}

// parseEventID is the inverse of eventID. Without ok, the id is not of this
// state.
func (s *Simulator) parseEventID(id string) (rev uint64, ok bool) {
	boot, number, _ := strings.Cut(id, "-")
	rev, err := strconv.ParseUint(number, 10, 64)
	return rev, err == nil && boot == s.state.boot
}

// serveEvents streams changes to an open page until the page closes. The page names
// the last event that it has seen.
func (s *Simulator) serveEvents(w http.ResponseWriter, r *http.Request) {
	last := r.Header.Get("Last-Event-ID")
	if last == "" {
		last = r.URL.Query().Get("since")
	}
	rev, known := s.parseEventID(last)
	w.Header().Set("Content-Type", "text/event-stream")
	rc := http.NewResponseController(w)
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()

	out := bytes.NewBufferString("retry: 1000\n\n")
	if !known {
		// The page shows another state, from before a restart.
		out.WriteString("event: reload\ndata:\n\n")
	}
	var delivery Delivery // the page does not know it yet
	for {
		v := s.state.since(rev)
		if known {
			for _, m := range slices.Backward(v.messages) {
				writeMessageEvent(out, m)
			}
			if v.delivery != delivery {
				fmt.Fprintf(out, "event: delivery\ndata: %s\n\n", v.delivery)
			}
			if v.rev != rev {
				fmt.Fprintf(out, "id: %s\n\n", s.eventID(v.rev))
			}
		}
		rev, delivery = v.rev, v.delivery
		if _, err := out.WriteTo(w); err != nil {
			return
		}
		if err := rc.Flush(); err != nil {
			return
		}
		select {
		case <-v.changed:
		case <-ticker.C:
			out.WriteString(": still here\n\n")
		case <-r.Context().Done():
			return
		case <-s.done:
			return
		}
	}
}

func writeMessageEvent(out *bytes.Buffer, m seen) {
	var html bytes.Buffer
	if err := inboxPage.ExecuteTemplate(&html, "message", newBubble(m)); err != nil {
		return // loading the page shows the error
	}
	text := "New message to +" + m.To + ": " + m.Body
	// JSON escapes line breaks, which would end the event.
	data, err := json.Marshal(messageEvent{m.ID, html.String(), text})
	if err != nil {
		return // strings always encode
	}
	fmt.Fprintf(out, "event: message\ndata: %s\n\n", data)
}
