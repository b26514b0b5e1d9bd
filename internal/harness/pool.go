package harness

import (
	"maps"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/shared"
)

// Held returns the value of a kind that the running configuration holds in the shared
// pool. The kind is "engine", "vault" or "store". The pool must hold one value of it.
func Held(t *testing.T, kind string) any {
	t.Helper()
	var found []any
	shared.Pool.Range(func(key, value any) bool {
		if strings.HasPrefix(key.(string), kind+" ") {
			found = append(found, value)
		}
		return true
	})
	if len(found) != 1 {
		t.Fatalf("the pool holds %d of the kind %s, want 1", len(found), kind)
	}
	return found[0]
}

// References returns how many references the shared pool counts for each kind of value.
func References() map[string]int {
	var keys []string
	shared.Pool.Range(func(key, _ any) bool {
		keys = append(keys, key.(string))
		return true
	})
	counts := make(map[string]int)
	for _, key := range keys {
		n, _ := shared.Pool.References(key)
		kind, _, _ := strings.Cut(key, " ")
		counts[kind] += n
	}
	return counts
}

// OneConfiguration has the references of one running configuration in the shared pool.
var OneConfiguration = map[string]int{"engine": 1, "vault": 1, "store": 1, "tokens": 1}

// WantPool checks how many references the shared pool counts for each kind.
func WantPool(t *testing.T, want map[string]int) {
	t.Helper()
	if got := References(); !maps.Equal(got, want) {
		t.Errorf("pool holds %v, want %v", got, want)
	}
}
