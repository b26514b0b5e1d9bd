package websms

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/directory"
	"github.com/caddy-websms/websms/internal/block"
	"github.com/caddy-websms/websms/internal/firstfactor"
	"github.com/caddy-websms/websms/number"
)

// SecondFactorConfig makes the gate a second factor. A first factor in front of
// it names the user: `basic_auth`, `forward_auth` or client certificates. The
// gate sends the code to the number of that user and to no other. Give either
// `phone` or `directory`, which says where the number is.
type SecondFactorConfig struct {
	// The placeholder in which the first factor names the user. Give one
	// placeholder, with nothing around it. The gate compares users byte for
	// byte.
	//
	// A value names nobody if it is empty, longer than 255 bytes or not UTF-8.
	// The same holds for a value with a control character, or with a space at
	// either end. A client certificate names nobody unless the site's trust
	// pool verified it.
	//
	// Default: `{http.auth.user.id}`.
	User string `json:"user,omitempty"`

	// The placeholder in which the first factor gives the user's number, as
	// people of the gate's countries write it.
	Phone string `json:"phone,omitempty"`

	// The directory that has the numbers of the users.
	DirectoryRaw json.RawMessage `json:"directory,omitempty" caddy:"namespace=websms.directories inline_key=module"`
}

// user returns the placeholder of the user, with the default.
func (c SecondFactorConfig) user() string {
	if c.User == "" {
		return firstfactor.DefaultUser
	}
	return c.User
}

// check returns an error if an option is missing, is one too many or cannot name a
// user or a number.
func (c SecondFactorConfig) check() error {
	if err := firstfactor.CheckUserPlaceholder(c.user()); err != nil {
		return err
	}
	switch {
	case c.Phone != "" && given(c.DirectoryRaw):
		return wrongf("directory", "stands beside phone: keep the one that knows the numbers of the users")
	case given(c.DirectoryRaw):
		return nil
	case c.Phone == "":
		return wrongf("phone", "and directory are missing: give phone and the placeholder in which the first factor gives the number, "+
			"or directory and a CSV file of user,number")
	}
	return firstfactor.CheckPhonePlaceholder(c.Phone)
}

// checkHeaders returns an error if a placeholder reads one of the headers of h. The
// gate removes those headers from every request before it reads the placeholder.
func (c SecondFactorConfig) checkHeaders(h HeadersConfig) error {
	id := h.identity()
	for _, o := range []struct{ option, value string }{{"user", c.user()}, {"phone", c.Phone}} {
		if header, ok := firstfactor.RequestHeader(o.value); ok && id.Owns(header) {
			return wrongf("second_factor", "reads %s from the header %s, which the gate removes from every request "+
				"because it tells the upstream who was verified: give either of them another header", o.option, header)
		}
	}
	return nil
}

// warnings lists the settings that are safe only if the first factor is set up
// with care.
func (c SecondFactorConfig) warnings() []string {
	var out []string
	for _, o := range []struct{ option, value, instead string }{{"user", c.user(), "Remote-User"}, {"phone", c.Phone, "Remote-Phone"}} {
		if header, ok := firstfactor.RequestHeader(o.value); ok {
			out = append(out, fmt.Sprintf("second_factor: %s comes from the request header %s, "+
				"which any client can write unless what stands in front of the gate removes it from every request: "+
				"forward_auth does so with its copy_headers, and {http.reverse_proxy.header.%s} reads its answer itself",
				o.option, header, o.instead))
		}
		if strings.HasPrefix(o.value, "{http.regexp.") {
			out = append(out, fmt.Sprintf("second_factor: %s comes from a regular expression: "+
				"it must match what a first factor sets, and not the path, the query or a header of the client", o.option))
		}
	}
	return out
}

// provision opens the directory, if there is one, and returns the resolver that finds
// the user of a request. Call check first.
func (c *SecondFactorConfig) provision(
	ctx caddy.Context, numbers *number.Policy, logger *zap.Logger, now func() time.Time,
) (*firstfactor.Resolver, error) {
	setup := firstfactor.Config{User: c.user(), Phone: c.Phone, Numbers: numbers, Logger: logger, Now: now}
	if given(c.DirectoryRaw) {
		var err error
		if setup.Directory, err = loadDirectory(ctx, c, numbers); err != nil {
			return nil, fmt.Errorf("second_factor: %w", err)
		}
	}
	return firstfactor.New(setup), nil
}

// loadDirectory loads and opens the module of the option directory.
func loadDirectory(ctx caddy.Context, c *SecondFactorConfig, policy *number.Policy) (directory.Directory, error) {
	module, err := ctx.LoadModule(c, "DirectoryRaw")
	if err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	opened, ok := module.(directory.Directory)
	if !ok {
		return nil, fmt.Errorf("directory: module %T knows no numbers of users", module)
	}
	loading := firstfactor.NewLoading(policy)
	defer loading.Done()
	if err := opened.Open(loading.Parse); err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	return opened, nil
}

// given reports whether the JSON has an option with a value.
func given(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// parseSecondFactor returns a function that reads the option second_factor. Syntax:
//
//	second_factor {
//		user      <placeholder>
//		phone     <placeholder>
//		directory <path> | <module> [<args>…] [{ … }]
//	}
func parseSecondFactor(into **SecondFactorConfig) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		c := new(SecondFactorConfig)
		*into = c
		return block.Sub(block.Options{
			"user":      block.Text(&c.User),
			"phone":     block.Text(&c.Phone),
			"directory": c.parseDirectory,
		}, func() error { return c.check() })(d)
	}
}

// parseDirectory reads the option directory. A value with a dot or a slash is the
// path of a file. Any other value is the name of a module. So a configuration
// means the same in every Caddy, whichever modules that Caddy has.
func (c *SecondFactorConfig) parseDirectory(d *caddyfile.Dispenser) error {
	var name string
	if err := block.Text(&name)(d); err != nil {
		return err
	}
	if strings.ContainsAny(name, `./\`) {
		c.DirectoryRaw = caddyconfig.JSONModuleObject(directory.File{Path: name}, "module", "file", nil)
		return nil
	}
	var err error
	c.DirectoryRaw, err = guest(d, "directory", directory.Namespace, name, "; the path of a file holds a dot or a slash, as in ./"+name)
	return err
}
