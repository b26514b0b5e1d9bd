package websms

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

// doctorReader reads a configuration of Caddy in JSON, without running it.
type doctorReader func(text []byte) (*doctorConfig, error)

// doctorConfig is what the commands look at in a configuration. Its functions are
// called when the command needs their result, and may be called several times.
type doctorConfig struct {
	Admin    caddy.AdminConfig
	Account  doctorAccount
	Store    doctorStore
	Gates    []doctorGate
	Webhooks []doctorWebhook
}

// doctorAccount is the account with WebSMS.
type doctorAccount struct {
	Sandbox bool // WebSMS accepts messages, and sends none
	// Resolve returns the account with its placeholders replaced, or why there is
	// none.
	Resolve func() (connexus.Config, error)
	Risks   func() []risk.Risk
}

// doctorStore is the store of challenges.
type doctorStore struct {
	Kind string // as a configuration names it, such as redis
	// Open opens the store. It is nil for a store that is a part of the process
	// that runs. The caller calls release once, when it is done.
	Open  func(ctx context.Context) (store doctorLiveStore, release func(), err error)
	Risks func() []risk.Risk
}

// doctorLiveStore is a store that tells how many challenges are live.
type doctorLiveStore interface {
	Live(ctx context.Context, now time.Time) (int, error)
}

// doctorGate is a gate, and where requests reach it.
type doctorGate struct {
	Company string
	At      routes.Place
	Risks   func() []risk.Risk
}

// doctorWebhook is a webhook, and where requests reach it.
type doctorWebhook struct {
	Secret string // with its placeholders
	At     routes.Place
	Risks  func() []risk.Risk
}

// patient is a configuration that a command looks at, without running it.
type patient struct {
	name string // of its file
	text []byte // as JSON
	*doctorConfig
}

// patient reads a configuration as Caddy does.
func (read doctorReader) patient(file, adapter string) (*patient, error) {
	text, name, _, err := caddycmd.LoadConfig(file, adapter)
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
	return &patient{name, text, config}, nil
}

// company returns who the first gate's messages are from.
func (p *patient) company() string {
	if len(p.Gates) == 0 {
		return "Test"
	}
	return p.Gates[0].Company
}

// client returns a client for the account.
func (p *patient) client(note func(*connexus.Config)) (*connexus.Client, error) {
	config, err := p.Account.Resolve()
	if err != nil {
		return nil, err
	}
	if note != nil {
		note(&config)
	}
	return connexus.New(config)
}
