package firstfactor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/directory"
	"github.com/caddy-websms/websms/number"
)

func benchIdentify(b *testing.B, c Config, set map[string]any) {
	f, _, _ := second(b, c)
	r := behind(set)
	user, n, err := f.Identify(r)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("identify", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := f.Identify(r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("holds", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !f.Holds(r, user, n) {
				b.Fatal("does not hold")
			}
		}
	})
}

// BenchmarkIdentify measures what a second factor adds to every request.
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
	byPhone := Config{Phone: "{http.auth.user.phone}"}
	b.Run("directory", func(b *testing.B) {
		benchIdentify(b, Config{Directory: f}, map[string]any{"http.auth.user.id": "user4711@example.com"})
	})
	b.Run("phone", func(b *testing.B) {
		benchIdentify(b, byPhone, map[string]any{"http.auth.user.id": "alice", "http.auth.user.phone": "+6421234567"})
	})
	b.Run("phone-local", func(b *testing.B) {
		benchIdentify(b, byPhone, map[string]any{"http.auth.user.id": "alice", "http.auth.user.phone": "021 234 567"})
	})
}
