package firstfactor

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/internal/identity"
)

// placeholder is a placeholder of Caddy in which a first factor tells something
// about the user.
type placeholder struct {
	key         string // without its braces
	certificate bool   // it reads the client's certificate
}

// newPlaceholder returns the placeholder of an option. The empty option gives one
// that is never filled.
func newPlaceholder(value string) placeholder {
	key, _ := placeholderKey(value)
	return placeholder{key, strings.HasPrefix(key, certificatePrefix)}
}

// placeholderKey returns the text between the braces, if value is exactly one
// placeholder.
func placeholderKey(value string) (string, bool) {
	key, open := strings.CutPrefix(value, "{")
	key, closed := strings.CutSuffix(key, "}")
	if !open || !closed || key == "" || strings.ContainsFunc(key, isForeign) {
		return "", false
	}
	return key, true
}

// isForeign reports whether r cannot stand in the name of a placeholder.
func isForeign(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`{}\`, r) }

// of returns the value of the placeholder in r, or "". It asks Caddy for this one
// key and expands no text, so a placeholder that a client writes stays text.
func (p placeholder) of(r *http.Request) string {
	// Without a certificate Caddy still has a fingerprint and a serial number,
	// which are the same for everybody.
	if p.certificate && !isVerified(r) {
		return ""
	}
	// A gate without a first factor fills these two, with the number that a
	// person typed. It is not a first factor for another gate.
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
	// No value, an error or a list. The text of a list or of an error could be
	// the same for many users.
	return ""
}

// isVerified reports whether the client showed a certificate that the site's
// trust pool verified.
func isVerified(r *http.Request) bool {
	return r.TLS != nil && len(r.TLS.PeerCertificates) > 0 && len(r.TLS.VerifiedChains) > 0
}
