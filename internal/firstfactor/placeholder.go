package firstfactor

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/internal/block"
	"github.com/caddy-websms/websms/internal/identity"
)

// DefaultUser is where Caddy's authentication names the user.
const DefaultUser = "{http.auth.user.id}"

// Where first factors say who it is, and what their number is.
const (
	userHelp  = "{http.auth.user.id} (basic_auth), {http.request.tls.client.subject} (client certificates) or {http.reverse_proxy.header.Remote-User} (forward_auth)"
	phoneHelp = "{http.auth.user.phone} or {http.reverse_proxy.header.Remote-Phone} (forward_auth), or use directory"
)

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

// RequestHeader returns the request header that a placeholder reads.
func RequestHeader(value string) (string, bool) {
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

// CheckUserPlaceholder reports a value of the option user that cannot name a user.
func CheckUserPlaceholder(value string) error { return checkPlaceholder("user", value, userHelp) }

// CheckPhonePlaceholder reports a value of the option phone that cannot be a number.
func CheckPhonePlaceholder(value string) error { return checkPlaceholder("phone", value, phoneHelp) }

// checkPlaceholder reports what cannot name a user, or their number. A value
// that is no placeholder is not repeated: it may be a number.
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
		return block.Wrongf(option, "%s %s: give what a first factor sets, such as %s", value, why, help)
	}
	return nil
}

// placeholder is where a first factor says something of the user.
type placeholder struct {
	key         string // without its braces
	certificate bool   // of the client
}

func newPlaceholder(value string) placeholder {
	key, _ := placeholderKey(value)
	return placeholder{key, strings.HasPrefix(key, certificatePrefix)}
}

// of returns what the placeholder holds in r, or "". It asks for that one key:
// what a client has written never passes for a placeholder of its own.
func (p placeholder) of(r *http.Request) string {
	// Of no certificate at all Caddy knows a fingerprint and a serial number,
	// the same for everybody.
	if p.certificate && !isVerified(r) {
		return ""
	}
	// A gate that people pass by number sets these two itself, and is no first factor.
	if p.key == "http.auth.user.id" || p.key == "http.auth.user.phone" {
		if identity.AdmittedByNumber(r) {
			return ""
		}
	}
	value, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Get(p.key)
	switch value.(type) {
	case string, fmt.Stringer, int, int64, uint64, float64:
		return caddy.ToString(value)
	}
	return "" // nothing, an error, or a list, whose text would be the same for many
}

// isVerified reports whether the client of r has shown a certificate of an
// authority that its site trusts.
func isVerified(r *http.Request) bool {
	return r.TLS != nil && len(r.TLS.PeerCertificates) > 0 && len(r.TLS.VerifiedChains) > 0
}
