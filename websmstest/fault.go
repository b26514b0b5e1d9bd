package websmstest

import (
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Fault is one way in which an API call goes wrong, or right in an unusual
// form. The zero value is none: the call is served as usual.
type Fault struct {
	// Status is the HTTP status of the reply. Default: 200.
	Status int

	// Body is the body of the reply. In it, {id}, {code} and {token} stand
	// for the message id, the code and the bearer token that the usual
	// reply would hold. When Status and Body are both unset, so is the
	// usual reply.
	Body string

	// ContentType goes with a Body. Default: "application/json".
	ContentType string

	// Header is added to the reply's header.
	Header http.Header

	// Delay comes before the reply, on top of Options.Latency.
	Delay time.Duration

	// Hang gives no reply until the client goes away or the simulator is
	// closed.
	Hang bool

	// Reset cuts the connection in place of a reply, with a TCP reset where
	// the server allows it.
	Reset bool

	// Truncate announces the whole body, sends half and cuts the
	// connection.
	Truncate bool

	// NumericID gives the message an id of digits alone, and gives that id
	// as a JSON number in the usual reply and in delivery reports. It acts
	// only on a message that is accepted.
	NumericID bool

	// AcceptAnyway accepts the message, which appears in the inbox and has
	// its delivery reported, or issues the token, before the reply is
	// delayed or broken. Without it a fault with a reply of its own accepts
	// nothing, and one with a mere Delay accepts once that is over and the
	// client still there.
	AcceptAnyway bool
}

// spoils reports whether f takes the place of the usual reply.
func (f Fault) spoils() bool {
	return f.Status != 0 || f.Body != "" || f.Hang || f.Reset || f.Truncate
}

// faultQueue holds the faults to come. state.mu guards it.
type faultQueue struct {
	next   []Fault
	always Fault
}

// take returns the fault of the current call.
func (q *faultQueue) take() Fault {
	if len(q.next) == 0 {
		return q.always
	}
	f := q.next[0]
	q.next = q.next[1:]
	return f
}

// InsufficientFunds200 refuses for lack of funds with status 200, as
// integrators report it.
func InsufficientFunds200() Fault {
	return Fault{Status: http.StatusOK, Body: `{"success":false,"message":"Insufficient funds","required":0.115}`}
}

// Forbidden refuses for lack of funds with status 403.
func Forbidden() Fault {
	return Fault{Status: http.StatusForbidden, Body: `{"error":"forbidden","message":"Insufficient funds"}`}
}

// InvalidRequest refuses with status 400.
func InvalidRequest() Fault {
	return Fault{Status: http.StatusBadRequest, Body: `{"error":"invalid_request","message":"Invalid parameters"}`}
}

// Unauthorized refuses with status 401, however fresh the token.
func Unauthorized() Fault {
	return Fault{Status: http.StatusUnauthorized, Body: `{"error":"unauthorized"}`}
}

// Throttled refuses with status 429. Retry-After is in seconds, rounded up;
// it is absent when retryAfter is negative.
func Throttled(retryAfter time.Duration) Fault {
	return Fault{
		Status: http.StatusTooManyRequests,
		Body:   `{"error":"too_many_requests","message":"Rate limit exceeded"}`,
		Header: retryAfterHeader(retryAfter),
	}
}

// Unavailable refuses with status 503; for retryAfter see [Throttled].
func Unavailable(retryAfter time.Duration) Fault {
	return Fault{
		Status: http.StatusServiceUnavailable,
		Body:   `{"error":"unavailable","message":"Try again later"}`,
		Header: retryAfterHeader(retryAfter),
	}
}

func retryAfterHeader(d time.Duration) http.Header {
	if d < 0 {
		return nil
	}
	seconds := int64((d + time.Second - 1) / time.Second)
	return http.Header{"Retry-After": {strconv.FormatInt(seconds, 10)}}
}

// ServerError fails with status 500.
func ServerError() Fault {
	return Fault{Status: http.StatusInternalServerError, Body: `{"error":"server_error"}`}
}

// HTMLError fails with the HTML page of a proxy that cannot reach the
// service, status 502.
func HTMLError() Fault {
	return Fault{
		Status:      http.StatusBadGateway,
		ContentType: "text/html; charset=utf-8",
		Body:        "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>\n",
	}
}

// BrokenJSON accepts the message and replies with the first half of a JSON
// text, status 200.
func BrokenJSON() Fault {
	return Fault{Body: `{"status":"success","messageId":"{id}","co`, AcceptAnyway: true}
}

// TruncatedReply accepts the message and cuts the connection halfway through
// the reply.
func TruncatedReply() Fault { return Fault{Truncate: true, AcceptAnyway: true} }

// HangReply accepts the message and never replies.
func HangReply() Fault { return Fault{Hang: true, AcceptAnyway: true} }

// ResetReply cuts the connection in place of a reply; nothing is accepted.
func ResetReply() Fault { return Fault{Reset: true} }

// LateReply accepts the message at once and replies as usual after d.
func LateReply(d time.Duration) Fault { return Fault{Delay: d, AcceptAnyway: true} }

// Status accepts the message and reports success by another name, such as
// "accepted" or "queued".
func Status(name string) Fault {
	return Fault{Body: `{"status":"` + name + `","messageId":"{id}","code":"{code}"}`, AcceptAnyway: true}
}

// SuccessTrue accepts the message and says so with "success":true in place of
// a status.
func SuccessTrue() Fault {
	return Fault{Body: `{"success":true,"messageId":"{id}","code":"{code}"}`, AcceptAnyway: true}
}

// IDField accepts the message and gives its id by another name, such as
// "message_id" or "websms_id".
func IDField(name string) Fault {
	return Fault{Body: `{"status":"success","` + name + `":"{id}","code":"{code}"}`, AcceptAnyway: true}
}

// NumericID accepts the message and gives its id as a JSON number.
func NumericID() Fault { return Fault{NumericID: true, AcceptAnyway: true} }

// NoID accepts the message and gives no id.
func NoID() Fault {
	return Fault{Body: `{"status":"success","code":"{code}"}`, AcceptAnyway: true}
}

// NoContent accepts the message with an empty reply, status 204.
func NoContent() Fault { return Fault{Status: http.StatusNoContent, AcceptAnyway: true} }

// writeFault replies with f. usual is the body that would have been sent,
// names gives the values of the placeholders.
func (s *Simulator) writeFault(w http.ResponseWriter, r *http.Request, f Fault, usual []byte, names *strings.Replacer) {
	if f.Hang {
		select {
		case <-r.Context().Done():
		case <-s.done:
			cut(w)
		}
		return
	}
	if f.Reset {
		cut(w)
		return
	}
	body := []byte(names.Replace(f.Body))
	if f.Status == 0 && f.Body == "" {
		body = usual
	}
	maps.Copy(w.Header(), f.Header)
	if len(body) > 0 {
		contentType := f.ContentType
		if contentType == "" {
			contentType = jsonType
		}
		w.Header().Set("Content-Type", contentType)
	}
	if f.Truncate {
		// The server cuts the connection of a reply that is shorter than
		// it announced.
		w.Header().Set("Content-Length", strconv.Itoa(max(2, len(body))))
		body = body[:len(body)/2]
	}
	status := f.Status
	if status == 0 {
		status = http.StatusOK
	}
	w.WriteHeader(status)
	w.Write(body)
}

// cut ends the connection without a reply.
func cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2: the server resets the stream
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}
