package harness

import (
	"crypto/x509"
	"encoding/json"
	"testing"

	"github.com/caddy-websms/websms/internal/testca"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// SetAccount sets the environment that the configurations here name.
func SetAccount(t *testing.T) {
	t.Helper()
	t.Setenv("WEBSMS_CLIENT_ID", "cid_test")
	t.Setenv("WEBSMS_CLIENT_SECRET", "csk_test")
	t.Setenv("WEBSMS_WEBHOOK_SECRET", WebhookSecret)
}

// SetCertificates sets the environment that names files of certificates.
func SetCertificates(t *testing.T) {
	t.Helper()
	ca := testca.New(t)
	cert, key := ca.Files(t, x509.Certificate{})
	t.Setenv("WEBSMS_TEST_CA", ca.File)
	t.Setenv("WEBSMS_TEST_CERT", cert)
	t.Setenv("WEBSMS_TEST_KEY", key)
}

// Adapt turns a Caddyfile into JSON.
func Adapt(text string) ([]byte, error) {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	return config, err
}

// Validate provisions a configuration and cleans it up. It binds no port. Caddy's storage
// is in a folder of the test.
func Validate(t *testing.T, config []byte) error {
	t.Helper()
	cfg := new(caddy.Config)
	if err := caddy.StrictUnmarshalJSON(config, cfg); err != nil {
		return err
	}
	cfg.Admin = &caddy.AdminConfig{Disabled: true}
	cfg.StorageRaw = FileStorage(t.TempDir())
	if cfg.Logging == nil {
		silent := &caddy.CustomLog{BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"discard"}`)}}
		cfg.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": silent}}
	}
	return caddy.Validate(cfg)
}

// FileStorage returns the JSON of Caddy's storage in a folder.
func FileStorage(root string) json.RawMessage {
	return caddyconfig.JSON(map[string]string{"module": "file_system", "root": root}, nil)
}

// Indented returns JSON with one indentation, so that tests can compare it.
func Indented(t *testing.T, data []byte) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	text, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// In writes options into a block, each on its line.
func In(opening, options string) string {
	return opening + " {\n" + options + "\n}\n"
}

// InApp writes options into the block of the app.
func InApp(options string) string { return In("{\nwebsms", options) + "}\n" }

// InGate writes options into the block of a gate.
func InGate(options string) string { return In(":80 {\nwebsms_otp", "company Acme\n"+options) + "}\n" }

// InHook writes options into the block of a webhook.
func InHook(options string) string { return In(":80 {\nwebsms_webhook", "secret x\n"+options) + "}\n" }
