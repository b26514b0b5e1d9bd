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

// Reader reads a Caddy configuration in JSON. It does not run it.
type Reader func(text []byte) (*Config, error)

// Config is the part of a configuration that the commands look at. A command calls
// the functions in it when it needs their results, and maybe more than once.
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
	// Resolve replaces the placeholders and returns the account. It returns an
	// error if there is no account, or a placeholder is empty.
	Resolve func() (connexus.Config, error)
	Risks   func() []risk.Risk
}

// Store is the store of challenges.
type Store struct {
	Kind string // the name of its module, such as redis
	// Open opens the store. It is nil for a store inside the running Caddy, which
	// no other process can open. The caller calls release once, at the end.
	Open  func(ctx context.Context) (store LiveStore, release func(), err error)
	Risks func() []risk.Risk
}

// LiveStore is a store that counts its live challenges.
type LiveStore interface {
	Live(ctx context.Context, now time.Time) (int, error)
}

// Gate is a gate and its place among Caddy's routes.
type Gate struct {
	Company string
	At      routes.Place
	Risks   func() []risk.Risk
}

// Webhook is a webhook and its place among Caddy's routes.
type Webhook struct {
	Secret string // its placeholders are not replaced
	At     routes.Place
	Risks  func() []risk.Risk
}

// configFile is the configuration that a command looks at.
type configFile struct {
	name string // the path of the file
	text []byte // as JSON
	*Config
}

// file reads a configuration file as `caddy run` does.
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

// company returns the company of the first gate.
func (file *configFile) company() string {
	if len(file.Gates) == 0 {
		return "Test"
	}
	return file.Gates[0].Company
}

// client returns a client of the WebSMS API for the account. The function note may
// change the client's configuration first.
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
