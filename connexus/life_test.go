package connexus

import (
	"testing"
	"time"
)

// A token is renewed 5 minutes before its end. If its life is not longer than that, it
// is renewed after four fifths of it.
func TestRefreshAt(t *testing.T) {
	issued := time.Unix(1_800_000_000, 0)
	for _, c := range []struct{ life, after time.Duration }{
		{24 * time.Hour, 23*time.Hour + 55*time.Minute},
		{10 * time.Minute, 5 * time.Minute},
		{302 * time.Second, 2 * time.Second},
		{5 * time.Minute, 4 * time.Minute},
		{10 * time.Second, 8 * time.Second},
	} {
		token := Token{Value: "wst_x", IssuedAt: issued, ExpiresAt: issued.Add(c.life)}
		if got := token.refreshAt().Sub(issued); got != c.after {
			t.Errorf("a token of %s is renewed after %s, want %s", c.life, got, c.after)
		}
	}
}
