package firstfactor

import (
	"hash/maphash"
	"strings"
	"sync/atomic"

	"github.com/caddy-websms/websms/number"
)

// spellings remembers how numbers were spelled, because to parse one takes 50
// times as long as all else that a request costs. It is a table of fixed size,
// in which the latest spelling takes the place of one with the same hash.
type spellings struct {
	understand func(string) (number.Number, error)
	seed       maphash.Seed
	table      []atomic.Pointer[spelling]
}

// spelling is what became of a text; it does not change.
type spelling struct {
	text string
	n    number.Number
	err  error
}

const (
	maxSpellings = 4096 // of some 150 bytes
	maxSpelling  = 64   // bytes; what is longer is no number, and not worth a place
)

func newSpellings(understand func(string) (number.Number, error)) spellings {
	return spellings{understand, maphash.MakeSeed(), make([]atomic.Pointer[spelling], maxSpellings)}
}

// parse understands text as a number.
func (s *spellings) parse(text string) (number.Number, error) {
	if len(text) > maxSpelling {
		return s.understand(text)
	}
	place := &s.table[maphash.String(s.seed, text)%maxSpellings]
	if known := place.Load(); known != nil && known.text == text {
		return known.n, known.err
	}
	n, err := s.understand(text)
	place.Store(&spelling{strings.Clone(text), n, err})
	return n, err
}
