package otp

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"math/big"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-websms/websms/session"
)

// newCode returns a random code of length digits. All codes are equally likely.
func (e *Engine) newCode(length int) (string, error) {
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(length)), nil)
	n, err := rand.Int(e.random, limit)
	if err != nil {
		return "", fmt.Errorf("making a code: %w", err)
	}
	return fmt.Sprintf("%0*d", length, n), nil
}

// proof returns the keyed hash of a code, which a store compares. Without the key it
// does not reveal the code.
func (e *Engine) proof(id ID, code string) Digest {
	return e.ring.Digest("code", string(id[:]), code)
}

func (e *Engine) seal(id ID, code string) ([]byte, error) {
	sealed, err := e.ring.Seal(session.ForCode, string(id[:]), []byte(code))
	return []byte(sealed), err
}

func (e *Engine) open(id ID, sealed []byte) (string, error) {
	code, err := e.ring.Open(session.ForCode, string(id[:]), string(sealed))
	return string(code), err
}

// ReadCode reads a code as people and phones write it. It takes the decimal digits of any
// script, and drops everything else. It takes a code once that stands there twice, because
// some phones fill it in twice. It reports false if the text does not hold exactly length
// digits, and so cannot be the code. A code of remote, which WebSMS made, has 4 to 8 digits.
func ReadCode(text string, length int, remote bool) (code string, ok bool) {
	least, most := length, length
	if remote {
		least, most = minRemote, maxRemote
	}
	digits := make([]byte, 0, 2*maxRemote)
	for _, r := range text {
		if value, isDigit := digitOf(r); isDigit {
			digits = append(digits, '0'+value)
		}
		if len(digits) > 2*most {
			return "", false
		}
	}
	if half := len(digits) / 2; len(digits) > most && bytes.Equal(digits[:half], digits[half:]) {
		digits = digits[:half]
	}
	return string(digits), least <= len(digits) && len(digits) <= most
}

// digitOf returns the value of a decimal digit of any script. In Unicode, the ten digits of
// a script follow each other from 0 to 9. So do several sets of digits without a gap, such
// as the mathematical ones.
func digitOf(r rune) (value byte, ok bool) {
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
