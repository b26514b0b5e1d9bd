package decimal_test

import (
	"testing"
	"unicode"

	"github.com/caddy-websms/websms/internal/decimal"
)

func TestValue(t *testing.T) {
	for zero, last := range map[rune]rune{'0': '9', '٠': '٩', '۰': '۹', '०': '९', '０': '９', '𝟎': '𝟗', '𝟘': '𝟡', '𝟶': '𝟿', '𞥐': '𞥙'} {
		for r := zero; r <= last; r++ {
			if value, ok := decimal.Value(r); !ok || rune(value) != r-zero {
				t.Errorf("%c has the value %d, %t; want %d", r, value, ok, r-zero)
			}
		}
	}
	for r := range unicode.MaxRune + 1 {
		if _, ok := decimal.Value(r); ok != unicode.Is(unicode.Nd, r) {
			t.Errorf("%U is a digit: %t", r, ok)
		}
	}
	for _, r := range []rune{'a', '/', ':', '²', '½', '①', '一', '\u200e', -1} {
		if _, ok := decimal.Value(r); ok {
			t.Errorf("%U is a digit", r)
		}
	}
}
