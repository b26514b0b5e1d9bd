package otp

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"strings"

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

// digits returns a typed code without the spaces and hyphens that phones and people
// put between digits.
func digits(code string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case ' ', '\t', '\r', '\n', '-', '\u00a0', '\u2009', '\u202f':
			return -1
		}
		return r
	}, code)
}
