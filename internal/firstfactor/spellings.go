package firstfactor

import (
	"hash/maphash"
	"strings"
	"sync/atomic"

	"github.com/caddy-websms/websms/number"
)

// spellings caches parsed numbers, because parsing takes 50 times as long as the
// rest of the work for a request. The table has a fixed size: a new spelling
// replaces the one with the same hash.
type spellings struct {
	understand func(string) (number.Number, error)
	seed       maphash.Seed
	table      []atomic.Pointer[spelling]
}

// spelling is a text and the result of parsing it. It never changes.
type spelling struct {
	text string
	n    number.Number
	err  error
}

const (
	maxSpellings = 4096 // each of some 150 bytes
	maxSpelling  = 64   // in bytes; a longer text is not a number, so it is not cached
)

func newSpellings(understand func(string) (number.Number, error)) spellings {
	return spellings{understand, maphash.MakeSeed(), make([]atomic.Pointer[spelling], maxSpellings)}
}

// parse returns the number that text spells, or the error of parsing it.
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
