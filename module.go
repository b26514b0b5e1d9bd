// Package websms is a Caddy plugin that puts SMS verification in front of a web
// application. The application itself needs no change.
//
// It has these modules:
//
//   - The gate (http.handlers.websms_otp) shows a form for a number, sends a code
//     through the WebSMS Connexus API and compares the answer. Only requests with a
//     session pass.
//   - The webhook (http.handlers.websms_webhook) receives replies and delivery reports.
//   - The app (websms) holds the account, the store of challenges and the keys, which
//     all gates and webhooks of a configuration share.
//   - The matcher (http.matchers.websms_doubtful) and the handler
//     (http.handlers.websms_identity) stand beside a gate that has a matcher.
//   - The admin endpoint (admin.api.websms) answers operators.
package websms

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/internal/logtext"
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

// App holds the WebSMS account and the store of challenges, which all gates and
// webhooks of a configuration share. A configuration with webhooks alone needs
// no account.
//
// Pending codes, tokens and sessions survive a reload, if the new configuration
// has the same account and store.
type App struct {
	// The client id of the API key (`cid_…`). Caddy replaces placeholders, such
	// as `{env.WEBSMS_CLIENT_ID}`, when it loads the configuration. Gates need it.
	ClientID string `json:"client_id,omitempty"`

	// The secret of the API key (`csk_…`). Write `{env.WEBSMS_CLIENT_SECRET}` or
	// `{file./run/secrets/websms}`, so that no configuration holds the secret.
	// Gates need it.
	ClientSecret string `json:"client_secret,omitempty"`

	// The URL of the API. Default: `https://websms.co.nz/api/connexus`.
	BaseURL string `json:"base_url,omitempty"`

	// How long one API call may take, with at most 5 seconds of it to connect.
	// From 1s to 60s. Default: `10s`.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// For a trial: WebSMS accepts messages, bills none and sends none. Off by
	// default.
	Sandbox bool `json:"sandbox,omitempty"`

	// The store of challenges. Default: `{"module": "memory"}`.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=websms.stores inline_key=module"`

	store   StoreModule
	engine  *engine
	missing error                      // the missing credentials, or nil if codes can be sent
	gates   []*Gate                    // all gates of the configuration
	checked map[*caddyhttp.Server]bool // the servers that checkHosts has looked at
	holds   holdings                   // the references that Cleanup releases
	ctx     caddy.Context
}

// stores is the namespace of the guest modules that are stores.
const stores = "websms.stores"

// defaultStore is the JSON of the store if the option is missing.
const defaultStore = `{"module":"memory"}`

// StoreModule is a module in the namespace websms.stores.
type StoreModule interface {
	// StoreKey identifies the store that Open returns. If two configurations
	// have the same key, the second one continues with the challenges of the
	// first.
	StoreKey() string

	// Open returns the store, and a function that releases it. The caller calls
	// that function once.
	Open() (otp.Store, func() error, error)

	// Start applies the options of this module to a store that Open returned.
	// Stop takes that back, and may be called without Start. If several modules
	// share a store, the options of the latest one that started apply.
	Start(store otp.Store)
	Stop(store otp.Store)
}

// Risk is an option that works but may be a mistake, with its remedy. Caddy logs it at
// each load, and the doctor prints it.
type Risk = risk.Risk

// RiskyModule is a StoreModule that can list the risks of its options. Risks may
// be called before the module is provisioned.
type RiskyModule interface {
	Risks() []Risk
}

// ArchiveModule is a StoreModule that also keeps the sealing keys and the revocations.
// So every process with the same store has the same keys. With any other store, the
// keys and the revocations are in Caddy's storage.
type ArchiveModule interface {
	// OpenArchive returns the archive, a key that identifies it as StoreKey
	// identifies the store, and a function that releases it. The caller calls
	// that function once.
	//
	// secret is the account's client_secret. An archive derives from it the key
	// that seals the sealing keys, so an empty secret is an error for an archive
	// that seals them. OpenArchive does not wait until a volatile archive answers.
	OpenArchive(secret string) (key string, archive session.Archive, release func() error, err error)
}

// keyedStore is a store that keeps keyed hashes in a file. The app calls KeyedBy before
// it uses the store, with a digest of the keys. The store discards a file that has the
// digest of other keys.
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

// Provision opens the account, the store and the keys. If a configuration before this
// one still has them open, both share them.
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
	risk.Log(logtext.Escaping(ctx.Logger()), append(a.risks(), a.storeRisks()...))
	if err := telemetry.Register(ctx.GetMetricsRegistry(), telemetry.Sources{Live: liveChallenges, Balance: lowestBalance}); err != nil {
		return fmt.Errorf("registering the metrics: %w", err)
	}
	account, err := a.account()
	if err != nil {
		return err
	}
	return a.open(ctx, account)
}

// open opens the vault, the store and the tokens, and then the engine on them. It opens
// them one after another and outside the engine's constructor: each may take long, and no
// constructor of shared.Pool may wait for another one.
func (a *App) open(ctx caddy.Context, account account) error {
	archives, _ := a.store.(ArchiveModule) // nil if Caddy's storage keeps the keys
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

// check returns an error if an option is out of range. It loads nothing.
func (a *App) check() error {
	if t := time.Duration(a.Timeout); t != 0 && (t < time.Second || t > time.Minute) {
		return wrongf("timeout", "is %s: give 1s to 60s", short(t))
	}
	if err := connexus.CheckBaseURL(a.BaseURL); err != nil {
		return wrongf("base_url", "%v", err)
	}
	return nil
}

// account returns the account with the placeholders of its credentials resolved. Missing
// credentials are no error here, because a webhook needs none: account stores that error
// in a.missing, and gates report it.
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
		a.missing = fmt.Errorf("no code can be sent without a WebSMS account: add to the block websms of the global options: %s",
			strings.Join(missing, ", "))
	}
	return resolved, nil
}

// serves reports whether a gate counts under scope and has the given mode. second is
// true for gates behind a first factor, and false for gates where people type a number.
func (a *App) serves(scope string, second bool) bool {
	return slices.ContainsFunc(a.gates, func(g *Gate) bool {
		return g.scope() == scope && (g.SecondFactor != nil) == second
	})
}

// Start applies the options of this configuration to the store.
func (a *App) Start() error {
	a.store.Start(a.engine.store)
	return nil
}

// Stop takes the options back. Cleanup then releases the shared values.
func (a *App) Stop() error {
	a.store.Stop(a.engine.store)
	return nil
}

// Cleanup releases everything that Provision acquired, the latest first. Caddy also
// calls it if Provision fails, or if Caddy refuses the configuration after Start.
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
