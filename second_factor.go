package websms

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/directory"
	"github.com/caddy-websms/websms/internal/firstfactor"
	"github.com/caddy-websms/websms/number"
)

// SecondFactorConfig makes the gate a second factor: somebody in front of it,
// such as `basic_auth`, `forward_auth` or a client certificate, has named the
// user already, and the code goes to the number of that user and no other.
// Exactly one of phone and directory says which number that is.
type SecondFactorConfig struct {
	// The placeholder in which the first factor names the user: one
	// placeholder, with nothing around it. What it holds is compared byte for
	// byte. Nobody is named by what is empty, over 255 bytes, not in UTF-8,
	// with spaces around it or with a control character in it; nor by a client
	// certificate that was not verified against a trust pool. Default:
	// `{http.auth.user.id}`.
	User string `json:"user,omitempty"`

	// The placeholder in which the first factor gives the number of the user,
	// in any spelling that people of the gate's countries understand.
	Phone string `json:"phone,omitempty"`

	// The directory that knows the numbers of the users.
	DirectoryRaw json.RawMessage `json:"directory,omitempty" caddy:"namespace=websms.directories inline_key=module"`
}

func (c SecondFactorConfig) user() string {
	if c.User == "" {
		return firstfactor.DefaultUser
	}
	return c.User
}

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
		return wrongf("phone", "and directory are missing: give phone and the placeholder in which the first factor gives the number, or directory and a CSV file of user,number")
	}
	return firstfactor.CheckPhonePlaceholder(c.Phone)
}

// checkHeaders reports a placeholder that reads what the gate removes from
// every request before it looks at it: the headers that h names.
func (c SecondFactorConfig) checkHeaders(h HeadersConfig) error {
	id := h.identity()
	for _, o := range []struct{ option, value string }{{"user", c.user()}, {"phone", c.Phone}} {
		if header, ok := firstfactor.RequestHeader(o.value); ok && id.Owns(header) {
			return wrongf("second_factor", "reads %s from the header %s, which the gate removes from every request because it tells the upstream who was verified: give either of them another header", o.option, header)
		}
	}
	return nil
}

// warnings tells of what is allowed, and safe only if something else is.
func (c SecondFactorConfig) warnings() []string {
	var out []string
	for _, o := range []struct{ option, value, instead string }{{"user", c.user(), "Remote-User"}, {"phone", c.Phone, "Remote-Phone"}} {
		if header, ok := firstfactor.RequestHeader(o.value); ok {
			out = append(out, fmt.Sprintf("second_factor: %s comes from the request header %s, which any client can write unless what stands in front of the gate removes it from every request: "+
				"forward_auth does so with its copy_headers, and {http.reverse_proxy.header.%s} reads its answer itself", o.option, header, o.instead))
		}
		if strings.HasPrefix(o.value, "{http.regexp.") {
			out = append(out, fmt.Sprintf("second_factor: %s comes from a regular expression: it must match what a first factor sets, and not the path, the query or a header of the client", o.option))
		}
	}
	return out
}

// provision returns what c, which has been checked, describes.
func (c *SecondFactorConfig) provision(ctx caddy.Context, numbers *number.Policy, logger *zap.Logger, now func() time.Time) (*firstfactor.Resolver, error) {
	setup := firstfactor.Config{User: c.user(), Phone: c.Phone, Numbers: numbers, Logger: logger, Now: now}
	if given(c.DirectoryRaw) {
		var err error
		if setup.Directory, err = loadDirectory(ctx, c, numbers); err != nil {
			return nil, fmt.Errorf("second_factor: %w", err)
		}
	}
	return firstfactor.New(setup), nil
}

// loadDirectory loads and opens the guest module that c names.
func loadDirectory(ctx caddy.Context, c *SecondFactorConfig, policy *number.Policy) (directory.Directory, error) {
	module, err := ctx.LoadModule(c, "DirectoryRaw")
	if err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	opened, ok := module.(directory.Directory)
	if !ok {
		return nil, fmt.Errorf("directory: module %T knows no numbers of users", module)
	}
	if err := opened.Open(policy.Parse); err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	return opened, nil
}

// given reports whether JSON has the option.
func given(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }
