// Package websms puts SMS verification in front of a web application that
// knows nothing of it.
//
// The gate (http.handlers.websms_otp) shows a number form, sends a code
// through the WebSMS Connexus API, verifies it at the edge and lets only
// requests with a session pass. The webhook (http.handlers.websms_webhook)
// takes replies and delivery reports. Both share the app websms: one account,
// one store of challenges, one ring of keys.
package websms

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/internal/risk"
	"github.com/caddy-websms/websms/internal/secret"
	"github.com/caddy-websms/websms/internal/shared"
	"github.com/caddy-websms/websms/internal/telemetry"
	"github.com/caddy-websms/websms/internal/vault"
	"github.com/caddy-websms/websms/memorystore"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

func init() {
	caddy.RegisterModule(App{})
}

// App is what every gate and webhook of a configuration shares: the WebSMS
// account, and the store of challenges.
//
// What it holds lives on when a configuration is replaced by one that uses
// the same account and store: pending codes, tokens and sessions survive a
// reload.
type App struct {
	// The API key's client id (`cid_…`). Placeholders such as
	// `{env.WEBSMS_CLIENT_ID}` are replaced when the configuration is loaded.
	// Required by gates.
	ClientID string `json:"client_id,omitempty"`

	// The API key's secret (`csk_…`). Give it as `{env.WEBSMS_CLIENT_SECRET}`
	// or `{file./run/secrets/websms}`, so that it stands in no configuration.
	// Required by gates.
	ClientSecret string `json:"client_secret,omitempty"`

	// Where the API is. Default: `https://websms.co.nz/api/connexus`.
	BaseURL string `json:"base_url,omitempty"`

	// How long one API call may take, of it at most 5 seconds to connect.
	// From 1s to 60s. Default: `10s`.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// Asks WebSMS to accept messages and not to bill them.
	Sandbox bool `json:"sandbox,omitempty"`

	// Where challenges are kept. Default: `{"module": "memory"}`.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=websms.stores inline_key=module"`

	store   StoreModule
	engine  *engine
	missing error // why no code can be sent; nil when it can
	gates   []*Gate
	holds   holdings
	ctx     caddy.Context
}

// stores is the namespace of the guest modules that are stores.
const stores = "websms.stores"

const defaultStore = `{"module":"memory"}`

// StoreModule is a module in the namespace websms.stores.
type StoreModule interface {
	// StoreKey identifies what Open returns: of two configurations with the
	// same key, the second goes on with the challenges of the first.
	StoreKey() string

	// Open returns the store, and a function that lets go of it, to be called
	// once.
	Open() (otp.Store, func() error, error)

	// Start makes this module's options those of a store that it has opened,
	// or joined; Stop takes that back, and may be called without Start. Of
	// several modules that have started, the latest decides.
	Start(store otp.Store)
	Stop(store otp.Store)
}

// Risk is something in a configuration that works and may still not be wanted, with
// its remedy.
type Risk = risk.Risk

// RiskyModule is a StoreModule that can list the risks of its options. Risks may
// be called before the module is provisioned.
type RiskyModule interface {
	Risks() []Risk
}

// ArchiveModule is a StoreModule that keeps the keys and the revocations too,
// so that they are one wherever the challenges are. Those of any other are in
// Caddy's storage.
type ArchiveModule interface {
	// OpenArchive returns the archive, a key that identifies it, as StoreKey
	// does the store, and a function that lets go of it, to be called once. It
	// does not wait for an archive that is volatile to be there. The secret is
	// the account's client_secret, from which to derive what seals the keys; it
	// may be "", which is an error where they are to be sealed.
	OpenArchive(secret string) (key string, archive session.Archive, release func() error, err error)
}

// keyedStore is a store that keeps hashes in a file. KeyedBy tells it which keys
// made them, before the store is used. The store discards a file of other keys.
type keyedStore interface {
	KeyedBy(ring otp.Digest)
}

// CaddyModule returns the Caddy module information.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "websms",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision opens the account, the store and the keys, or joins those that a
// configuration before this one has open.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx = ctx
	if a.BaseURL == "" {
		a.BaseURL = connexus.DefaultBaseURL
	}
	if a.Timeout == 0 {
		a.Timeout = caddy.Duration(connexus.DefaultTimeout)
	}
	if err := a.check(); err != nil {
		return err
	}
	if a.StoreRaw == nil {
		a.StoreRaw = json.RawMessage(defaultStore)
	}
	module, err := ctx.LoadModule(a, "StoreRaw")
	if err != nil {
		return storeError(a.StoreRaw, err)
	}
	store, ok := module.(StoreModule)
	if !ok {
		return fmt.Errorf("module %T is not a store of challenges", module)
	}
	a.store = store
	risk.Log(ctx.Logger(), append(a.risks(), a.storeRisks()...))
	if err := telemetry.Register(ctx.GetMetricsRegistry(), liveChallenges); err != nil {
		return fmt.Errorf("registering the metrics: %w", err)
	}
	account, err := a.account()
	if err != nil {
		return err
	}
	return a.open(ctx, account)
}

// open acquires the vault, the store and the tokens, one after another, and then
// the engine on them. Each may wait long, and no constructor of pool may wait for
// another.
func (a *App) open(ctx caddy.Context, account account) error {
	archives, _ := a.store.(ArchiveModule) // nil if Caddy's storage keeps them
	v, err := vault.Open(ctx, archives, account.secret)
	if err != nil {
		return err
	}
	a.holds = append(a.holds, v.Release)
	challenges, release, err := a.store.Open()
	if err != nil {
		return fmt.Errorf("opening the store: %w", err)
	}
	a.holds = append(a.holds, release)
	if file, ok := challenges.(keyedStore); ok {
		file.KeyedBy(v.Ring.Digest("memory file"))
	}
	var tokens *tokenCache
	if account.complete() {
		value, _, err := shared.Pool.LoadOrNew("tokens", func() (caddy.Destructor, error) { return newTokenCache() })
		if err != nil {
			return err
		}
		a.holds = append(a.holds, func() error { return shared.Release("tokens") })
		tokens = value.(*tokenCache)
	}
	kind := ""
	if module, ok := a.store.(caddy.Module); ok {
		kind = module.CaddyModule().ID.Name()
	}
	key := fmt.Sprintf("engine %x", sha256.Sum256(fmt.Appendf(nil, "%q %q %q", account.key(), a.store.StoreKey(), v.Key())))
	value, _, err := shared.Pool.LoadOrNew(key, func() (caddy.Destructor, error) { return newEngine(account, kind, challenges, v, tokens) })
	if err != nil {
		return err
	}
	a.holds = append(a.holds, func() error { return shared.Release(key) })
	a.engine = value.(*engine)
	return a.watch(ctx)
}

// check returns what is wrong with the options that need nothing else to be judged.
func (a *App) check() error {
	if t := time.Duration(a.Timeout); t != 0 && (t < time.Second || t > time.Minute) {
		return wrongf("timeout", "is %s: give 1s to 60s", short(t))
	}
	if err := connexus.CheckBaseURL(a.BaseURL); err != nil {
		return wrongf("base_url", "%v", err)
	}
	return nil
}

// account resolves the placeholders of the credentials. That they are missing
// is not an error yet: a webhook alone needs none.
func (a *App) account() (account, error) {
	resolved := account{baseURL: a.BaseURL, timeout: time.Duration(a.Timeout), sandbox: a.Sandbox}
	var err error
	if resolved.id, err = secret.Resolve("client_id", a.ClientID); err != nil {
		return resolved, err
	}
	if resolved.secret, err = secret.Resolve("client_secret", a.ClientSecret); err != nil {
		return resolved, err
	}
	var missing []string
	for _, c := range []struct{ option, value string }{{"client_id", resolved.id}, {"client_secret", resolved.secret}} {
		if c.value == "" {
			missing = append(missing, c.option+" {env.WEBSMS_"+strings.ToUpper(c.option)+"}")
		}
	}
	if missing != nil {
		a.missing = fmt.Errorf("no code can be sent without a WebSMS account: add to the block websms of the global options: %s", strings.Join(missing, ", "))
	}
	return resolved, nil
}

// serves reports whether a gate counts under scope, and takes the number that
// somebody types or, as a second factor, of a user.
func (a *App) serves(scope string, second bool) bool {
	return slices.ContainsFunc(a.gates, func(g *Gate) bool {
		return g.scope() == scope && (g.SecondFactor != nil) == second
	})
}

// Start makes this configuration's options the store's own.
func (a *App) Start() error {
	a.store.Start(a.engine.store)
	return nil
}

// Stop takes that back. What is shared ends with its last user, in Cleanup.
func (a *App) Stop() error {
	a.store.Stop(a.engine.store)
	return nil
}

// Cleanup lets go of what Provision took, in reverse, also when Provision
// failed, or the configuration was refused after Start.
func (a *App) Cleanup() error {
	if a.engine != nil {
		a.store.Stop(a.engine.store)
	}
	return a.holds.release()
}

// Interface guards
var (
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.App          = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
	_ StoreModule        = (*memorystore.Store)(nil) // the default
)
