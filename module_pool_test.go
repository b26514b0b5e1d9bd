package websms

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/otp"
)

// probe is an app in the same configuration as ours. It reads the engine that our app has
// provisioned, and fails if the test tells it to.
type probe struct {
	FailAt string `json:"fail_at,omitempty"` // provision, validate or start
}

// probed gets the engine of each configuration that has a probe.
var probed = func(*engine) {}

var errProbe = errors.New("the probe fails, as it was told")

func init() { caddy.RegisterModule(probe{}) }

func (probe) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "websms_probe", New: func() caddy.Module { return new(probe) }}
}

func (p *probe) fail(at string) error {
	if p.FailAt == at {
		return errProbe
	}
	return nil
}

func (p *probe) Provision(ctx caddy.Context) error {
	app, err := ctx.App("websms")
	if err != nil {
		return err
	}
	probed(app.(*App).engine)
	return p.fail("provision")
}

func (p *probe) Validate() error { return p.fail("validate") }
func (p *probe) Start() error    { return p.fail("start") }
func (p *probe) Stop() error     { return nil }

// activeEngine returns the engine of the running configuration.
func activeEngine(t *testing.T) *engine {
	t.Helper()
	app, err := caddy.ActiveContext().AppIfConfigured("websms")
	if err != nil {
		t.Fatal(err)
	}
	return app.(*App).engine
}

// If a configuration fails, it releases each shared value exactly once. This holds for a failure at
// any step, with or without another running configuration.
func TestFailureReleasesAll(t *testing.T) {
	storage := harness.FileStorage(t.TempDir())
	damaged := t.TempDir()
	harness.WriteFile(t, filepath.Join(damaged, harness.KeysFile), "no keys")
	gate := func(more ...string) map[string]any {
		config := harness.AccountJSON(more...)
		delete(config, "client_id")
		delete(config, "client_secret")
		config["handler"], config["company"] = "websms_otp", "Acme"
		return config
	}
	cases := []struct {
		name    string
		storage json.RawMessage
		apps    map[string]any
		want    string
	}{
		{"unknown store", storage, map[string]any{"websms": harness.AccountJSON("store", `{"module":"none"}`)}, "websms.stores.none"},
		{"option of the store", storage, map[string]any{"websms": harness.AccountJSON("store", `{"module":"memory","capacity":-1}`)},
			"capacity is -1: give 1 to 10000000"},
		{"timeout", storage, map[string]any{"websms": harness.AccountJSON("timeout", `"2m"`)}, "timeout is 2m: give 1s to 60s"},
		{"address", storage, map[string]any{"websms": harness.AccountJSON("base_url", `"ftp://x"`)}, "base_url needs a scheme and a host"},
		{"account that the client refuses", storage, map[string]any{"websms": harness.AccountJSON("client_id", `"cid\n"`)},
			"the client id begins or ends with white space"},
		{"damaged keys", harness.FileStorage(damaged), map[string]any{"websms": harness.AccountJSON()},
			"websms/keys.json in Caddy's storage is not JSON"},
		{"no account", storage, map[string]any{"http": harness.SiteJSON(gate())},
			"client_id {env.WEBSMS_CLIENT_ID}, client_secret {env.WEBSMS_CLIENT_SECRET}"},
		{"list of numbers", storage,
			map[string]any{"websms": harness.AccountJSON(), "http": harness.SiteJSON(gate("numbers", `{"allow_file":"/nope"}`))}, "allow_file"},
		{"another handler", storage,
			map[string]any{"websms": harness.AccountJSON(), "http": harness.SiteJSON(map[string]any{"handler": "nope"})}, "nope"},
		{"another app, provisioning", storage, map[string]any{"websms": harness.AccountJSON(), "websms_probe": probe{"provision"}},
			errProbe.Error()},
		{"another app, validating", storage, map[string]any{"websms": harness.AccountJSON(), "websms_probe": probe{"validate"}},
			errProbe.Error()},
		{"another app, starting", storage, map[string]any{"websms": harness.AccountJSON(), "websms_probe": probe{"start"}}, errProbe.Error()},
	}
	fail := func(t *testing.T, held map[string]int) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				for range 2 {
					err := caddy.Load(harness.ConfigJSON(c.storage, c.apps), true)
					if err == nil || !strings.Contains(err.Error(), c.want) {
						t.Errorf("the error is %v, want %s", err, c.want)
					}
					if err != nil && strings.Contains(err.Error(), "csk_test") {
						t.Errorf("the error holds the secret: %v", err)
					}
					harness.WantPool(t, held)
				}
			})
		}
	}
	t.Run("alone", func(t *testing.T) { fail(t, nil) })
	t.Run("beside another", func(t *testing.T) {
		w := harness.Start(t, harness.Setup{})
		b := w.Browser()
		code := b.Ask("+6421234567")
		fail(t, harness.OneConfiguration)
		if a := b.Post("/.websms/verify", []string{"code", code}, harness.API); a.StatusCode != http.StatusOK {
			t.Errorf("the one that runs was disturbed: %s %s", a.Status, a.Text)
		}
	})
	harness.WantPool(t, nil)
}

// Two configurations with the same account and store share one engine. The second one keeps it when
// the first one ends. With another timeout there is a new engine on the same store and keys.
func TestEngineShared(t *testing.T) {
	storage := harness.FileStorage(t.TempDir())
	load := func(app map[string]any) (seen *engine, held map[string]int) {
		t.Helper()
		probed = func(e *engine) { seen, held = e, harness.References() }
		defer func() { probed = func(*engine) {} }()
		if err := caddy.Load(harness.ConfigJSON(storage, map[string]any{"websms": app, "websms_probe": probe{}}), true); err != nil {
			t.Fatal(err)
		}
		return seen, held
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
		harness.WantPool(t, nil)
	})
	first, held := load(harness.AccountJSON())
	if !maps.Equal(held, harness.OneConfiguration) {
		t.Errorf("one configuration holds %v, want %v", held, harness.OneConfiguration)
	}
	second, held := load(harness.AccountJSON())
	if want := map[string]int{"engine": 2, "vault": 2, "store": 2, "tokens": 2}; second != first || !maps.Equal(held, want) {
		t.Errorf("two alike: same engine %t, holding %v, want %v", second == first, held, want)
	}
	harness.WantPool(t, harness.OneConfiguration)
	for _, c := range []struct {
		name string
		app  map[string]any
	}{
		{"timeout", harness.AccountJSON("timeout", `"5s"`)},
		{"sandbox", harness.AccountJSON("sandbox", `true`)},
		{"secret", harness.AccountJSON("client_secret", `"csk_other"`)},
		{"id", harness.AccountJSON("client_id", `"cid_other"`)},
		{"address", harness.AccountJSON("base_url", `"https://websms.example"`)},
	} {
		before := activeEngine(t)
		other, held := load(c.app)
		if want := map[string]int{"engine": 2, "vault": 2, "store": 2, "tokens": 2}; other == before || !maps.Equal(held, want) {
			t.Errorf("another %s: same engine %t, holding %v, want %v", c.name, other == before, held, want)
		}
		if other.vault != before.vault {
			t.Errorf("another %s: the keys are others", c.name)
		}
		harness.WantPool(t, harness.OneConfiguration)
	}
	before := activeEngine(t)
	if same, _ := load(harness.AccountJSON("base_url", `"https://websms.example"`, "store",
		`{"module":"memory","capacity":5}`)); same != before {
		t.Error("another capacity makes another engine")
	}
	// The environment has the same secret as the configuration before.
	t.Setenv("WEBSMS_CLIENT_SECRET", "csk_test")
	first, _ = load(harness.AccountJSON())
	if same, _ := load(harness.AccountJSON("client_secret", `"{env.WEBSMS_CLIENT_SECRET}"`)); same != first {
		t.Error("the same secret, out of the environment, makes another engine")
	}
}

// A reload loses no state: codes, sessions, the token, and the counts of the limits stay.
func TestReload(t *testing.T) {
	w := harness.Start(t, harness.Setup{})
	waiting, inside := w.Browser(), w.Browser()
	inside.Login("+6421555001")
	code := waiting.Ask("+6421555002")
	before := activeEngine(t)
	for _, c := range []struct {
		app  string
		same bool
	}{{"", true}, {"timeout 7s", false}, {"store memory {\ncapacity 10\n}", false}} {
		text := strings.Replace(w.Config(""), "client_id cid_demo", "client_id cid_demo\n"+c.app, 1)
		if err := harness.LoadCaddyfile(text); err != nil {
			t.Fatal(err)
		}
		w.AwaitReload()
		waiting.Client.CloseIdleConnections()
		inside.Client.CloseIdleConnections()
		if same := activeEngine(t) == before; same != c.same {
			t.Errorf("%q: same engine: %t", c.app, same)
		}
		if a := inside.Get("/timesheet", harness.Page); a.StatusCode != http.StatusOK {
			t.Errorf("%q: the session is gone: %s", c.app, a.Status)
		}
		if a := waiting.Get("/.websms/status", harness.API); a.JSON("status") == nil {
			t.Errorf("%q: the code is gone: %s %s", c.app, a.Status, a.Text)
		}
	}
	if a := waiting.Post("/.websms/verify", []string{"code", code}, harness.API); a.StatusCode != http.StatusOK {
		t.Errorf("the code is not taken: %s %s", a.Status, a.Text)
	}
	if n := w.Sim.Counts().TokenRequests; n != 1 {
		t.Errorf("%d token requests, want 1", n)
	}
	harness.WantPool(t, harness.OneConfiguration)
}

// Validating a configuration does not change the running one, even if both name the same store and
// storage.
func TestValidateDisturbsNothing(t *testing.T) {
	w := harness.Start(t, harness.Setup{})
	b := w.Browser()
	code := b.Ask("+6421234567")
	text := strings.Replace(w.Config(""), "client_id cid_demo", "client_id cid_demo\nstore memory {\ncapacity 1\n}", 1)
	config, err := harness.Adapt(text)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		cfg := new(caddy.Config)
		if err := caddy.StrictUnmarshalJSON(config, cfg); err != nil {
			t.Fatal(err)
		}
		if err := caddy.Validate(cfg); err != nil {
			t.Fatal(err)
		}
		harness.WantPool(t, harness.OneConfiguration)
	}
	w.Browser().Ask("+6421234568") // its capacity of 1 was not applied
	if a := b.Post("/.websms/verify", []string{"code", code}, harness.API); a.StatusCode != http.StatusOK {
		t.Errorf("the code is not taken: %s %s", a.Status, a.Text)
	}
}

// unopenedStore is a store that fails to open.
type unopenedStore struct{}

func init() { caddy.RegisterModule(unopenedStore{}) }

func (unopenedStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "websms.stores.unopened", New: func() caddy.Module { return new(unopenedStore) }}
}

func (unopenedStore) StoreKey() string { return "store unopened" }

func (unopenedStore) Open() (otp.Store, func() error, error) {
	return nil, nil, context.DeadlineExceeded
}

// A store that fails to open leaves nothing behind.
func TestStoreFailsToOpen(t *testing.T) {
	err := caddy.Load(harness.ConfigJSON(harness.FileStorage(t.TempDir()),
		map[string]any{"websms": harness.AccountJSON("store", `{"module":"unopened"}`)}), true)
	if err == nil || !strings.Contains(err.Error(), "opening the store: "+context.DeadlineExceeded.Error()) {
		t.Errorf("the error is %v", err)
	}
	harness.WantPool(t, nil)
}

func (unopenedStore) Start(otp.Store) {}
func (unopenedStore) Stop(otp.Store)  {}
