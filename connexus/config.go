package connexus

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DefaultBaseURL is the address of the API (WebSMS developer guide, step 2).
const DefaultBaseURL = "https://websms.co.nz/api/connexus"

// The endpoints, as [Error.Endpoint] and [Config.OnCall] name them.
const (
	EndpointToken   = "/auth/token"  // WebSMS developer guide, step 2
	EndpointOTP     = "/sms/otp"     // WebSMS developer guide, step 4
	EndpointText    = "/sms/out"     // a message without a code
	EndpointBalance = "/sms/balance" // the balance of the account
)

// DefaultTimeout bounds one call, and MaxConnect the time until there is a
// connection. Both are the guide's values (WebSMS developer guide, step 3).
const (
	DefaultTimeout = 10 * time.Second
	MaxConnect     = 5 * time.Second
)

// Config says how to reach WebSMS. ClientID and ClientSecret are required;
// every other field has a default.
type Config struct {
	// BaseURL is the address of the API, without user, query and fragment.
	// Default: [DefaultBaseURL]. The client secret travels in the request, so
	// plain http:// is for tests and for a loopback address only.
	BaseURL string

	// ClientID and ClientSecret are the API key (WebSMS developer guide, step 1).
	ClientID, ClientSecret string

	// Sandbox asks WebSMS to accept messages and not to bill them (sandbox=1).
	Sandbox bool

	// Timeout bounds one whole call of a method of [Client], with its wait for a
	// token, its redirects and its retries. Default: [DefaultTimeout]. Name
	// lookup, TCP and TLS may take [MaxConnect] of it, at each address.
	Timeout time.Duration

	// HTTPClient sends the requests. Its own settings for redirects and cookies
	// are ignored: [Client] has rules of its own for redirects, and cookies are
	// not kept. Its transport must not send a request again on its own. The
	// caller closes its idle connections. Default: a transport of the client's
	// own.
	HTTPClient *http.Client

	// Tokens keeps the bearer token. Default: in memory.
	Tokens TokenCache

	// OnCall, if set, is called after every HTTP exchange with the endpoint, such
	// as [EndpointOTP], the time that it took, and nil or an [*Error]. An exchange
	// includes its redirects. OnCall is called from several goroutines at once and
	// must not block.
	OnCall func(endpoint string, took time.Duration, err error)

	// Now is the clock for the age of tokens. Default: [time.Now].
	Now func() time.Time
}

// CheckBaseURL returns an error if raw cannot be a [Config.BaseURL], such as "needs a
// scheme and a host: …". The error does not repeat the URL, which may hold a
// password.
func CheckBaseURL(raw string) error {
	_, err := parseBase(raw)
	return err
}

// parseBase returns a base URL without a trailing slash.
func parseBase(raw string) (string, error) {
	if raw == "" {
		return DefaultBaseURL, nil
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return "", errors.New("cannot be parsed: write it like " + DefaultBaseURL)
	case u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "":
		return "", errors.New("needs a scheme and a host: write it like " + DefaultBaseURL)
	case u.User != nil:
		return "", errors.New("holds a user: credentials are client id and client secret")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(raw, "#"):
		return "", errors.New("holds a query or a fragment: remove it")
	}
	return strings.TrimRight(u.String(), "/"), nil
}
