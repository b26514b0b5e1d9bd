// Package logtext makes texts of strangers harmless in a log.
//
// A reply to an SMS, the name of a user or an error of WebSMS may hold characters that
// change how a terminal or an editor shows a line: control characters, bidirectional
// marks, line separators, and characters without a width. The encoders of zap write
// them as they are, except those below U+0020.
//
// The package promises:
//
//   - A logger of [Escaping] writes no such character, in any field and with any encoder.
//   - An escape is readable, such as `\u202e`, and [Escape] can be reversed.
//   - No text is longer than [MaxText] before it is escaped.
package logtext

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxText is the longest text of a log line, in bytes. A longer text is cut, and ends
// with "…". An escape takes at most six times the bytes of its character.
const MaxText = 16 << 10

// Escape returns text with each harmful character as an escape: `\u202e`, or
// `\U000e0041` beyond U+FFFF. A character is harmful if it is
//
//   - a control character from U+007F to U+009F,
//   - a format character (Unicode category Cf), such as a bidirectional mark or a byte
//     order mark, except U+200C and U+200D, which Persian, Hindi and emoji need,
//   - a line or paragraph separator (U+2028, U+2029).
//
// Characters below U+0020 stay, because the encoders of zap escape them in a field.
//
// A backslash stays too, except where it would look like the beginning of an escape.
// There it is `\u005c`. So two texts never have the same result. Bytes that are not UTF-8
// become U+FFFD.
func Escape(text string) string { return escape(text, false) }

// escape is Escape. With line, it also escapes characters below U+0020: the console
// encoder of zap writes them raw in the message of a line.
func escape(text string, line bool) string {
	clean := 0 // the bytes that need no escape
	for clean < len(text) {
		r, size := utf8.DecodeRuneInString(text[clean:])
		if r == utf8.RuneError && size == 1 || isHarmful(r, line) || looksEscaped(text[clean:]) {
			break
		}
		clean += size
	}
	if clean == len(text) {
		return text
	}
	var b strings.Builder
	b.WriteString(text[:clean])
	for i, r := range text[clean:] {
		switch {
		case looksEscaped(text[clean+i:]), isHarmful(r, line) && r <= 0xFFFF:
			fmt.Fprintf(&b, `\u%04x`, r)
		case isHarmful(r, line):
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			b.WriteRune(r) // U+FFFD for a byte that is not UTF-8
		}
	}
	return b.String()
}

// isHarmful reports whether a character may not stand in a log: in the message of a
// line, or in a field.
func isHarmful(r rune, line bool) bool {
	switch {
	case r < ' ':
		return line
	case r < 0x7F:
		return false
	case r == '\u200c', r == '\u200d':
		return false
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// looksEscaped reports whether text begins as an escape does.
func looksEscaped(text string) bool {
	if len(text) < 2 || text[0] != '\\' {
		return false
	}
	digits := 0
	switch text[1] {
	case 'u':
		digits = 4
	case 'U':
		digits = 8
	default:
		return false
	}
	if len(text) < 2+digits {
		return false
	}
	for _, c := range []byte(text[2 : 2+digits]) {
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F') {
			return false
		}
	}
	return true
}

// Cut returns the first bytes of text, at most limit, and "…" in place of the rest. It
// cuts no character in two.
func Cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	end := limit
	for end > max(0, limit-utf8.UTFMax) && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
