package connexus

import (
	"errors"
	"net"
	"net/url"
	"strings"
	"unicode"
)

// maxMessage bounds Error.Message, in characters.
const maxMessage = 200

const mask = "***"

// clean makes a text of WebSMS fit for a log. It removes control and invisible
// characters, the client secret and the token. It masks every number of four digits
// or more, and so every code and telephone number, also in a local spelling. It cuts
// the text to maxMessage.
func (c *Client) clean(text, bearer string) string {
	// This comes first, because an invisible character in a secret would hide it.
	text = strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	for _, secret := range []string{c.secret, bearer} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, mask)
			text = strings.ReplaceAll(text, url.QueryEscape(secret), mask)
		}
	}
	text = strings.TrimSpace(maskNumbers(text))
	if runes := []rune(text); len(runes) > maxMessage {
		text = string(runes[:maxMessage-1]) + "…"
	}
	return text
}

// maskNumbers masks every number of four digits or more. A number may hold up to two
// grouping characters, such as a space or a hyphen, between two digits.
func maskNumbers(text string) string {
	runes := []rune(text)
	var b strings.Builder
	for i := 0; i < len(runes); {
		if !unicode.IsDigit(runes[i]) {
			b.WriteRune(runes[i])
			i++
			continue
		}
		end, digits := i, 0
		for j := i; j < len(runes) && j-end <= 2; j++ {
			if unicode.IsDigit(runes[j]) {
				digits++
				end = j + 1
			} else if !isGrouping(runes[j]) {
				break
			}
		}
		if digits >= 4 {
			b.WriteString(mask)
		} else {
			b.WriteString(string(runes[i:end]))
		}
		i = end
	}
	return b.String()
}

func isGrouping(r rune) bool {
	return strings.ContainsRune("()-", r) || unicode.IsSpace(r) || unicode.Is(unicode.Pd, r)
}

// errAfterRedirect stands for an error with a text that holds a secret.
var errAfterRedirect = errors.New("the request to the address of a redirect failed")

// safeAfterRedirect does what safe does for an error of a request to the address of a
// redirect. The error may name that address, and a server chose it, in any case.
func (c *Client) safeAfterRedirect(err error, bearer string) error {
	if err == nil {
		return nil
	}
	text := c.clean(err.Error(), bearer)
	for _, secret := range []string{c.id, c.secret, bearer} {
		if secret != "" && strings.Contains(strings.ToLower(text), strings.ToLower(secret)) {
			return errAfterRedirect
		}
	}
	if text != err.Error() {
		return errors.New(text)
	}
	return err
}

// safe returns err if its text is fit for a log, and otherwise a new error with the
// cleaned text. This is needed because an error of net/http repeats a line of the
// reply that it cannot parse, and the reply may repeat the request.
func (c *Client) safe(err error, bearer string) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return err // an address and an error of the system
	}
	if text := c.clean(err.Error(), bearer); text != err.Error() {
		return errors.New(text)
	}
	return err
}
