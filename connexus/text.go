package connexus

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text is a message without a code, such as "A passkey was added to your account."
type Text struct {
	// To is the number in E.164, as in [OTP]. Required.
	To string
	// Body is the whole text. It may have several lines. Required.
	Body string
}

// SendText sends a message without a code. It has the errors of [Client.SendOTP] and
// tries again under the same rules. The Code of its Receipt is empty.
func (c *Client) SendText(ctx context.Context, text Text) (Receipt, error) {
	if err := text.check(); err != nil {
		return Receipt{}, &Error{Kind: KindBadRequest, Endpoint: EndpointText, Err: err}
	}
	form := url.Values{"to": {strings.TrimPrefix(text.To, "+")}, "body": {text.Body}}
	if c.sandbox {
		form.Set("sandbox", "1")
	}
	var receipt Receipt
	err := c.call(ctx, EndpointText, form, func(obj object) *Error {
		receipt.MessageID = obj.id()
		return nil
	})
	return receipt, err
}

// check returns an error if the message is wrong. The error does not repeat the number
// or the text.
func (t Text) check() error {
	switch {
	case !isE164(t.To):
		return errNumber
	case strings.TrimSpace(t.Body) == "":
		return errors.New("the body is empty: write the text of the message")
	case !utf8.ValidString(t.Body) || strings.ContainsFunc(t.Body, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }):
		return errors.New("the body is not UTF-8, or holds control characters: remove them; a line ends with \\n")
	}
	return nil
}
