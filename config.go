package websms

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-websms/websms/internal/block"
	"github.com/caddy-websms/websms/internal/cookies"
	"github.com/caddy-websms/websms/internal/identity"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/number"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

func wrongf(option, format string, args ...any) error {
	return block.Wrongf(option, format, args...)
}

func within(name string, err error) error { return block.Within(name, err) }

// CodeConfig is what codes are like.
type CodeConfig struct {
	// Digits of a code, 4 to 8. NIST SP 800-63B asks for at least 6; fewer
	// draw a warning. Default: 6.
	Length int `json:"length,omitempty"`

	// How long a code can be used, 30s to 10m, counted from its latest
	// sending, and never over 10 minutes from its first. Default: `5m`.
	TTL caddy.Duration `json:"ttl,omitempty"`

	// How often a code may be answered, 1 to 10; then it is dead. Default: 5.
	Attempts int `json:"attempts,omitempty"`

	// Who makes the code: `local`, this process; or `websms`, which tells it
	// in its reply. Default: `local`.
	Source string `json:"source,omitempty"`
}

func (c CodeConfig) check() error {
	if c.Length != 0 && (c.Length < 4 || c.Length > 8) {
		return wrongf("length", "is %d: give 4 to 8 digits", c.Length)
	}
	if t := time.Duration(c.TTL); t != 0 && (t < 30*time.Second || t > otp.MaxLife) {
		return wrongf("ttl", "is %s: give 30s to 10m", short(t))
	}
	if c.Attempts != 0 && (c.Attempts < 1 || c.Attempts > 10) {
		return wrongf("attempts", "is %d: give 1 to 10", c.Attempts)
	}
	if c.Source == "websms" && c.Length != 0 && c.Length != 6 {
		return wrongf("length", "is %d, with source websms: the codes that WebSMS makes have 6 digits; remove it, or make the codes here with source local", c.Length)
	}
	if c.Source != "" && c.Source != "local" && c.Source != "websms" {
		return wrongf("source", "is %q: give local or websms", c.Source)
	}
	return nil
}

// NumbersConfig is which numbers may ask for a code.
type NumbersConfig struct {
	// The countries a number may belong to, as ISO 3166 codes. Local
	// spellings are understood as the first of them would. Default: `["NZ"]`.
	Countries []string `json:"countries,omitempty"`

	// Only these numbers get a code. Others are answered in the same way, and
	// nothing is sent.
	Allow []string `json:"allow,omitempty"`

	// A file with more of them: one a line, `#` begins a comment. It is read
	// when the configuration is loaded.
	AllowFile string `json:"allow_file,omitempty"`
}

// countries returns the configured countries, or the default.
func (n NumbersConfig) countries() []string {
	if len(n.Countries) == 0 {
		return []string{"NZ"}
	}
	return n.Countries
}

// check reports a bad country, or a listed number that no country would accept.
func (n NumbersConfig) check() error {
	policy, err := number.NewPolicy(n.countries())
	if err != nil {
		return wrongf("countries", "has a mistake: %v", err)
	}
	for i, input := range n.Allow {
		if err := policy.Allow(input); err != nil {
			return &block.Wrong{Option: "allow", Value: i + 1, Text: fmt.Sprintf("number %d of %d: %v; give one such as +6421234567, of countries, which is %s",
				i+1, len(n.Allow), err, strings.Join(n.countries(), " "))}
		}
	}
	return nil
}

// SessionConfig is how long a verification lasts, and how it is remembered.
type SessionConfig struct {
	// How long a session lasts, whatever it does. From 1m to 720h; over 24h
	// draws a warning (NIST SP 800-63B, AAL2). Default: `12h`.
	TTL caddy.Duration `json:"ttl,omitempty"`

	// How long it may rest. 0 turns this off. Default: `1h`.
	Idle *caddy.Duration `json:"idle,omitempty"`

	// The cookie's name. On HTTPS without a domain it is prefixed with
	// `__Host-`. Default: `websms_session`.
	Cookie string `json:"cookie,omitempty"`

	// Shares a session across the hosts of this domain.
	Domain string `json:"domain,omitempty"`

	// Offers "trust this device": how long a session lasts when it is ticked,
	// from ttl to 8760h. Such a session may rest. Off by default.
	Remember caddy.Duration `json:"remember,omitempty"`
}

const (
	defaultCookie = "websms_session"
	// maxLife is the longest that any session can be configured to last.
	maxLife = session.MaxLife
)

// cookies.Names returns the gate's cookies, with the defaults.
func (s SessionConfig) cookies() cookies.Names {
	if s.Cookie == "" {
		return cookies.New(defaultCookie, s.Domain)
	}
	return cookies.New(s.Cookie, s.Domain)
}

// life returns how long sessions last, with the defaults.
func (s SessionConfig) life() session.Life {
	life := session.Life{TTL: 12 * time.Hour, Idle: time.Hour, Remember: time.Duration(s.Remember)}
	if s.TTL != 0 {
		life.TTL = time.Duration(s.TTL)
	}
	if s.Idle != nil {
		life.Idle = time.Duration(*s.Idle)
	}
	return life
}

var cookieName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (s SessionConfig) check() error {
	life := s.life()
	switch {
	case life.TTL < time.Minute || life.TTL > 720*time.Hour:
		return wrongf("ttl", "is %s: give 1m to 720h", short(life.TTL))
	case life.Idle < 0 || life.Idle > 0 && life.Idle < 10*time.Second:
		return wrongf("idle", "is %s: give 10s or more, or 0 to turn it off", short(life.Idle))
	case life.Remember != 0 && (life.Remember < life.TTL || life.Remember > maxLife):
		return wrongf("remember", "is %s: give the ttl, which is %s, to 8760h, or remove the option", short(life.Remember), short(life.TTL))
	case s.Cookie != "" && (!cookieName.MatchString(s.Cookie) || strings.HasPrefix(s.Cookie, "__")):
		return wrongf("cookie", "is %q: give letters, digits, - and _, and no __Host- or __Secure-: it is added where it belongs", s.Cookie)
	case s.Domain != "" && !request.IsDomainName(s.Domain):
		return wrongf("domain", "is %q: give a domain in lower case, such as example.com, without scheme, port or leading dot", s.Domain)
	}
	return nil
}

// LimitsConfig is how many codes may be sent, and how many wrong ones come back.
type LimitsConfig struct {
	// Codes sent to one number. Default: `["3/10m", "10/24h"]`.
	PerNumber []Rate `json:"per_number,omitempty"`

	// Codes asked for from one client address, as the server's trusted_proxies
	// tell it; an IPv6 address counts by its /64. Default: `["10/10m", "50/24h"]`.
	PerIP []Rate `json:"per_ip,omitempty"`

	// Codes sent by the whole gate. When four fifths are used, a warning is
	// logged, once in the time of the rate. Default: `["500/1h"]`.
	Budget []Rate `json:"budget,omitempty"`

	// How long after a sending the first resend is refused. It doubles with
	// each. 0s to 10m. Default: `30s`.
	Cooldown *caddy.Duration `json:"cooldown,omitempty"`

	// What wrong codes in a row for one number lead to, across challenges.
	Lockout LockoutConfig `json:"lockout,omitzero"`

	// So many wrong codes in a row lock a number until an operator unlocks it.
	// 1 to 100 (NIST SP 800-63B, 3.2.2). Default: 100.
	MaxFailures int `json:"max_failures,omitempty"`
}

// LockoutConfig is when no code is sent to a number, or taken for it, for a time.
type LockoutConfig struct {
	// Every so many wrong codes in a row, 1 to 100. Default: 10.
	Failures int `json:"failures,omitempty"`

	// For so long, 1s to 720h. Default: `30m` (PCI DSS 4, 8.3.4).
	Duration caddy.Duration `json:"duration,omitempty"`
}

func (l LimitsConfig) check() error {
	if c := l.Cooldown; c != nil && (*c < 0 || time.Duration(*c) > 10*time.Minute) {
		return wrongf("cooldown", "is %s: give 0s to 10m", short(time.Duration(*c)))
	}
	if n := l.Lockout.Failures; n < 0 || n > maxFailures {
		return wrongf("lockout", "is after %d wrong codes: give 1 to %d", n, maxFailures)
	}
	if d := time.Duration(l.Lockout.Duration); d != 0 && (d < time.Second || d > 720*time.Hour) {
		return wrongf("lockout", "is for %s: give 1s to 720h", short(d))
	}
	if n := l.MaxFailures; n < 0 || n > maxFailures {
		return wrongf("max_failures", "is %d: give 1 to %d, which NIST SP 800-63B allows at most", n, maxFailures)
	}
	return nil
}

// maxFailures is how many wrong codes in a row NIST SP 800-63B-4, 3.2.2 allows.
const maxFailures = otp.MaxFailures

// lockout returns what wrong codes lead to, with the defaults.
func (l LimitsConfig) lockout() otp.Lockout {
	out := otp.Lockout{Count: 10, For: 30 * time.Minute, Max: maxFailures}
	if l.Lockout.Failures != 0 {
		out.Count = l.Lockout.Failures
	}
	if l.Lockout.Duration != 0 {
		out.For = time.Duration(l.Lockout.Duration)
	}
	if l.MaxFailures != 0 {
		out.Max = l.MaxFailures
	}
	return out
}

// Rate is a limit: so many within any stretch of so long, written `3/10m`.
// The count is 1 to 10000000, the time 1s to 720h.
type Rate otp.Rate

const rateHelp = "give a count and a time, such as 3/10m; the count 1 to 10000000, the time 1s to 720h"

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Rate) UnmarshalText(text []byte) error {
	count, window, ok := strings.Cut(string(text), "/")
	n, err := strconv.Atoi(count)
	if !ok || err != nil || n < 1 || n > 10_000_000 {
		return fmt.Errorf("rate %q: %s", text, rateHelp)
	}
	d, err := caddy.ParseDuration(window)
	if err != nil || d < time.Second || d > 720*time.Hour {
		return fmt.Errorf("rate %q: %s", text, rateHelp)
	}
	*r = Rate{Count: n, Window: d}
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (r Rate) MarshalText() ([]byte, error) {
	return []byte(otp.Rate(r).String()), nil
}

// short writes d as people write it in a configuration: 12h, not 12h0m0s.
func short(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// rates returns list as the engine takes it, or else fallback.
func rates(list []Rate, fallback ...otp.Rate) []otp.Rate {
	if len(list) == 0 {
		return fallback
	}
	out := make([]otp.Rate, len(list))
	for i, r := range list {
		out[i] = otp.Rate(r)
	}
	return out
}

// HeadersConfig is how the upstream learns who was verified.
type HeadersConfig struct {
	// The request header that holds the verified number, in E.164. Default: `X-Verified-Number`.
	Number string `json:"number,omitempty"`

	// The request header that holds the user, with second_factor; without it,
	// it is only removed. Default: `X-Verified-User`.
	User string `json:"user,omitempty"`
}

// identity returns the headers, with the defaults.
func (h HeadersConfig) identity() identity.Headers { return identity.New(h.Number, h.User) }

func (h HeadersConfig) check() error {
	for _, header := range []struct{ option, name string }{{"number", h.Number}, {"user", h.User}} {
		if header.name == "" {
			continue
		}
		if !httpguts.ValidHeaderFieldName(header.name) || identity.IsReserved(header.name) {
			return wrongf(header.option, "is %q: give the name of a request header, such as X-Verified-Number", header.name)
		}
	}
	if h.identity().Clash() {
		option, other := "user", "number"
		if h.User == "" {
			option, other = other, option
		}
		return wrongf(option, "is the same header as %s, to servers that read - and _ alike: give two names", other)
	}
	return nil
}

// checkPrefix reports a path that cannot hold the gate's own pages.
func checkPrefix(prefix string) error {
	if !strings.HasPrefix(prefix, "/") || prefix == "/" || path.Clean(prefix) != prefix ||
		strings.ContainsFunc(prefix, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`%\?#*{}"<>;`, r) }) {
		return wrongf("prefix", "is %q: give an absolute path of its own, such as /.websms", prefix)
	}
	return nil
}

// checkWebOTP reports what no message can be bound to.
func checkWebOTP(host string) error {
	if host != "" && host != "off" && (!request.IsDomainName(host) || len(host) > 253) {
		return wrongf("web_otp", "is %q: give a bare host name in lower case, such as app.example.com, or off", host)
	}
	return nil
}
