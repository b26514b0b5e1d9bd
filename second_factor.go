package websms

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/directory"
	"github.com/caddy-websms/websms/internal/identity"
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

// defaultUser is where Caddy's authentication names the user.
const defaultUser = "{http.auth.user.id}"

func (c SecondFactorConfig) user() string {
	if c.User == "" {
		return defaultUser
	}
	return c.User
}

// Where first factors say who it is, and what their number is.
const (
	userHelp  = "{http.auth.user.id} (basic_auth), {http.request.tls.client.subject} (client certificates) or {http.reverse_proxy.header.Remote-User} (forward_auth)"
	phoneHelp = "{http.auth.user.phone} or {http.reverse_proxy.header.Remote-Phone} (forward_auth), or use directory"
)

func (c SecondFactorConfig) check() error {
	if err := checkPlaceholder("user", c.user(), userHelp); err != nil {
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
	return checkPlaceholder("phone", c.Phone, phoneHelp)
}

// checkHeaders reports a placeholder that reads what the gate removes from
// every request before it looks at it: the headers that h names.
func (c SecondFactorConfig) checkHeaders(h HeadersConfig) error {
	id := h.identity()
	for _, o := range []struct{ option, value string }{{"user", c.user()}, {"phone", c.Phone}} {
		if header, ok := headerKey(o.value); ok && id.Owns(header) {
			return wrongf("second_factor", "reads %s from the header %s, which the gate removes from every request because it tells the upstream who was verified: give either of them another header", o.option, header)
		}
	}
	return nil
}

// warnings tells of what is allowed, and safe only if something else is.
func (c SecondFactorConfig) warnings() []string {
	var out []string
	for _, o := range []struct{ option, value, instead string }{{"user", c.user(), "Remote-User"}, {"phone", c.Phone, "Remote-Phone"}} {
		if header, ok := headerKey(o.value); ok {
			out = append(out, fmt.Sprintf("second_factor: %s comes from the request header %s, which any client can write unless what stands in front of the gate removes it from every request: "+
				"forward_auth does so with its copy_headers, and {http.reverse_proxy.header.%s} reads its answer itself", o.option, header, o.instead))
		}
		if strings.HasPrefix(o.value, "{http.regexp.") {
			out = append(out, fmt.Sprintf("second_factor: %s comes from a regular expression: it must match what a first factor sets, and not the path, the query or a header of the client", o.option))
		}
	}
	return out
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

// placeholderKey returns what stands in the braces of a value that is exactly
// one placeholder.
func placeholderKey(value string) (string, bool) {
	key, open := strings.CutPrefix(value, "{")
	key, closed := strings.CutSuffix(key, "}")
	if !open || !closed || key == "" || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '{' || r == '}' || r == '\\' }) {
		return "", false
	}
	return key, true
}

const (
	headerPrefix      = "{http.request.header."
	answerPrefix      = "http.reverse_proxy.header." // of what forward_auth asked
	certificatePrefix = "http.request.tls.client."
)

// headerKey returns the request header that a placeholder reads.
func headerKey(value string) (string, bool) {
	name, ok := strings.CutPrefix(value, headerPrefix)
	return http.CanonicalHeaderKey(strings.TrimSuffix(name, "}")), ok
}

// certificateKey is what a client certificate says of its owner. The others
// say nothing, as the issuer, or are longer than a user can be, or a list.
var certificateKey = regexp.MustCompile(`^http\.request\.tls\.client\.(subject|serial|fingerprint|public_key_sha256|san\.(dns_names|emails|ips|uris)\.\d+)$`)

// credentials are headers with a secret in them, which is no name.
var credentials = []string{"Authorization", "Proxy-Authorization"}

// unfit are the placeholders of Caddy that no first factor sets, and why they
// name nobody. The first that fits counts.
var unfit = []struct{ prefix, why string }{
	{"http.request.", "is what any client writes at will, or the same for many"},
	{"http.vars.client_ip", "is an address, which many can share"},
	{"http.auth.candidate.", "is who asked to be let in, and was not"},
	{"http.websms.", "is what a gate has verified, and nothing that a first factor says"},
	{"http.matchers.", "is what any client writes at will"},
	{"http.reverse_proxy.", "is nothing that the first factor says of a user"},
	{"http.error.", "is nothing that the first factor says of a user"},
	{"http.response.", "is nothing that the first factor says of a user"},
	{"http.shutting_down", "is the same for everybody"},
	{"http.time_until_shutdown", "is the same for everybody"},
	{"env.", "is the same for everybody"},
	{"file.", "is the same for everybody"},
	{"system.", "is the same for everybody"},
	{"time.", "is the same for everybody"},
}

// checkPlaceholder reports what cannot name a user, or their number. A value
// that is no placeholder is not repeated: it may be a number.
func checkPlaceholder(option, value, help string) error {
	key, ok := placeholderKey(value)
	if !ok {
		return wrongf(option, "is not one placeholder with nothing around it: give what a first factor sets, such as %s", help)
	}
	why := ""
	header, isHeader := headerKey(value)
	switch {
	case isHeader && (header == "" || identity.IsReserved(header) || slices.Contains(credentials, header)):
		why = "is a header that names nobody"
	case isHeader, strings.HasPrefix(key, answerPrefix), certificateKey.MatchString(key):
	case strings.HasPrefix(key, certificatePrefix):
		why = "is of a client certificate, and names nobody: of one, give subject, serial, fingerprint, public_key_sha256, or the first alternative name, such as san.emails.0"
	default:
		for _, u := range unfit {
			if strings.HasPrefix(key, u.prefix) {
				why = u.why
				break
			}
		}
	}
	if why != "" {
		return wrongf(option, "%s %s: give what a first factor sets, such as %s", value, why, help)
	}
	return nil
}
