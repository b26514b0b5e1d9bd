package redisstore

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-websms/websms/internal/block"
)

// placeholder matches the placeholders that options may contain: {env.NAME} and
// {file./path}. Others, such as {system.hostname} or {time.now}, differ from node to
// node or change with time, so the nodes would not share one store.
var placeholder = regexp.MustCompile(`\{(env|file)\.[^{}]+\}`)

// check returns an error for options that are wrong as they are written.
func (s *Store) check() error {
	if len(s.Address) == 0 {
		return block.Wrongf("address", "is missing: say where Redis is, such as localhost:6379")
	}
	for i, text := range s.Address {
		if !placeholder.MatchString(text) {
			if _, err := parseAddress(text, s.port()); err != nil {
				return wrongAddress(i, len(s.Address), err)
			}
		}
	}
	if err := s.checkSocket(); err != nil {
		return err
	}
	if s.Username != "" && s.Password == "" {
		return block.Wrongf("username", "stands without password: add it, such as {env.REDIS_PASSWORD}")
	}
	if s.DB < 0 {
		return block.Wrongf("db", "is %d: give the number of a database, from 0", s.DB)
	}
	if s.DB != 0 && len(s.Address) > 1 && s.Sentinel == nil {
		return block.Wrongf("db", "is %d beside several addresses, which are those of a cluster, and that has only 0: "+
			"remove it, or give one address", s.DB)
	}
	if len(s.KeyPrefix) > maxPrefix || !plain(placeholder.ReplaceAllString(s.KeyPrefix, "")) {
		return wrongPrefix()
	}
	if s.TLS != nil {
		if err := s.TLS.check(); err != nil {
			return block.Within("tls", err)
		}
	}
	if s.Sentinel != nil {
		return block.Within("sentinel", s.Sentinel.check())
	}
	return nil
}

func wrongAddress(i, of int, err error) error {
	return &block.Wrong{Option: "address", Value: i + 1, Text: fmt.Sprintf("%d of %d %v", i+1, of, err)}
}

func wrongPrefix() error {
	return block.Wrongf("key_prefix", "is too long, or holds a space, a brace or a character that is not ASCII: "+
		"give up to %d characters, such as %s", maxPrefix, DefaultKeyPrefix)
}

// checkSocket returns an error if the address is a Unix socket, and another option
// does not go with it.
func (s *Store) checkSocket() error {
	if !slices.ContainsFunc(s.Address, isSocket) {
		return nil
	}
	switch {
	case len(s.Address) > 1:
		return block.Wrongf("address", "has a Unix socket beside others: give the socket alone")
	case s.TLS != nil:
		return block.Wrongf("tls", "stands beside the address of a Unix socket, which is always on this machine: remove it")
	case s.Sentinel != nil:
		return block.Wrongf("sentinel", "stands beside the address of a Unix socket: give the sentinels as host:port")
	}
	return nil
}

func (c *Sentinel) check() error {
	switch {
	case c.Master == "":
		return block.Wrongf("master", "is missing: give the name under which the sentinels watch it, such as mymaster")
	case !plain(placeholder.ReplaceAllString(c.Master, "")):
		return block.Wrongf("master", "holds a space, a brace or a character that is not ASCII: "+
			"give the name under which the sentinels watch it, such as mymaster")
	case c.Username != "" && c.Password == "":
		return block.Wrongf("username", "stands without password: add it, such as {env.SENTINEL_PASSWORD}")
	}
	return nil
}

// plain reports whether text is printable ASCII without spaces and braces. Braces
// are not allowed because a cluster hashes only the part of a key between braces.
func plain(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == '{' || r == '}' })
}

// port returns the port of addresses that are written without one.
func (s *Store) port() string {
	if s.Sentinel != nil {
		return "26379"
	}
	return "6379"
}

// socket is the prefix of a Unix socket's address, as in Caddy's own addresses.
const socket = "unix/"

func isSocket(address string) bool { return strings.HasPrefix(address, socket) }

var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?$`)

// isHost reports whether text is an IP address or a host name. A host name may
// contain underscores, because names of containers do.
func isHost(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil || hostName.MatchString(text)
}

// parseAddress returns an address with its port, or a Unix socket as it is written.
// The error does not repeat the text, because a URL may contain a password.
func parseAddress(text, port string) (string, error) {
	if path, ok := strings.CutPrefix(text, socket); ok && strings.HasPrefix(path, "/") && !strings.ContainsRune(path, 0) {
		return text, nil
	}
	if strings.HasPrefix(text, "unix") && strings.Contains(text, "/") {
		return "", errors.New("is no absolute path of a Unix socket: write it as unix//run/redis/redis.sock")
	}
	if strings.ContainsAny(text, "/@") {
		return "", errors.New("is a URL, or holds a user: give host:port alone, and username, password, db and tls as options of their own")
	}
	host := text
	if h, p, err := net.SplitHostPort(text); err == nil {
		host, port = h, p
	} else if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
		host = text[1 : len(text)-1]
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if !isHost(host) || err != nil || number == 0 {
		return "", errors.New("is no host and port: give such as redis.example.com:6379, [2001:db8::1]:6379 or unix//run/redis/redis.sock")
	}
	return net.JoinHostPort(strings.ToLower(host), strconv.FormatUint(number, 10)), nil
}
