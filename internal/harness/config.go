package harness

import (
	"encoding/json"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// HandlerJSON returns a configuration with one handler, and an account.
func HandlerJSON(t *testing.T, handler, options string) []byte {
	t.Helper()
	config := make(map[string]any)
	if err := json.Unmarshal([]byte(options), &config); err != nil {
		t.Fatalf("%v in %s", err, options)
	}
	config["handler"] = handler
	return caddyconfig.JSON(map[string]any{"apps": map[string]any{"websms": AccountJSON(), "http": SiteJSON(config)}}, nil)
}

// AccountJSON returns the configuration of a websms app that has an account.
// more adds fields: name, JSON, name, JSON.
func AccountJSON(more ...string) map[string]any {
	config := map[string]any{"client_id": "cid_test", "client_secret": "csk_test"}
	for i := 0; i+1 < len(more); i += 2 {
		config[more[i]] = json.RawMessage(more[i+1])
	}
	return config
}

// ConfigJSON returns a configuration with these apps, in that storage.
func ConfigJSON(storage json.RawMessage, apps map[string]any) []byte {
	return caddyconfig.JSON(map[string]any{
		"admin":   map[string]any{"disabled": true, "config": map[string]bool{"persist": false}},
		"logging": map[string]any{"logs": map[string]any{"default": map[string]any{"writer": map[string]string{"output": "discard"}}}},
		"storage": storage,
		"apps":    apps,
	}, nil)
}

// SiteJSON returns an http app with one handler. It listens on a free port.
func SiteJSON(handler map[string]any) map[string]any {
	return map[string]any{"servers": map[string]any{"s": map[string]any{
		"listen": []string{"127.0.0.1:0"}, "automatic_https": map[string]bool{"disable": true},
		"routes": []any{map[string]any{"handle": []any{handler}}},
	}}}
}

// KeysFile is where the vault keeps the keys in Caddy's storage.
const KeysFile = "websms/keys.json"
