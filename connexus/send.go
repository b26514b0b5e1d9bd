package connexus

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	// retryPause is the shortest wait before a second try.
	retryPause = 250 * time.Millisecond
	// maxRetryAfter is the longest Retry-After that a call waits for. A person is
	// waiting for the code, and the try needs the other half of the usual Timeout.
	maxRetryAfter = 5 * time.Second
	// autoCode is the length of the codes that WebSMS makes (WebSMS developer
	// guide, step 4).
	autoCode = 6
)

// OTP is a message that carries a one-time code (WebSMS developer guide, step 4):
// "482174 is your MyApp verification code. Valid for 5 minutes."
type OTP struct {
	// To is the number in E.164, 7 to 15 digits, with or without the '+'. Required.
	To string
	// Company is the brand in the message. Required.
	Company string
	// Comment is a sentence after the code, or empty.
	Comment string
	// Code is 4 to 8 digits, or empty to let WebSMS make one of 6.
	Code string
	// WebOTPDomain is the host of the pages that may read the code by the WebOTP
	// API, without scheme and port, or empty.
	WebOTPDomain string
}

// Receipt is the reply of WebSMS for a message that it took.
type Receipt struct {
	// MessageID is the id that delivery reports will name, or empty.
	MessageID string
	// Code is the code of the message according to the reply, 4 to 8 digits, or
	// empty. If the reply writes it as a number, its leading zeros are lost. They
	// are put back, up to the length of OTP.Code or up to 6 digits.
	Code string
}

// SendOTP sends a message. It returns when WebSMS has taken or refused the message,
// or when ctx or the client's Timeout ends.
//
// The error is an [*Error]. If its MaybeAccepted is true, the message may arrive
// nevertheless: do not send it again, and count it as sent. A message that WebSMS
// would never take, such as one to a number of 3 digits, is not sent, and the error
// has KindBadRequest.
func (c *Client) SendOTP(ctx context.Context, otp OTP) (Receipt, error) {
	if err := otp.check(); err != nil {
		return Receipt{}, &Error{Kind: KindBadRequest, Endpoint: EndpointOTP, Err: err}
	}
	var receipt Receipt
	err := c.call(ctx, EndpointOTP, otp.form(c.sandbox), func(obj object) *Error {
		receipt = Receipt{MessageID: obj.id(), Code: obj.code(otp.Code)}
		return nil
	})
	return receipt, err
}

// call posts a form with the bearer token, until WebSMS has taken or refused it. If
// WebSMS refuses the token, call renews it and tries again, once. It also tries again
// once if the form cannot have been accepted. read gets the object of a success, which
// is nil for an empty 204.
func (c *Client) call(ctx context.Context, endpoint string, form url.Values, read func(object) *Error) error {
	if !c.begin() {
		return closedError(endpoint)
	}
	defer c.running.Done()
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()

	var rejected Token
	for renewed, retried := false, false; ; {
		t, err := c.bearer(ctx, rejected)
		if err != nil {
			return err
		}
		e := c.post(ctx, endpoint, t, form, read)
		switch {
		case e == nil:
			return nil
		case e.stale && !renewed:
			renewed, rejected = true, t
		case !retried && c.pause(ctx, e):
			retried = true
		default:
			return e
		}
	}
}

// post posts the form once.
func (c *Client) post(ctx context.Context, endpoint string, t Token, form url.Values, read func(object) *Error) (e *Error) {
	start := time.Now()
	defer func() { c.tell(endpoint, start, e) }()

	r, e := c.exchange(ctx, endpoint, t.Value, form)
	if e == nil {
		var obj object
		if obj, e = c.judge(ctx, endpoint, t.Value, r); e == nil {
			e = read(obj)
		}
	}
	if e != nil && !sends(endpoint) {
		e.MaybeAccepted = false
	}
	return e
}

// pause waits before a second try and reports whether to make it. There is none if
// the first message may have been accepted, or if the wait is longer than
// maxRetryAfter or the rest of the call.
func (c *Client) pause(ctx context.Context, e *Error) bool {
	wait := max(e.RetryAfter, retryPause)
	if !e.again || wait > maxRetryAfter {
		return false
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// tell reports an exchange to Config.OnCall.
func (c *Client) tell(endpoint string, start time.Time, e *Error) {
	if c.onCall == nil {
		return
	}
	var err error // a nil *Error is not a nil error
	if e != nil {
		err = e
	}
	c.onCall(endpoint, time.Since(start), err)
}

// form returns the fields of the request (WebSMS developer guide, step 4).
func (o OTP) form(sandbox bool) url.Values {
	form := url.Values{"to": {strings.TrimPrefix(o.To, "+")}}
	for _, field := range []struct{ name, value string }{
		{"msgCompany", o.Company},
		{"msgComment", o.Comment},
		{"msgCode", o.Code},
		{"webOtpDomain", o.WebOTPDomain},
	} {
		if field.value != "" {
			form.Set(field.name, field.value)
		}
	}
	if sandbox {
		form.Set("sandbox", "1")
	}
	return form
}

// check returns an error if the message is wrong. The error does not repeat the number
// or the code.
func (o OTP) check() error {
	switch {
	case !isE164(o.To):
		return errNumber
	case strings.TrimSpace(o.Company) == "":
		return errors.New("the company is empty: name who sends the code")
	case !isLine(o.Company):
		return errors.New("the company is not one line of UTF-8: remove control characters")
	case !isLine(o.Comment):
		return errors.New("the comment is not one line of UTF-8: remove control characters")
	case o.Code != "" && !isDigits(o.Code, 4, 8):
		return errors.New("the code is not 4 to 8 digits: leave it empty to let WebSMS make one")
	case o.WebOTPDomain != "" && !isHost(o.WebOTPDomain):
		return errors.New("the WebOTP domain is not a host name: write it without scheme and port")
	}
	return nil
}

var errNumber = errors.New("the number is not E.164: write country code and number, 7 to 15 digits")

// isE164 reports whether to is a number with or without the '+'. No country code begins
// with 0.
func isE164(to string) bool {
	to = strings.TrimPrefix(to, "+")
	return isDigits(to, 7, 15) && to[0] != '0'
}

func isDigits(s string, least, most int) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return least <= len(s) && len(s) <= most
}

// isLine reports whether s is UTF-8 without control characters and line breaks. With a
// line break, a comment could forge the last line of the message, which WebOTP reads.
func isLine(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || r == '\u2028' || r == '\u2029'
	})
}

// isHost reports whether s is a host name by RFC 1123, section 2.1, with at most 253
// characters. It also allows the underscore, which real names have.
func isHost(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			b := label[i]
			if !('a' <= b|0x20 && b|0x20 <= 'z' || '0' <= b && b <= '9' || b == '-' || b == '_') {
				return false
			}
		}
	}
	return len(s) <= 253
}

// code reads the code in the reply to a message. The argument sent is the code of the
// message, or empty.
func (o object) code(sent string) string {
	if o.text("code") == "" {
		o = o.first("messages")
	}
	code := strings.TrimSpace(o.text("code"))
	if o.isNumber("code") {
		want := autoCode
		if sent != "" {
			want = len(sent)
		}
		code = strings.Repeat("0", max(0, want-len(code))) + code
	}
	if !isDigits(code, 4, 8) {
		return ""
	}
	return code
}
