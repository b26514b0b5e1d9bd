package websms

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
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
		return sub(options{
			"user":      text(&c.User),
			"phone":     text(&c.Phone),
			"directory": c.parseDirectory,
		}, func() error { return c.check() })(d)
	}
}

// parseDirectory reads the option directory. What holds a dot or a slash is
// the path of a file, anything else is the name of a module: so what a
// configuration means does not depend on which modules a Caddy has.
func (c *SecondFactorConfig) parseDirectory(d *caddyfile.Dispenser) error {
	var name string
	if err := text(&name)(d); err != nil {
		return err
	}
	if strings.ContainsAny(name, `./\`) {
		c.DirectoryRaw = caddyconfig.JSONModuleObject(FileDirectory{Path: name}, "module", "file", nil)
		return nil
	}
	id := directories + "." + name
	if _, err := caddy.GetModule(id); err != nil {
		var built []string
		for _, m := range caddy.GetModules(directories) {
			built = append(built, m.ID.Name())
		}
		return fmt.Errorf("directory %q is not built into this Caddy, which has: %s; build one that has it, or name another; the path of a file holds a dot or a slash, as in ./%[1]s", name, strings.Join(built, ", "))
	}
	directory, err := caddyfile.UnmarshalModule(d, id)
	if err != nil {
		return placed{err}
	}
	c.DirectoryRaw = caddyconfig.JSONModuleObject(directory, "module", name, nil)
	return nil
}

// UnmarshalCaddyfile reads the file directory. Syntax:
//
//	file <path>
func (f *FileDirectory) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // its name
	if err := text(&f.Path)(d); err != nil {
		return place(d, "directory", err)
	}
	if d.NextArg() {
		return place(d, "directory file", errors.New("it takes one path: put it in quotes if it holds spaces"))
	}
	if inner := *d; inner.NextBlock(inner.Nesting()) {
		return place(d, "directory file", errors.New("it takes no block: remove { … }"))
	}
	return nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*FileDirectory)(nil)
