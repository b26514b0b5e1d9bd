package websms

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
)

// pool holds what outlives a configuration: the engines, and under them the
// vaults, the stores and the token cache. Each reference that is acquired is
// released exactly once.
var pool = caddy.NewUsagePool()

// clock is what time it is. Only tests replace it, before they load a
// configuration; everything else reads the fields that are made from it.
var clock = time.Now

// releaseShared lets go of one reference to what pool holds under key.
func releaseShared(key string) error {
	_, err := pool.Delete(key)
	return err
}

// holdings are what to let go of, in the order it was taken.
type holdings []func() error

// release lets go of all, the latest first, once.
func (r *holdings) release() error {
	var errs []error
	for i := len(*r) - 1; i >= 0; i-- {
		errs = append(errs, (*r)[i]())
	}
	*r = nil
	return errors.Join(errs...)
}

// drain is how long sendings in flight may go on after the last configuration
// that could have asked for them is gone.
const drain = 10 * time.Second

// account is a WebSMS account, with its placeholders resolved.
type account struct {
	baseURL, id, secret string
	timeout             time.Duration
	sandbox             bool
}

// key identifies the account, without telling its secret.
func (a account) key() string {
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%q %q %q %d %t", a.baseURL, a.id, a.secret, a.timeout, a.sandbox)))
}

// tokenKey identifies what a bearer token is good for.
func (a account) tokenKey() string {
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%q %q %q", a.baseURL, a.id, a.secret)))
}

// engine is an otp.Engine with all that it stands on, shared by the
// configurations that name the same account and store.
type engine struct {
	*otp.Engine
	account account
	kind    string // of store, as a configuration names it
	store   otp.Store
	vault   *vault
	client  *connexus.Client
	tokens  connexus.TokenCache // nil without an account
	failed  atomic.Pointer[failure]
	holds   holdings
}

// failure is what a call of the API failed with last.
type failure struct {
	at       time.Time
	endpoint string
	err      error
}

// openEngines returns the engines of this process: that of the configuration
// that runs, and those that end after it.
func openEngines() (open []*engine) {
	pool.Range(func(_, value any) bool {
		if e, ok := value.(*engine); ok {
			open = append(open, e)
		}
		return true
	})
	return open
}

func newEngine(a account, store StoreModule, v *vault) (caddy.Destructor, error) {
	e := &engine{vault: v, account: a}
	if module, ok := store.(caddy.Module); ok {
		e.kind = module.CaddyModule().ID.Name()
	}
	if err := e.open(a, store); err != nil {
		return nil, errors.Join(err, e.holds.release())
	}
	return e, nil
}

func (e *engine) open(a account, store StoreModule) error {
	if err := e.vault.join(); err != nil {
		return err
	}
	e.holds = append(e.holds, e.vault.release)
	challenges, release, err := store.Open()
	if err != nil {
		return fmt.Errorf("opening the store: %w", err)
	}
	e.holds = append(e.holds, release)
	e.store = challenges
	if m, ok := challenges.(*memoryStore); ok {
		m.keyedBy(e.vault.ring.Digest("memory file"))
	}
	config := otp.Config{Store: challenges, Ring: e.vault.ring, Now: clock}
	if a.id != "" && a.secret != "" {
		tokens, _, err := pool.LoadOrNew("tokens", func() (caddy.Destructor, error) { return newTokenCache() })
		if err != nil {
			return err
		}
		e.holds = append(e.holds, func() error { return releaseShared("tokens") })
		e.tokens = tokens.(*tokenCache).account(a.tokenKey())
		e.client, err = connexus.New(connexus.Config{
			BaseURL: a.baseURL, ClientID: a.id, ClientSecret: a.secret, Sandbox: a.sandbox, Timeout: a.timeout,
			Tokens: e.tokens, Now: clock, OnCall: e.called,
		})
		if err != nil {
			return fmt.Errorf("websms: %w", err)
		}
		config.Sender = tracedSender{e.client}
	}
	e.Engine = otp.NewEngine(config)
	return nil
}

// called notes one exchange with the API.
func (e *engine) called(endpoint string, took time.Duration, err error) {
	observeCall(endpoint, took, err)
	if err != nil {
		e.failed.Store(&failure{clock(), endpoint, err})
	}
}

// Destruct waits for the sendings in flight, then lets go of everything.
func (e *engine) Destruct() error {
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	e.Close(ctx)
	if e.client != nil {
		e.client.Close()
	}
	return e.holds.release()
}
