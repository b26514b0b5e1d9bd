package firstfactor

import (
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/caddy-websms/websms/internal/block"
	"github.com/caddy-websms/websms/internal/identity"
)

// DefaultUser is the placeholder in which Caddy's authentication names the user.
const DefaultUser = "{http.auth.user.id}"

// The placeholders of the usual first factors, for error messages.
const (
	userHelp = "{http.auth.user.id} (basic_auth), {http.request.tls.client.subject} (client certificates) or " +
		"{http.reverse_proxy.header.Remote-User} (forward_auth)"
	phoneHelp = "{http.auth.user.phone} or {http.reverse_proxy.header.Remote-Phone} (forward_auth), or use directory"
)

// The placeholders that begin with these can come from a first factor, if a rule
// below allows the rest.
const (
	headerPrefix      = "{http.request.header."      // a request header
	answerPrefix      = "http.reverse_proxy.header." // a header of the answer to forward_auth
	certificatePrefix = "http.request.tls.client."   // the client's certificate
)

// CheckUserPlaceholder returns an error if the option user has a value that
// cannot name a user.
func CheckUserPlaceholder(value string) error { return checkPlaceholder("user", value, userHelp) }

// CheckPhonePlaceholder returns an error if the option phone has a value that
// cannot be a user's number.
func CheckPhonePlaceholder(value string) error { return checkPlaceholder("phone", value, phoneHelp) }

// RequestHeader returns the canonical name of the request header that a
// placeholder reads, and false if it reads something else.
func RequestHeader(value string) (string, bool) {
	name, ok := strings.CutPrefix(value, headerPrefix)
	return http.CanonicalHeaderKey(strings.TrimSuffix(name, "}")), ok
}

// certificateKey matches the placeholders that identify the owner of a client
// certificate. The other ones are the issuer, lists, and values longer than a
// user can be.
var certificateKey = regexp.MustCompile(`^http\.request\.tls\.client\.` +
	`(subject|serial|fingerprint|public_key_sha256|san\.(dns_names|emails|ips|uris)\.\d+)$`)

// credentials are headers that hold a secret, and so are not a name.
var credentials = []string{"Authorization", "Proxy-Authorization"}

// unfit lists the placeholders of Caddy that no first factor fills. The first
// prefix that fits gives the reason.
var unfit = []struct{ prefix, why string }{
	{"http.request.", "is what any client writes at will, or the same for many"},
	{"http.vars.client_ip", "is an address, which many can share"},
	{"http.auth.candidate.", "is a user who has not passed the first factor"},
	{"http.websms.", "is what a gate has verified, and does not come from a first factor"},
	{"http.matchers.", "is what any client writes at will"},
	{"http.reverse_proxy.", "does not come from a first factor"},
	{"http.error.", "does not come from a first factor"},
	{"http.response.", "does not come from a first factor"},
	{"http.shutting_down", "is the same for everybody"},
	{"http.time_until_shutdown", "is the same for everybody"},
	{"env.", "is the same for everybody"},
	{"file.", "is the same for everybody"},
	{"system.", "is the same for everybody"},
	{"time.", "is the same for everybody"},
}

// checkPlaceholder returns an error if a value cannot name a user or a number.
// The error repeats only a value that is a placeholder: another one may be a
// number.
func checkPlaceholder(option, value, help string) error {
	key, ok := placeholderKey(value)
	if !ok {
		return block.Wrongf(option, "is not one placeholder with nothing around it: give what a first factor sets, such as %s", help)
	}
	why := ""
	header, isHeader := RequestHeader(value)
	switch {
	case isHeader && (header == "" || identity.IsReserved(header) || slices.Contains(credentials, header)):
		why = "is a header that names nobody"
	case isHeader, strings.HasPrefix(key, answerPrefix), certificateKey.MatchString(key):
	case strings.HasPrefix(key, certificatePrefix):
		why = "does not name the owner of a client certificate, as subject, serial, fingerprint, public_key_sha256 and san.emails.0 do"
	default:
		for _, u := range unfit {
			if strings.HasPrefix(key, u.prefix) {
				why = u.why
				break
			}
		}
	}
	if why != "" {
		return block.Wrongf(option, "%s %s: give what a first factor sets, such as %s", value, why, help)
	}
	return nil
}
