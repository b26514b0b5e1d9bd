// Package block reads the blocks of a Caddyfile that hold options. Each option stands
// on a line of its own, and most may stand once. An error names the file and the line
// and suggests a correction. It repeats no value that may be a secret.
package block

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Options maps the name of each option of a block to its reader. When a reader is
// called, d is at the name of the option. The reader must leave d at the last token
// that it has used. Its error must begin with the name of the option.
type Options map[string]func(d *caddyfile.Dispenser) error

// Read reads the block behind d, if there is one. The name of the directive or option
// that has the block is of. Each option may stand once, except the repeatable ones.
//
// When all options are read, Read calls check, which judges them together. If check
// returns a *Wrong, the error names the line of that option. If the option is
// missing, or the error is another one, it names the line where the block begins.
func Read(d *caddyfile.Dispenser, of string, known Options, check func() error, repeatable ...string) error {
	begin, lines := *d, make(map[string][]caddyfile.Dispenser)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		read, ok := known[name]
		if !ok {
			return At(d, of, fmt.Errorf("unknown option %q: it knows %s", name, strings.Join(slices.Sorted(maps.Keys(known)), ", ")))
		}
		if before := lines[name]; len(before) > 0 && !slices.Contains(repeatable, name) {
			return At(d, of, fmt.Errorf("%s stands here and at line %d: keep one of them", name, before[0].Line()))
		}
		lines[name] = append(lines[name], *d)
		if err := read(d); err != nil {
			return At(d, of, err)
		}
		if d.NextArg() {
			return At(d, of, fmt.Errorf("%s takes one value: put it in quotes if it holds spaces", name))
		}
		if inner := *d; inner.NextBlock(inner.Nesting()) {
			return At(d, of, fmt.Errorf("%s takes no block: remove { … }", name))
		}
	}
	err := check()
	if err == nil {
		return nil
	}
	if w := (*Wrong)(nil); errors.As(err, &w) {
		begin = find(lines[w.Option], w.Value, begin)
	}
	return At(&begin, of, err)
}

// find returns the position of the nth value of an option, which may have several
// lines. If there is no such value, it returns the position of the option. If the
// option is missing too, it returns missing.
func find(lines []caddyfile.Dispenser, nth int, missing caddyfile.Dispenser) caddyfile.Dispenser {
	for _, at := range lines {
		missing = at
		for nth > 0 && at.NextArg() {
			if nth--; nth == 0 {
				return at
			}
		}
	}
	return missing
}

// Sub returns a reader for an option that has a block and no value.
func Sub(known Options, check func() error, repeatable ...string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option := d.Val()
		if d.NextArg() {
			return fmt.Errorf("%s: %w", option, ErrInline)
		}
		return Read(d, option, known, check, repeatable...)
	}
}
