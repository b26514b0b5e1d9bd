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

// clean makes text that came from outside fit for a log: without control and
// invisible characters, without the client secret and the token, every number of
// four digits or more masked (that is: each code and telephone number, also in a
// local spelling), and short.
func (c *Client) clean(text, bearer string) string {
	// First, so that a character in the middle of a secret does not hide it.
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

// maskNumbers masks every number of four digits or more. Digits belong together
// also across up to two of the characters that people group numbers with.
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

// safe returns err, with its chain unless its text quotes something that must not
// be shown: net/http repeats in its errors the lines of a reply that it cannot parse,
// and the other side may have written there what it was sent.
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
