package websms

import (
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-websms/websms/directory"
	"github.com/caddy-websms/websms/internal/block"
)

// parseSecondFactor returns a function that reads the option second_factor. Syntax:
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

// parseDirectory reads the option directory. A value with a dot or a slash is the
// path of a file. Any other value is the name of a module. So a configuration
// means the same in every Caddy, whichever modules that Caddy has.
func (c *SecondFactorConfig) parseDirectory(d *caddyfile.Dispenser) error {
	var name string
	if err := block.Text(&name)(d); err != nil {
		return err
	}
	if strings.ContainsAny(name, `./\`) {
		c.DirectoryRaw = caddyconfig.JSONModuleObject(directory.File{Path: name}, "module", "file", nil)
		return nil
	}
	var err error
	c.DirectoryRaw, err = guest(d, "directory", directory.Namespace, name, "; the path of a file holds a dot or a slash, as in ./"+name)
	return err
}
