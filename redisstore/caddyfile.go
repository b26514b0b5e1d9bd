package redisstore

import (
	"fmt"
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-websms/websms/internal/block"
)

// UnmarshalCaddyfile reads the store. Syntax:
//
//	redis {
//		address    <host>[:<port>]…
//		username   <name>
//		password   <password>
//		db         <number>
//		tls [{
//			ca          <file>
//			cert        <file>
//			key         <file>
//			server_name <name>
//		}]
//		key_prefix <prefix>
//		sentinel   <master> [{
//			username <name>
//			password <password>
//		}]
//	}
func (s *Store) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name of the store
	if d.NextArg() {
		return block.At(d, "store redis", block.ErrInline)
	}
	return block.Read(d, "store redis", block.Options{
		"address":    block.Texts(&s.Address),
		"username":   block.Text(&s.Username),
		"password":   block.Text(&s.Password),
		"db":         database(&s.DB),
		"tls":        s.parseTLS,
		"key_prefix": block.Text(&s.KeyPrefix),
		"sentinel":   s.parseSentinel,
	}, s.check)
}

func (s *Store) parseTLS(d *caddyfile.Dispenser) error {
	c := new(TLS)
	s.TLS = c
	return block.Sub(block.Options{
		"ca":          block.Text(&c.CA),
		"cert":        block.Text(&c.Cert),
		"key":         block.Text(&c.Key),
		"server_name": block.Text(&c.ServerName),
	}, c.check)(d)
}

func (s *Store) parseSentinel(d *caddyfile.Dispenser) error {
	c := new(Sentinel)
	s.Sentinel = c
	if err := block.Text(&c.Master)(d); err != nil {
		return err
	}
	if d.NextArg() {
		return fmt.Errorf("sentinel takes the name of the master alone: " +
			"give the sentinels as address, and their username and password in a block, { … }")
	}
	return block.Read(d, "sentinel", block.Options{
		"username": block.Text(&c.Username),
		"password": block.Text(&c.Password),
	}, c.check)
}

// database reads the number of a database, from 0.
func database(into *int) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option, value := d.Val(), ""
		if err := block.Text(&value)(d); err != nil {
			return err
		}
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return fmt.Errorf("%s is %q: give the number of a database, from 0", option, value)
		}
		*into = n
		return nil
	}
}

// Interface guards
var _ caddyfile.Unmarshaler = (*Store)(nil)
