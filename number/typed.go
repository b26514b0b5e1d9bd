package number

import (
	"net/url"
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers/v2"

	"github.com/caddy-websms/websms/internal/decimal"
)

// withoutScheme returns a `tel:` URI (RFC 3966) as a number that a person would type,
// and any other input as it is, without leading spaces. Parameters stay, and so shape
// refuses them: an extension gets no message.
func withoutScheme(input string) string {
	const scheme = "tel:"
	input = strings.TrimLeftFunc(input, func(r rune) bool { return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) })
	if len(input) < len(scheme) || !strings.EqualFold(input[:len(scheme)], scheme) {
		return input
	}
	input = strings.TrimPrefix(input[len(scheme):], "//")
	if strings.Contains(input, "%") {
		if unescaped, err := url.PathUnescape(input); err == nil {
			return unescaped
		}
	}
	return input
}

// plain returns an input with ASCII in place of other digits, pluses, spaces, hyphens
// and dots, and without characters that nobody sees, such as the bidirectional marks
// of a copied number. The library reads only some of them. Other characters stay.
func plain(input string) string {
	if strings.IndexFunc(input, func(r rune) bool { return r < ' ' || r > '~' }) < 0 {
		return input
	}
	return strings.Map(func(r rune) rune {
		switch {
		case ' ' <= r && r <= '~':
			return r
		case unicode.IsSpace(r):
			return ' '
		case unicode.Is(unicode.Cf, r):
			return -1
		case unicode.Is(unicode.Pd, r), r == '−':
			return '-'
		}
		if value, isDigit := decimal.Value(r); isDigit {
			return '0' + rune(value)
		}
		switch r {
		case '＋', '﹢', '⁺':
			return '+'
		case '·', '•', '‧', '・', '･':
			return '.'
		}
		return r
	}, input)
}

// splitPlus splits a plain input at a plus that stands behind a digit. It returns the
// digits in front of that plus and those behind it. Phones write such a number where
// they fill in a calling code that is there already: "+64+21 234 567".
func splitPlus(text string) (head, tail string, found bool) {
	first := strings.IndexFunc(text, isASCIIDigit)
	if first < 0 {
		return "", "", false
	}
	at := strings.IndexByte(text[first:], '+')
	if at < 0 {
		return "", "", false
	}
	return digitsOf(text[:first+at]), text[first+at+1:], true
}

// callingCode returns the calling code that digits begin with, or "" if there is none.
// No calling code begins with another one.
func callingCode(digits string) string {
	if strings.HasPrefix(digits, "0") {
		return ""
	}
	code := 0
	for i := range min(3, len(digits)) {
		code = code*10 + int(digits[i]-'0')
		if phonenumbers.GetRegionCodeForCountryCode(code) != "ZZ" {
			return digits[:i+1]
		}
	}
	return ""
}

// repeated returns the digits behind the first calling code if they begin with the same
// calling code, also behind "00". digits have no plus. The result is "" otherwise, and
// if it would be too short or too long for a number in E.164.
func repeated(digits string) string {
	code := callingCode(digits)
	if code == "" {
		return ""
	}
	rest := strings.TrimPrefix(digits[len(code):], "00")
	if !strings.HasPrefix(rest, code) || len(rest) < len(code)+minDigits || len(rest) > maxE164 {
		return ""
	}
	return rest
}

func isASCIIDigit(r rune) bool { return '0' <= r && r <= '9' }

// digitsOf returns the digits of a plain text.
func digitsOf(text string) string {
	return strings.Map(func(r rune) rune {
		if isASCIIDigit(r) {
			return r
		}
		return -1
	}, text)
}
