package session

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

func newRing(tb testing.TB) *Ring {
	tb.Helper()
	r, err := NewRing(NewKeys(t0))
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// A sealed value opens for its own realm and purpose, and for no other.
func TestSealedIsBound(t *testing.T) {
	r := newRing(t)
	s := someSession()
	sealed, err := s.Seal(r, "app.example.com")
	if err != nil {
		t.Fatal(err)
	}
	for _, realm := range []string{"", "other.example.com", "app.example.com.", "APP.example.com"} {
		if _, err := Open(r, realm, sealed); !errors.Is(err, ErrSealed) {
			t.Errorf("opens for realm %q: %v", realm, err)
		}
	}
	for _, p := range []Purpose{ForChallenge, ForDevice, ForCode, ForRevocation} {
		if _, err := r.Open(p, "app.example.com", sealed); !errors.Is(err, ErrSealed) {
			t.Errorf("opens as a %v: %v", p, err)
		}
		other, err := r.Seal(p, "app.example.com", []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(r, "app.example.com", other); !errors.Is(err, ErrSealed) {
			t.Errorf("a %v opens as a session: %v", p, err)
		}
	}
	if _, err := Open(newRing(t), "app.example.com", sealed); !errors.Is(err, ErrSealed) {
		t.Errorf("opens with another ring's keys: %v", err)
	}
}

func TestTamperedAndTruncated(t *testing.T) {
	r := newRing(t)
	s := someSession()
	sealed, err := s.Seal(r, "realm")
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(sealed) {
		if _, err := Open(r, "realm", sealed[:i]); !errors.Is(err, ErrSealed) {
			t.Fatalf("opens when cut to %d characters", i)
		}
		for _, c := range []byte("A_z9=\n ") {
			changed := sealed[:i] + string(c) + sealed[i+1:]
			if changed == sealed {
				continue
			}
			if _, err := Open(r, "realm", changed); !errors.Is(err, ErrSealed) {
				t.Fatalf("opens with character %d changed to %q", i, c)
			}
		}
	}
	for _, more := range []string{sealed + "A", sealed + "=", sealed + "\n", sealed + sealed, strings.Repeat("A", 1<<20)} {
		if _, err := Open(r, "realm", more); !errors.Is(err, ErrSealed) {
			t.Errorf("opens with %d characters more", len(more)-len(sealed))
		}
	}
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), "21234567") {
		t.Error("the cookie shows the number")
	}
}

func TestDigestSeparates(t *testing.T) {
	r := newRing(t)
	seen := map[[32]byte]string{}
	for _, parts := range [][]string{{"a", "bc"}, {"ab", "c"}, {"abc"}, {"abc", ""}, {"", "abc"}, {}} {
		d := r.Digest("use", parts...)
		if was, twice := seen[d]; twice {
			t.Errorf("%q and %s have one digest", parts, was)
		}
		seen[d] = strings.Join(parts, "|")
	}
	if r.Digest("one", "x") == r.Digest("two", "x") {
		t.Error("two uses share a digest")
	}
}
