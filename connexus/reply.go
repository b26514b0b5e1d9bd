package connexus

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The reasons why a reply with a successful status is not understood.
var (
	errNotObject     = errors.New("the reply is not a JSON object")
	errNoVerdict     = errors.New("the reply says neither success nor failure")
	errContradiction = errors.New("the reply says both success and failure")
	errBlocked       = errors.New("the reply is a web page: something in front of the API refused the request")
)

// verdict is the outcome that the body of a reply states, apart from its status.
type verdict int

const (
	silent   verdict = iota
	accepted         // success true, or a status that says so
	refused          // success false, or a status that says so
	mixed            // both
)

func (o object) verdict() verdict {
	success, known := o.flag("success")
	yes, no := known && success, known && !success
	status, _ := o.str("status")
	switch strings.ToLower(strings.TrimSpace(status)) {
	case "success", "accepted", "queued":
		yes = true
	case "error", "fail", "failed", "failure", "rejected", "blocked":
		no = true
	}
	switch {
	case yes && no:
		return mixed
	case yes:
		return accepted
	case no:
		return refused
	}
	return silent
}

// outcome returns the verdict of a reply and of its messages[0] together. WebSMS may say
// success about the request and failure about the message. Then the message failed.
func (o object) outcome() verdict {
	whole, one := o.verdict(), o.first("messages").verdict()
	switch {
	case one == silent, one == whole:
		return whole
	case whole == silent, whole == accepted && one == refused:
		return one
	}
	return mixed
}

// complaint returns the error text of the object, or of the part of a reply that the
// failure is about.
func (o object) complaint() string {
	if one := o.first("messages"); one.verdict() == refused {
		if text := one.ownComplaint(); text != "" {
			return text
		}
	}
	return o.ownComplaint()
}

func (o object) ownComplaint() string {
	code, message := o.text("error"), o.text("message", "error_description", "detail", "reason")
	if inner := o.first("error"); inner != nil { // {"error":{"code":"invalid_token","message":"…"}}
		code, _ = inner.str("code")
		message = inner.text("message", "error_description", "detail", "reason")
	}
	if code == "" || message == "" {
		return code + message
	}
	return code + ": " + message
}

// hints maps words of a refusal to its kind, for replies with a status that leaves
// the kind open.
var hints = []struct {
	kind  Kind
	words []string
}{
	{KindFunds, []string{"insufficient fund", "insufficient balance", "insufficient credit", "out of credit"}},
	{KindCredentials, []string{"invalid client", "invalid token", "invalid credential", "unauthorized"}},
	{KindThrottled, []string{"rate limit", "too many requests", "throttled"}},
	{KindUnavailable, []string{"temporarily unavailable", "server error"}},
}

// hint returns the kind of a refusal by the words of the object, or otherwise.
func (o object) hint(otherwise Kind) Kind {
	if o.isNumber("required") || o.first("messages").isNumber("required") { // the price of the message
		return KindFunds
	}
	said := strings.ToLower(strings.ReplaceAll(o.complaint(), "_", " "))
	for _, h := range hints {
		for _, word := range h.words {
			if strings.Contains(said, word) {
				return h.kind
			}
		}
	}
	return otherwise
}

// sends reports whether the endpoint takes messages.
func sends(endpoint string) bool { return endpoint == EndpointOTP || endpoint == EndpointText }

// judge decides whether a reply is a success. It returns the object of a success, nil
// for an empty 204, or the error that the reply stands for. The rules are the same
// for all endpoints, with these exceptions: a refused token request is about the
// credentials, and only a message needs a reply that says success.
func (c *Client) judge(ctx context.Context, endpoint, bearer string, r reply) (object, *Error) {
	obj, isObject := parseObject(r.body)
	said := obj.outcome()
	if said == silent && (obj.text("error") != "" || obj.first("error") != nil || obj.first("messages").text("error") != "") {
		said = refused
	}
	denied := KindBadRequest
	if endpoint == EndpointToken {
		denied = KindCredentials
	}
	e := &Error{Endpoint: endpoint, Status: r.status, Err: r.err}

	switch s := r.status; {
	case bearer != "" && refusesToken(r, obj, said):
		e.Kind, e.stale = KindCredentials, true

	case s == http.StatusNoContent && sends(endpoint):
		return nil, nil

	case s/100 == 2:
		e.MaybeAccepted = true
		switch {
		case r.err != nil:
			e.Kind = failureKind(ctx, r.err, KindMalformed)
		case !isObject:
			e.Kind, e.Err = KindMalformed, errNotObject
		case said == refused:
			e.Kind, e.MaybeAccepted = obj.hint(denied), false
		case said == mixed:
			e.Kind, e.Err = KindMalformed, errContradiction
		case said == silent && sends(endpoint):
			e.Kind, e.Err = KindMalformed, errNoVerdict
		default:
			return obj, nil
		}

	case s == http.StatusUnauthorized:
		e.Kind = KindCredentials
	case s == http.StatusPaymentRequired:
		e.Kind = KindFunds
	case s == http.StatusTooManyRequests:
		e.Kind = KindThrottled
		e.RetryAfter, e.again = c.retryAfter(r.header)
	case s == http.StatusForbidden && isWebPage(r):
		e.Kind, e.Err = KindMalformed, errBlocked
	case s == http.StatusForbidden && sends(endpoint):
		e.Kind = obj.hint(KindFunds)
	case s == http.StatusForbidden:
		e.Kind = obj.hint(KindCredentials)
	case s == http.StatusRequestTimeout:
		e.Kind = KindUnavailable
	case s/100 == 4:
		e.Kind = obj.hint(KindBadRequest)

	case s >= 500: // past 599 too: RFC 9110 section 15
		clear := obj.outcome() == refused
		e.Kind = KindUnavailable
		if clear {
			e.Kind = obj.hint(KindUnavailable)
		}
		if s == http.StatusServiceUnavailable && said != accepted && said != mixed {
			e.RetryAfter, e.again = c.retryAfter(r.header)
		}
		e.MaybeAccepted = !clear && !e.again

	case s/100 == 3:
		// Among redirects, only 303 means that the request was carried out (RFC
		// 9110, section 15.4.4).
		e.Kind, e.MaybeAccepted = KindMalformed, s == http.StatusSeeOther
		if !keepsMethod(s) {
			e.Err = errRedirect
		}
	default:
		e.Kind, e.MaybeAccepted = KindMalformed, true
	}

	if !sends(endpoint) {
		e.MaybeAccepted = false
	}
	e.Message = c.clean(obj.complaint(), bearer)
	return nil, e
}

func isWebPage(r reply) bool {
	return strings.HasPrefix(strings.TrimSpace(string(r.body)), "<")
}

// retryAfter reads the Retry-After header, in seconds or as a date (RFC 9110, section
// 10.2.3). The result is at most a day. If the header is absent or not understood, ok
// is false.
func (c *Client) retryAfter(h http.Header) (time.Duration, bool) {
	const most = 24 * time.Hour
	value := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		return time.Duration(min(seconds, uint64(most/time.Second))) * time.Second, true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(c.now()), 0), most), true
}
