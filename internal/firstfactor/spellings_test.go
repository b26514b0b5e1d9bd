package firstfactor

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/number"
)

// The table forgets spellings, and never takes one for another.
func TestSpellings(t *testing.T) {
	parsed := 0
	s := newSpellings(func(text string) (number.Number, error) {
		parsed++
		if text[0] == 'x' {
			return number.Number{}, number.ErrInvalid
		}
		return number.Number{E164: text, Region: "NZ"}, nil
	})
	check := func(text string) {
		t.Helper()
		n, err := s.parse(text)
		if text[0] == 'x' && (!errors.Is(err, number.ErrInvalid) || n != (number.Number{})) || text[0] != 'x' && (err != nil || n.E164 != text) {
			t.Fatalf("%q is %v, %v", text, n, err)
		}
	}
	for range 100 {
		check("+6421234567")
		check("xyz")
	}
	if parsed > 2+200 || parsed < 2 { // were both in one place, none would be remembered
		t.Errorf("parsed %d times", parsed)
	}
	for i := range 5 * maxSpellings {
		check(fmt.Sprintf("+642%d", i))
		check(fmt.Sprintf("x%d", i))
	}
	held := 0
	for i := range s.table {
		if p := s.table[i].Load(); p != nil {
			held += len(p.text)
		}
	}
	if len(s.table) != maxSpellings || held > maxSpellings*maxSpelling {
		t.Errorf("%d places hold %d bytes", len(s.table), held)
	}
	before := parsed
	for range 3 {
		check("+64" + strings.Repeat("0", maxSpelling))
	}
	if parsed != before+3 {
		t.Error("a long text is remembered")
	}
}
