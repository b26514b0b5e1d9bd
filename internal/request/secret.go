package request

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Secret is a secret that requests must show. It holds only the SHA-256 of the text.
type Secret [sha256.Size]byte

// NewSecret returns the Secret of a text, which must not be "".
func NewSecret(text string) Secret { return sha256.Sum256([]byte(text)) }

// ShownBy reports whether a request shows the secret: as the parameter `secret` of the
// query, as a Bearer token or as the password of Basic authentication.
func (s Secret) ShownBy(r *http.Request) bool {
	return s.is(append(shownIn(r.Header.Get("Authorization")), r.URL.Query().Get(secretParameter))...)
}

// secretParameter is the query parameter that may show the secret.
const secretParameter = "secret"

// shownIn returns the texts in an Authorization header that may be the secret.
func shownIn(authorization string) (shown []string) {
	r := http.Request{Header: http.Header{"Authorization": {authorization}}}
	if _, password, ok := r.BasicAuth(); ok {
		shown = append(shown, password)
	}
	if scheme, token, ok := strings.Cut(authorization, " "); ok && strings.EqualFold(scheme, "Bearer") {
		shown = append(shown, strings.TrimSpace(token))
	}
	return shown
}

// is reports whether one of the texts is the secret. It compares hashes in constant
// time, so that neither the content nor the length of the secret shows.
func (s Secret) is(shown ...string) bool {
	is := 0
	for _, text := range shown {
		sum := sha256.Sum256([]byte(text))
		is |= subtle.ConstantTimeCompare(sum[:], s[:])
	}
	return is == 1
}

// Strip returns the request without the secret, for the next handler. It removes each
// parameter `secret` of the query, and each Authorization header with the secret. Any
// other Authorization header is for the next handler, and stays.
//
// Strip changes the URL, the headers and Caddy's original request in place. Caddy's
// placeholders, such as {query} and {http.request.orig_uri.query}, read those of the
// request that Caddy itself holds. The access log still has the URI that the client
// sent.
func (s Secret) Strip(r *http.Request) *http.Request {
	if values := r.Header["Authorization"]; len(values) > 0 {
		values = slices.DeleteFunc(slices.Clone(values), func(v string) bool { return s.is(shownIn(v)...) })
		if r.Header["Authorization"] = values; len(values) == 0 {
			r.Header.Del("Authorization")
		}
	}
	s.stripURL(r.URL)
	r.RequestURI = s.stripURI(r.RequestURI)
	original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok {
		return r
	}
	if original.URL != nil {
		s.stripURL(original.URL)
	}
	original.RequestURI = s.stripURI(original.RequestURI)
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Set("http.request.orig_uri", original.RequestURI)
	}
	return r.WithContext(context.WithValue(r.Context(), caddyhttp.OriginalRequestCtxKey, original))
}

// stripURL removes the secret from the query of a URL, in place.
func (s Secret) stripURL(u *url.URL) {
	if left := s.stripQuery(u.RawQuery); left != u.RawQuery {
		u.RawQuery = left
	}
}

// stripURI returns a request URI without the secret in its query.
func (s Secret) stripURI(uri string) string {
	path, query, ok := strings.Cut(uri, "?")
	if left := s.stripQuery(query); ok && left != query {
		if uri = path; left != "" {
			uri += "?" + left
		}
	}
	return uri
}

// stripQuery removes the parameters `secret` from a query, and leaves all others byte for
// byte. Some servers also end a parameter at a semicolon; for all others a semicolon is a
// part of the value. So between semicolons stripQuery removes a parameter only if it
// holds the secret.
func (s Secret) stripQuery(query string) string {
	var left strings.Builder
	kept := false
	for piece := range strings.SplitSeq(query, "&") {
		if name, _, _ := strings.Cut(piece, "="); isSecretParameter(name) {
			continue
		}
		parts := strings.Split(piece, ";")
		parts = append(parts[:1], slices.DeleteFunc(parts[1:], func(part string) bool {
			name, value, _ := strings.Cut(part, "=")
			value, err := url.QueryUnescape(value)
			return err == nil && isSecretParameter(name) && s.is(value)
		})...)
		if kept {
			left.WriteByte('&')
		}
		kept = true
		left.WriteString(strings.Join(parts, ";"))
	}
	return left.String()
}

// isSecretParameter reports whether the name of a parameter is `secret`, escaped or not.
func isSecretParameter(name string) bool {
	name, err := url.QueryUnescape(name)
	return err == nil && name == secretParameter
}
