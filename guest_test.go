package websms

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/directory"
	"github.com/caddy-websms/websms/internal/harness"
)

// The error for a store that a plain build leaves out says how to build Caddy with it.
func TestGuestLeftOut(t *testing.T) {
	const want = `store "redis" is not built into this Caddy: build it with xcaddy build --with ` +
		`github.com/caddy-websms/websms --with github.com/caddy-websms/websms/redisstore`
	if err := leftOut("store", stores, "redis"); err == nil || err.Error() != want {
		t.Errorf("store redis: %v", err)
	}
	for namespace, name := range map[string]string{stores: "mysql", directory.Namespace: "redis"} {
		if err := leftOut("store", namespace, name); err != nil {
			t.Errorf("%s.%s, which is not ours: %v", namespace, name, err)
		}
	}

	elsewhere[stores+".left_out"] = "example.com/left_out"
	t.Cleanup(func() { delete(elsewhere, stores+".left_out") })
	const how = `store "left_out" is not built into this Caddy: build it with xcaddy build --with ` +
		`github.com/caddy-websms/websms --with example.com/left_out`
	if _, err := harness.Adapt(harness.InApp("client_id x\nstore left_out {\nanything\n}")); err == nil ||
		!strings.HasSuffix(err.Error(), ": websms: "+how+", at Caddyfile:4") {
		t.Errorf("in a Caddyfile: %v", err)
	}
	cause := errors.New("unknown module")
	if err := storeError(json.RawMessage(`{"module":"left_out"}`), cause); err == nil || err.Error() != how {
		t.Errorf("in JSON: %v", err)
	}
	for _, raw := range []string{`{"module":"memory"}`, `{"module":"mysql"}`, `{`, ``} {
		if err := storeError(json.RawMessage(raw), cause); !errors.Is(err, cause) || err.Error() != "loading the store: unknown module" {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
