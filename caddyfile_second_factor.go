package websms

import (
	"errors"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-websms/websms/internal/block"
)

// parseSecondFactor returns the reader of the option second_factor. Syntax:
//
//	second_factor {
//		user      <placeholder>
//		phone     <placeholder>
//		directory <path> | <module> [<args>…] [{ … }]
//	}
func parseSecondFactor(into **SecondFactorConfig) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		c := new(SecondFactorConfig)
		*into = c
		return block.Sub(block.Options{
			"user":      block.Text(&c.User),
			"phone":     block.Text(&c.Phone),
			"directory": c.parseDirectory,
		}, func() error { return c.check() })(d)
	}
}

// parseDirectory reads the option directory. What holds a dot or a slash is
// the path of a file, anything else is the name of a module: so what a
// configuration means does not depend on which modules a Caddy has.
func (c *SecondFactorConfig) parseDirectory(d *caddyfile.Dispenser) error {
	var name string
	if err := block.Text(&name)(d); err != nil {
		return err
	}
	if strings.ContainsAny(name, `./\`) {
		c.DirectoryRaw = caddyconfig.JSONModuleObject(FileDirectory{Path: name}, "module", "file", nil)
		return nil
	}
	var err error
	c.DirectoryRaw, err = guest(d, "directory", directories, name, "; the path of a file holds a dot or a slash, as in ./"+name)
	return err
}

// UnmarshalCaddyfile reads the file directory. Syntax:
//
//	file <path>
func (f *FileDirectory) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // its name
	if !d.NextArg() || d.Val() == "" {
		return block.At(d, "directory file", errors.New("it has no path: write directory file <path>"))
	}
	f.Path = d.Val()
	if d.NextArg() {
		return block.At(d, "directory file", errors.New("it takes one path: put it in quotes if it holds spaces"))
	}
	if inner := *d; inner.NextBlock(inner.Nesting()) {
		return block.At(d, "directory file", errors.New("it takes no block: remove { … }"))
	}
	return nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*FileDirectory)(nil)
