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

// placeholder is what the options take: the environment and files do not
// change from one node or moment to the next as {system.hostname} or
// {time.now} do, which would part the keys of one store.
var placeholder = regexp.MustCompile(`\{(env|file)\.[^{}]+\}`)

// check returns what is wrong with the options as they were written.
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
		return block.Wrongf("db", "is %d beside several addresses, which are those of a cluster, and that has only 0: remove it, or give one address", s.DB)
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
	return block.Wrongf("key_prefix", "is too long, or holds a space, a brace or what is not ASCII: give up to %d characters, such as %s", maxPrefix, DefaultKeyPrefix)
}

// checkSocket returns what a Unix socket does not go with.
func (s *Store) checkSocket() error {
	if !slices.ContainsFunc(s.Address, isSocket) {
		return nil
	}
	switch {
	case len(s.Address) > 1:
		return block.Wrongf("address", "has a Unix socket beside others: give the socket alone")
	case s.TLS != nil:
		return block.Wrongf("tls", "stands beside the address of a Unix socket, which leaves the machine nowhere: remove it")
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
		return block.Wrongf("master", "holds a space, a brace or what is not ASCII: give the name under which the sentinels watch it, such as mymaster")
	case c.Username != "" && c.Password == "":
		return block.Wrongf("username", "stands without password: add it, such as {env.SENTINEL_PASSWORD}")
	}
	return nil
}

// plain reports whether text is printable ASCII without spaces, and without
// braces, which say what part of a key a cluster hashes.
func plain(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == '{' || r == '}' })
}

// port is what an address has that names none.
func (s *Store) port() string {
	if s.Sentinel != nil {
		return "26379"
	}
	return "6379"
}

// socket begins the address of a Unix socket, as in Caddy's own addresses.
const socket = "unix/"

func isSocket(address string) bool { return strings.HasPrefix(address, socket) }

var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?$`)

// isHost reports whether text is a host's name, with the underscores that
// containers are given, or an IP address.
func isHost(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil || hostName.MatchString(text)
}

// parseAddress returns an address with its port, or a Unix socket as it is
// written. The error does not repeat what may hold a password.
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
