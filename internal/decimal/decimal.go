// Package decimal reads decimal digits of any script, as people type numbers and codes.
package decimal

import (
	"unicode"
	"unicode/utf8"
)

// Value returns the value of a decimal digit of any script, from 0 to 9. ok is false if r
// is no decimal digit.
//
// In Unicode, the ten digits of a script follow each other from 0 to 9. Several sets of
// digits may stand side by side without a gap, such as the mathematical ones.
func Value(r rune) (value byte, ok bool) {
	if '0' <= r && r <= '9' {
		return byte(r - '0'), true
	}
	if r < utf8.RuneSelf || !unicode.IsDigit(r) {
		return 0, false
	}
	for unicode.IsDigit(r - 1) {
		value, r = value+1, r-1
	}
	return value % 10, true
}
