package websms

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/directory"
	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/number"
)

// The table of spellings forgets, and never mistakes one for another.
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

// Many requests ask at once; run with the race detector.
func TestIdentifyAtOnce(t *testing.T) {
	f, _, _ := second(t, SecondFactorConfig{Phone: "{http.auth.user.phone}"}, nil, harness.Numbers(t, []string{"NZ"}))
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 300 {
				n := 2000000 + (g*7+i)%50
				user := fmt.Sprintf("user%d", n)
				r := behind(map[string]any{"http.auth.user.id": user, "http.auth.user.phone": fmt.Sprintf("021 %d", n)})
				want := number.Number{E164: fmt.Sprintf("+6421%d", n), Region: "NZ"}
				if got, is, err := f.identify(r); got != user || is != want || err != nil || !f.holds(r, user, want) {
					t.Errorf("%s: %q, %v, %v", user, got, is, err)
					return
				}
				_, _, _ = f.identify(behind(map[string]any{"http.auth.user.id": user, "http.auth.user.phone": "x"}))
			}
		})
	}
	wg.Wait()
}

func benchIdentify(b *testing.B, c SecondFactorConfig, d directory.Directory, set map[string]any) {
	policy := harness.Numbers(b, []string{"NZ"})
	f, _, _ := second(b, c, d, policy)
	r := benchRequest("")
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	for key, value := range set {
		repl.Set(key, value)
	}
	user, n, err := f.identify(r)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("identify", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := f.identify(r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("holds", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !f.holds(r, user, n) {
				b.Fatal("does not hold")
			}
		}
	})
}

// BenchmarkIdentify is what a second factor adds to every request.
func BenchmarkIdentify(b *testing.B) {
	var lines strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&lines, "user%d@example.com,+6421%07d\n", i, i)
	}
	f := &directory.File{Path: filepath.Join(b.TempDir(), "users.csv")}
	if err := os.WriteFile(f.Path, []byte(lines.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: b.Context()})
	defer cancel()
	if err := f.Provision(ctx); err != nil {
		b.Fatal(err)
	}
	if err := f.Open(func(spelled string) (number.Number, error) {
		return number.Number{E164: strings.Clone(spelled), Region: "NZ"}, nil
	}); err != nil {
		b.Fatal(err)
	}
	byPhone := SecondFactorConfig{Phone: "{http.auth.user.phone}"}
	b.Run("directory", func(b *testing.B) {
		benchIdentify(b, SecondFactorConfig{}, f, map[string]any{"http.auth.user.id": "user4711@example.com"})
	})
	b.Run("phone", func(b *testing.B) {
		benchIdentify(b, byPhone, nil, map[string]any{"http.auth.user.id": "alice", "http.auth.user.phone": "+6421234567"})
	})
	b.Run("phone-local", func(b *testing.B) {
		benchIdentify(b, byPhone, nil, map[string]any{"http.auth.user.id": "alice", "http.auth.user.phone": "021 234 567"})
	})
}
