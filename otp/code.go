package otp

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"math/big"

	"github.com/caddy-websms/websms/internal/decimal"
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
		if value, isDigit := decimal.Value(r); isDigit {
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
