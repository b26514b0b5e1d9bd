package harness

import (
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/shared"
)

// Held returns what the running configuration holds of a kind in the shared
// pool: "engine", "vault" or "store". The pool must hold one of that kind.
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
