package redisstore

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/caddy-websms/websms/internal/block"
	"github.com/caddy-websms/websms/internal/risk"
	"github.com/caddy-websms/websms/internal/secret"
)

// resolved holds the options after a configuration was loaded.
type resolved struct {
	options Store       // with the defaults, without placeholders
	tls     *tls.Config // nil without tls
	digest  [sha256.Size]byte
}

// resolve replaces the placeholders, checks the resulting options, and reads the files
// of tls.
func (s *Store) resolve() (*resolved, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	o := Store{Address: slices.Clone(s.Address), DB: s.DB}
	if s.TLS != nil {
		o.TLS = new(TLS)
	}
	if s.Sentinel != nil {
		o.Sentinel = new(Sentinel)
	}
	for i := range o.Address {
		if err := replace(&o.Address[i], "address", s.Address[i]); err != nil {
			return nil, err
		}
	}
	if err := s.replaceInto(&o); err != nil {
		return nil, err
	}
	if o.KeyPrefix == "" {
		o.KeyPrefix = DefaultKeyPrefix
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	if !plain(o.KeyPrefix) { // check allows placeholders, and a file may contain one
		return nil, wrongPrefix()
	}
	for i, text := range o.Address {
		var err error
		if o.Address[i], err = parseAddress(text, o.port()); err != nil {
			return nil, wrongAddress(i, len(o.Address), err)
		}
	}
	r := &resolved{options: o}
	sum := sha256.New()
	fmt.Fprintf(sum, "%q %q %q %d %q", o.Address, o.Username, o.Password, o.DB, o.KeyPrefix)
	if c := o.Sentinel; c != nil {
		fmt.Fprintf(sum, " sentinel %q %q %q", c.Master, c.Username, c.Password)
	}
	if o.TLS != nil {
		var err error
		if r.tls, err = o.TLS.load(sum); err != nil {
			return nil, block.Within("tls", err)
		}
	}
	sum.Sum(r.digest[:0])
	return r, nil
}

// replaceInto replaces the placeholders in all options but the addresses.
func (s *Store) replaceInto(o *Store) error {
	for _, err := range []error{
		replace(&o.Username, "username", s.Username),
		replace(&o.Password, "password", s.Password),
		replace(&o.KeyPrefix, "key_prefix", s.KeyPrefix),
	} {
		if err != nil {
			return err
		}
	}
	if from, to := s.TLS, o.TLS; from != nil {
		for _, err := range []error{
			replace(&to.CA, "ca", from.CA), replace(&to.Cert, "cert", from.Cert),
			replace(&to.Key, "key", from.Key), replace(&to.ServerName, "server_name", from.ServerName),
		} {
			if err != nil {
				return block.Within("tls", err)
			}
		}
	}
	if from, to := s.Sentinel, o.Sentinel; from != nil {
		for _, err := range []error{
			replace(&to.Master, "master", from.Master),
			replace(&to.Username, "username", from.Username), replace(&to.Password, "password", from.Password),
		} {
			if err != nil {
				return block.Within("sentinel", err)
			}
		}
	}
	return nil
}

func replace(into *string, option, value string) (err error) {
	*into, err = secret.Resolve(option, value)
	return err
}

// Risks returns the risks of the options. There is one: a connection to another
// machine without TLS, which shows the password and the sealing keys.
func (s *Store) Risks() []risk.Risk {
	if s.TLS != nil {
		return nil
	}
	for _, address := range s.Address {
		host, _, err := net.SplitHostPort(address)
		if err != nil || host == "localhost" { // an error means a socket, which is on this machine
			continue
		}
		if ip, err := netip.ParseAddr(host); err == nil && ip.IsLoopback() {
			continue
		}
		return []risk.Risk{{
			Text: "store redis asks " + host + " without TLS: its password and the sealing keys can be read on the way",
			Do:   "add tls",
		}}
	}
	return nil
}
