package websms

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/internal/clock"
	"github.com/caddy-websms/websms/internal/shared"
	"github.com/caddy-websms/websms/internal/telemetry"
	"github.com/caddy-websms/websms/internal/vault"
	"github.com/caddy-websms/websms/otp"
)

// openEngines holds the engines of three kinds of configurations: the running one, one
// that is loading, and those that are ending.
var openEngines shared.Live[*engine]

// holdings are the functions that release acquired values, in the order of acquiring.
type holdings []func() error

// release calls all functions once, the latest first.
func (h *holdings) release() error {
	var errs []error
	for i := len(*h) - 1; i >= 0; i-- {
		errs = append(errs, (*h)[i]())
	}
	*h = nil
	return errors.Join(errs...)
}

// drain is how long sends in flight may continue after the last configuration that uses
// the engine has ended.
const drain = 10 * time.Second

// liveChallenges counts the challenges of all stores in use.
func liveChallenges(ctx context.Context) (int, error) {
	sum, stores := 0, map[otp.Store]bool{}
	for _, e := range openEngines.All() {
		if stores[e.store] {
			continue
		}
		stores[e.store] = true
		live, err := e.Live(ctx)
		if err != nil {
			return 0, err
		}
		sum += live
	}
	return sum, nil
}

// lowestBalance returns the lowest of the known balances of all accounts in use.
func lowestBalance(ctx context.Context) (amount float64, ok bool) {
	for _, e := range openEngines.All() {
		if b, known := e.balance.Recent(ctx); known && (!ok || b.Amount < amount) {
			amount, ok = b.Amount, true
		}
	}
	return amount, ok
}

// account is a WebSMS account, with its placeholders resolved.
type account struct {
	baseURL, id, secret string
	timeout             time.Duration
	sandbox             bool
}

// key identifies the account, and does not reveal its secret.
func (a account) key() string {
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%q %q %q %d %t", a.baseURL, a.id, a.secret, a.timeout, a.sandbox)))
}

// complete reports whether codes can be sent with the account.
func (a account) complete() bool { return a.id != "" && a.secret != "" }

// tokenKey identifies the account and server that a bearer token belongs to.
func (a account) tokenKey() string {
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%q %q %q", a.baseURL, a.id, a.secret)))
}

// engine is an otp.Engine with its store, vault and client. Configurations that name the
// same account and store share one engine. Each of them also holds a reference to the
// vault, the store and the tokens, so these outlive the engine.
type engine struct {
	*otp.Engine
	account account
	kind    string // the name of the store's module, such as "memory"
	store   otp.Store
	vault   *vault.Vault
	client  *connexus.Client
	tokens  connexus.TokenCache      // nil without an account
	balance *telemetry.BalanceKeeper // nil without an account
	failed  atomic.Pointer[failure]  // the latest failed call; nil if there is none
}

// failure is a failed call of the API.
type failure struct {
	at       time.Time
	endpoint string
	err      error
}

// newEngine returns an engine on an open store and an open vault. It calls neither of
// them, because it runs as a constructor of shared.Pool and must not wait. tokens may be
// nil if the account is incomplete.
func newEngine(a account, kind string, store otp.Store, v *vault.Vault, tokens *tokenCache) (*engine, error) {
	e := &engine{account: a, kind: kind, store: store, vault: v}
	config := otp.Config{Store: store, Ring: v.Ring, Now: clock.Now}
	if a.complete() {
		e.tokens = tokens.account(a.tokenKey())
		var err error
		e.client, err = connexus.New(connexus.Config{
			BaseURL: a.baseURL, ClientID: a.id, ClientSecret: a.secret, Sandbox: a.sandbox, Timeout: a.timeout,
			Tokens: e.tokens, Now: clock.Now, OnCall: e.called,
		})
		if err != nil {
			return nil, fmt.Errorf("websms: %w", err)
		}
		e.balance = telemetry.NewBalanceKeeper(e.client.Balance, clock.Now)
		config.Sender = telemetry.TracedSender{Client: e.client}
	}
	e.Engine = otp.NewEngine(config)
	openEngines.Add(e)
	return e, nil
}

// called counts one call of the API, and remembers it if it failed. A balance that cannot
// be read is no fault of the sends, and must not hide one.
func (e *engine) called(endpoint string, took time.Duration, err error) {
	telemetry.ObserveCall(endpoint, took, err)
	if err != nil && endpoint != connexus.EndpointBalance {
		e.failed.Store(&failure{clock.Now(), endpoint, err})
	}
}

// Destruct implements caddy.Destructor. It waits for the sends in flight, for at most
// drain. The caller that released the engine then releases the store, the vault and the
// tokens.
func (e *engine) Destruct() error {
	openEngines.Remove(e)
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	e.Close(ctx)
	e.balance.Close() // or the client would wait for its answer
	if e.client != nil {
		e.client.Close()
	}
	return nil
}
