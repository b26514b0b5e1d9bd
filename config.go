package websms

import (
	"fmt"
	"net"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/publicsuffix"

	"github.com/caddy-websms/websms/internal/block"
	"github.com/caddy-websms/websms/internal/cookies"
	"github.com/caddy-websms/websms/internal/identity"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/number"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

// wrongf returns an error about one option. Its text is the mistake and the correction.
func wrongf(option, format string, args ...any) error {
	return block.Wrongf(option, format, args...)
}

// within puts the name of a block before an error, if there is one.
func within(name string, err error) error { return block.Within(name, err) }

// CodeConfig sets the form and life of codes.
type CodeConfig struct {
	// The number of digits, from 4 to 8. Fewer than 6 draw a warning, because
	// NIST SP 800-63B asks for at least 6. Codes from the source `websms` have 6.
	// Default: 6.
	Length int `json:"length,omitempty"`

	// How long a code can be used after it was last sent. From 30s to 10m. A
	// code never lasts longer than 10 minutes after it was first sent.
	// Default: `5m`.
	TTL caddy.Duration `json:"ttl,omitempty"`

	// How many answers a code takes, right or wrong, from 1 to 10. After that
	// the code is dead. Default: 5.
	Attempts int `json:"attempts,omitempty"`

	// The maker of the code. `local` is Caddy. `websms` is WebSMS, which tells
	// the code in its answer. Default: `local`.
	Source string `json:"source,omitempty"`
}

// check returns an error if an option is out of range.
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
		return wrongf("length",
			"is %d, with source websms: the codes that WebSMS makes have 6 digits; remove it, or make the codes here with source local",
			c.Length)
	}
	if c.Source != "" && c.Source != "local" && c.Source != "websms" {
		return wrongf("source", "is %q: give local or websms", c.Source)
	}
	return nil
}

// NumbersConfig sets which numbers may get a code.
type NumbersConfig struct {
	// The countries that a number may belong to, as ISO 3166 codes. The gate
	// reads a local spelling, such as `021 234 567`, as in the first country.
	// Default: `["NZ"]`.
	Countries []string `json:"countries,omitempty"`

	// The list of numbers. If there is one, only its numbers get a code. The
	// gate answers an unlisted number in the same way, and sends nothing.
	Allow []string `json:"allow,omitempty"`

	// A file with more numbers for the list, one a line. `#` begins a comment.
	// Caddy reads the file when it loads the configuration.
	AllowFile string `json:"allow_file,omitempty"`
}

// countries returns the configured countries, or the default.
func (n NumbersConfig) countries() []string {
	if len(n.Countries) == 0 {
		return []string{"NZ"}
	}
	return n.Countries
}

// check returns an error for an unknown country, or for a listed number that belongs to
// none of the countries. It does not read AllowFile.
func (n NumbersConfig) check() error {
	policy, err := number.NewPolicy(n.countries())
	if err != nil {
		return wrongf("countries", "has a mistake: %v", err)
	}
	for i, input := range n.Allow {
		if err := policy.Allow(input); err != nil {
			return &block.Wrong{Option: "allow", Value: i + 1, Text: fmt.Sprintf(
				"number %d of %d: %v; give one such as +6421234567, of countries, which is %s",
				i+1, len(n.Allow), err, strings.Join(n.countries(), " "))}
		}
	}
	return nil
}

// SessionConfig sets how long a session lasts, and its cookie.
type SessionConfig struct {
	// The longest life of a session, used or not. From 1m to 720h. More than
	// 24h draws a warning (NIST SP 800-63B, AAL2). Default: `12h`.
	TTL caddy.Duration `json:"ttl,omitempty"`

	// A session ends after this time without a request. 10s or more, or 0 to
	// turn the idle end off. Default: `1h`.
	Idle *caddy.Duration `json:"idle,omitempty"`

	// The cookie's name. Over HTTPS and without a domain, the gate puts
	// `__Host-` in front of it. Default: `websms_session`.
	Cookie string `json:"cookie,omitempty"`

	// Shares a session across all hosts of this domain. Every host of the site
	// must be the domain or below it. Browsers refuse a public suffix, such as
	// `co.nz` or `github.io`, a single label and an IP address, and so does Caddy.
	Domain string `json:"domain,omitempty"`

	// Offers the box "trust this device". This is how long a session with that
	// box ticked lasts, from `ttl` to 8760h. The idle end does not apply to it.
	// Off by default.
	Remember caddy.Duration `json:"remember,omitempty"`
}

const (
	defaultCookie = "websms_session" // the option cookie, if it is missing
	// maxLife is the longest life that a session can have.
	maxLife = session.MaxLife
)

// cookies returns the names of the gate's cookies, with the defaults.
func (s SessionConfig) cookies() cookies.Names {
	if s.Cookie == "" {
		return cookies.New(defaultCookie, s.Domain)
	}
	return cookies.New(s.Cookie, s.Domain)
}

// life returns the durations of sessions, with the defaults.
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

// cookieName is a cookie name that every browser and server reads in the same way.
var cookieName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// check returns an error if an option is out of range.
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
	}
	return checkDomain(s.Domain)
}

// checkDomain returns an error if browsers refuse cookies for a domain. They refuse them
// for a public suffix, where anybody can register a name (RFC 6265bis, 5.7), such as co.nz
// and github.io, and for an IP address. Most refuse them for a single label such as
// localhost.
//
// A top-level domain that the list of public suffixes does not have is a public suffix
// too. So corp.internal is a domain for cookies, and internal is none.
func checkDomain(domain string) error {
	if domain == "" {
		return nil
	}
	host := domain
	if h, _, err := net.SplitHostPort(domain); err == nil {
		host = h
	}
	const remedy = "give a domain of your own, such as example.com, or remove the option for one host"
	suffix, _ := publicsuffix.PublicSuffix(domain)
	switch {
	case net.ParseIP(strings.Trim(host, "[]")) != nil || endsInNumber(domain):
		return wrongf("domain", "is %q, an IP address, for which browsers share no cookie: "+remedy, domain)
	case !request.IsDomainName(domain) || len(domain) > 253 || slices.ContainsFunc(strings.Split(domain, "."), isLongLabel):
		return wrongf("domain", "is %q: give a domain in lower case, such as example.com, without scheme, port or leading dot", domain)
	case !strings.Contains(domain, "."):
		return wrongf("domain", "is %q, a single label, for which browsers share no cookie: "+remedy, domain)
	case suffix == domain:
		return wrongf("domain", "is %q, a public suffix, below which others have sites too, so browsers refuse its cookies: "+remedy, domain)
	}
	return nil
}

// endsInNumber reports whether browsers read a host as an IPv4 address: its last label is
// a number, such as in 127.1 or 0x7f (URL Standard, "ends in a number checker").
func endsInNumber(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// isLongLabel reports whether a label is longer than DNS allows (RFC 1035, 2.3.4).
func isLongLabel(label string) bool { return len(label) > 63 }

// LimitsConfig sets how many codes the gate sends, and how many wrong codes it takes.
// If an option has several rates, all of them apply.
type LimitsConfig struct {
	// How many codes the gate sends to one number. Default: `["3/10m", "10/24h"]`.
	PerNumber []Rate `json:"per_number,omitempty"`

	// How many codes one client address may ask for. The server's
	// trusted_proxies decide which address that is. An IPv6 address counts by
	// its /64. Default: `["10/10m", "50/24h"]`.
	PerIP []Rate `json:"per_ip,omitempty"`

	// How many codes the whole gate sends. At four fifths of a rate Caddy logs a
	// warning, once in the time of the rate. Default: `["500/1h"]`.
	Budget []Rate `json:"budget,omitempty"`

	// The wait before the first resend of a code, from 0s to 10m. The wait
	// doubles with each resend. Default: `30s`.
	Cooldown *caddy.Duration `json:"cooldown,omitempty"`

	// When wrong codes lock a number for a time. They count across challenges.
	Lockout LockoutConfig `json:"lockout,omitzero"`

	// This many wrong codes in a row lock a number until an operator unlocks it.
	// From 1 to 100 (NIST SP 800-63B, 3.2.2). Default: 100.
	MaxFailures int `json:"max_failures,omitempty"`
}

// LockoutConfig sets when wrong codes lock a number for a time. While a number is
// locked, the gate sends no code to it and takes none for it.
type LockoutConfig struct {
	// The number of wrong codes in a row that lock a number, from 1 to 100. With
	// 10, the 10th, 20th and 30th wrong code lock it, and so on. Default: 10.
	Failures int `json:"failures,omitempty"`

	// How long the lock lasts, from 1s to 720h. Default: `30m` (PCI DSS 4, 8.3.4).
	Duration caddy.Duration `json:"duration,omitempty"`
}

// check returns an error if an option is out of range.
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

// maxFailures is the most wrong codes in a row that NIST SP 800-63B-4, 3.2.2 allows.
const maxFailures = otp.MaxFailures

// lockout returns when wrong codes lock a number, with the defaults.
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

// Rate is a limit, written as a count and a time: `3/10m` allows three in any ten
// minutes. The count is from 1 to 10000000, the time from 1s to 720h.
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

// short returns d as people write it in a configuration: 12h, not 12h0m0s.
func short(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// rates converts list for the engine. If list is empty, it returns fallback.
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

// HeadersConfig names the request headers that tell the application which number and
// user were verified. The gate removes both headers from every request before it sets
// them.
type HeadersConfig struct {
	// The request header with the verified number, in E.164.
	// Default: `X-Verified-Number`.
	Number string `json:"number,omitempty"`

	// The request header with the user, if the gate has a second_factor. Without
	// a second_factor, the gate only removes this header.
	// Default: `X-Verified-User`.
	User string `json:"user,omitempty"`
}

// identity returns the names of the headers, with the defaults.
func (h HeadersConfig) identity() identity.Headers { return identity.New(h.Number, h.User) }

// check returns an error if a name is no header name, is reserved, or is the same
// header as the other.
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

// checkPrefix returns an error if the gate's own pages cannot be under a path.
func checkPrefix(prefix string) error {
	if !strings.HasPrefix(prefix, "/") || prefix == "/" || path.Clean(prefix) != prefix ||
		strings.ContainsFunc(prefix, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`%\?#*{}"<>;`, r) }) {
		return wrongf("prefix", "is %q: give an absolute path of its own, such as /.websms", prefix)
	}
	return nil
}

// checkWebOTP returns an error if no message can be bound to a host. 253 is the longest
// host name in DNS (RFC 1035, 2.3.4).
func checkWebOTP(host string) error {
	if host != "" && host != "off" && (!request.IsDomainName(host) || len(host) > 253) {
		return wrongf("web_otp", "is %q: give a bare host name in lower case, such as app.example.com, or off", host)
	}
	return nil
}
