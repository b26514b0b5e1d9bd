package websmstest

import (
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Fault is one way in which an API call fails, or succeeds in an unusual form. The
// zero Fault serves the call as usual.
type Fault struct {
	// Status is the HTTP status of the reply. Default: 200.
	Status int

	// Body is the body of the reply. In it, {id}, {code} and {token} stand for the
	// message id, the code and the bearer token of the usual reply. If Status and
	// Body are both unset, the reply has the usual status and body.
	Body string

	// ContentType is the type of Body. Default: "application/json".
	ContentType string

	// Header is added to the reply's header.
	Header http.Header

	// Delay delays the reply, in addition to Options.Latency.
	Delay time.Duration

	// Hang sends no reply until the client disconnects or the simulator is closed.
	Hang bool

	// Reset cuts the connection instead of a reply. It sends a TCP reset if the
	// server allows that.
	Reset bool

	// Truncate announces the whole body, sends half of it and cuts the connection.
	Truncate bool

	// NumericID gives the message an id of digits, and writes it as a JSON number
	// in the usual reply and in delivery reports. It has no effect on a message
	// that is not accepted.
	NumericID bool

	// AcceptAnyway accepts the message, or issues the token, before the reply is
	// delayed or broken. An accepted message appears in the inbox, and its
	// delivery is reported.
	//
	// Without AcceptAnyway, a fault with a reply of its own accepts nothing. A
	// fault with only a Delay accepts after the delay, if the client is still
	// connected.
	AcceptAnyway bool
}

// spoils reports whether f replaces the usual reply.
func (f Fault) spoils() bool {
	return f.Status != 0 || f.Body != "" || f.Hang || f.Reset || f.Truncate
}

// faultQueue holds the faults of the next calls. state.mu guards it.
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

// InsufficientFunds200 refuses a message for lack of funds, with status 200.
// Integrators report this form.
func InsufficientFunds200() Fault {
	return Fault{Status: http.StatusOK, Body: `{"success":false,"message":"Insufficient funds","required":0.115}`}
}

// Forbidden refuses a message for lack of funds, with status 403.
func Forbidden() Fault {
	return Fault{Status: http.StatusForbidden, Body: `{"error":"forbidden","message":"Insufficient funds"}`}
}

// InvalidRequest refuses a call with status 400.
func InvalidRequest() Fault {
	return Fault{Status: http.StatusBadRequest, Body: `{"error":"invalid_request","message":"Invalid parameters"}`}
}

// Unauthorized refuses a call with status 401, although its token is valid.
func Unauthorized() Fault {
	return Fault{Status: http.StatusUnauthorized, Body: `{"error":"unauthorized"}`}
}

// InvalidToken refuses a call with another status than 401, such as 403, 400 or 200,
// because its token is invalid, although it is valid. The header is that of RFC 6750,
// section 3.
func InvalidToken(status int) Fault {
	return Fault{
		Status: status,
		Body:   `{"error":"invalid_token","error_description":"The access token expired"}`,
		Header: http.Header{"Www-Authenticate": {`Bearer error="invalid_token"`}},
	}
}

// TokenExpired200 refuses a call with status 200, because its token has expired, although
// it is valid.
func TokenExpired200() Fault {
	return Fault{Status: http.StatusOK, Body: `{"success":false,"message":"Token expired"}`}
}

// MessageRefused replies success of the request and failure of its message, with a
// reason.
func MessageRefused(reason string) Fault {
	return Fault{Body: `{"success":true,"messages":[{"success":false,"message":` + strings.TrimSpace(string(encode(reason))) + `}]}`}
}

// MessagesReply accepts the message and writes its id in messages[0].
func MessagesReply() Fault {
	return Fault{Body: `{"success":true,"messages":[{"success":true,"messageId":"{id}","code":"{code}"}]}`, AcceptAnyway: true}
}

// Redirect redirects a call to another address with status 301, 302, 303, 307 or 308.
func Redirect(status int, location string) Fault {
	return Fault{Status: status, Header: http.Header{"Location": {location}}}
}

// Throttled refuses a call with status 429. Retry-After is in seconds, rounded up. If
// retryAfter is negative, the header is absent.
func Throttled(retryAfter time.Duration) Fault {
	return Fault{
		Status: http.StatusTooManyRequests,
		Body:   `{"error":"too_many_requests","message":"Rate limit exceeded"}`,
		Header: retryAfterHeader(retryAfter),
	}
}

// Unavailable refuses a call with status 503. See [Throttled] for retryAfter.
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

// ServerError fails a call with status 500.
func ServerError() Fault {
	return Fault{Status: http.StatusInternalServerError, Body: `{"error":"server_error"}`}
}

// HTMLError fails a call with status 502 and the HTML page of a proxy that cannot
// reach the service.
func HTMLError() Fault {
	return Fault{
		Status:      http.StatusBadGateway,
		ContentType: "text/html; charset=utf-8",
		Body:        "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>\n",
	}
}

// BrokenJSON accepts the message and replies with status 200 and half of a JSON text.
func BrokenJSON() Fault {
	return Fault{Body: `{"status":"success","messageId":"{id}","co`, AcceptAnyway: true}
}

// TruncatedReply accepts the message and cuts the connection in the middle of the
// reply.
func TruncatedReply() Fault { return Fault{Truncate: true, AcceptAnyway: true} }

// HangReply accepts the message and never replies.
func HangReply() Fault { return Fault{Hang: true, AcceptAnyway: true} }

// ResetReply cuts the connection instead of a reply, and accepts nothing.
func ResetReply() Fault { return Fault{Reset: true} }

// LateReply accepts the message at once and replies as usual after d.
func LateReply(d time.Duration) Fault { return Fault{Delay: d, AcceptAnyway: true} }

// Status accepts the message and replies with another word for success, such as
// "accepted" or "queued".
func Status(name string) Fault {
	return Fault{Body: `{"status":"` + name + `","messageId":"{id}","code":"{code}"}`, AcceptAnyway: true}
}

// SuccessTrue accepts the message and replies with "success":true instead of a
// status.
func SuccessTrue() Fault {
	return Fault{Body: `{"success":true,"messageId":"{id}","code":"{code}"}`, AcceptAnyway: true}
}

// IDField accepts the message and writes its id in a field of another name, such as
// "message_id" or "websms_id".
func IDField(name string) Fault {
	return Fault{Body: `{"status":"success","` + name + `":"{id}","code":"{code}"}`, AcceptAnyway: true}
}

// NumericID accepts the message and writes its id as a JSON number.
func NumericID() Fault { return Fault{NumericID: true, AcceptAnyway: true} }

// NoID accepts the message and writes no id.
func NoID() Fault {
	return Fault{Body: `{"status":"success","code":"{code}"}`, AcceptAnyway: true}
}

// NoContent accepts the message and replies with status 204 and no body.
func NoContent() Fault { return Fault{Status: http.StatusNoContent, AcceptAnyway: true} }

// writeFault replies with f. The argument usual is the body without the fault, and
// names replaces the placeholders.
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
		// The server cuts the connection if a reply is shorter than its
		// Content-Length.
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
		_ = tcp.SetLinger(0) // if this fails, Close ends the connection without a reset
	}
	conn.Close()
}
