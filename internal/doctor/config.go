package doctor

import (
	"context"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/internal/operator"
	"github.com/caddy-websms/websms/internal/risk"
	"github.com/caddy-websms/websms/internal/routes"
)

// Reader reads a configuration of Caddy in JSON, without running it.
type Reader func(text []byte) (*Config, error)

// Config is what the commands look at in a configuration. Its functions are
// called when the command needs their result, and may be called several times.
type Config struct {
	Admin    caddy.AdminConfig
	Account  Account
	Store    Store
	Gates    []Gate
	Webhooks []Webhook
}

// Account is the account with WebSMS.
type Account struct {
	Sandbox bool // WebSMS accepts messages, and sends none
	// Resolve returns the account with its placeholders replaced, or why there is
	// none.
	Resolve func() (connexus.Config, error)
	Risks   func() []risk.Risk
}

// Store is the store of challenges.
type Store struct {
	Kind string // as a configuration names it, such as redis
	// Open opens the store. It is nil for a store that is a part of the process
	// that runs. The caller calls release once, when it is done.
	Open  func(ctx context.Context) (store LiveStore, release func(), err error)
	Risks func() []risk.Risk
}

// LiveStore is a store that tells how many challenges are live.
type LiveStore interface {
	Live(ctx context.Context, now time.Time) (int, error)
}

// Gate is a gate, and where requests reach it.
type Gate struct {
	Company string
	At      routes.Place
	Risks   func() []risk.Risk
}

// Webhook is a webhook, and where requests reach it.
type Webhook struct {
	Secret string // with its placeholders
	At     routes.Place
	Risks  func() []risk.Risk
}

// configFile is a configuration that a command looks at, without running it.
type configFile struct {
	name string // of its file
	text []byte // as JSON
	*Config
}

// file reads a configuration as Caddy does.
func (read Reader) file(path, adapter string) (*configFile, error) {
	text, name, _, err := caddycmd.LoadConfig(path, adapter)
	if err != nil {
		return nil, operator.Exitf(operator.ExitFailed, "reading the configuration: %w", err)
	}
	if len(text) == 0 {
		return nil, operator.Exitf(operator.ExitUsage, "there is no configuration here: name it with --config")
	}
	config, err := read(text)
	if err != nil {
		return nil, operator.Exitf(operator.ExitFailed, "reading %s: %w", name, err)
	}
	if config.Gates == nil && config.Webhooks == nil {
		return nil, operator.Exitf(operator.ExitFailed, "%s has no websms_otp and no websms_webhook", name)
	}
	return &configFile{name, text, config}, nil
}

// company returns who the first gate's messages are from.
func (file *configFile) company() string {
	if len(file.Gates) == 0 {
		return "Test"
	}
	return file.Gates[0].Company
}

// client returns a client for the account.
func (file *configFile) client(note func(*connexus.Config)) (*connexus.Client, error) {
	config, err := file.Account.Resolve()
	if err != nil {
		return nil, err
	}
	if note != nil {
		note(&config)
	}
	return connexus.New(config)
}
