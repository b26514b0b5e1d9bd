// Package block reads the blocks of a Caddyfile that hold options, each once
// and each on its line. Every mistake is reported with its file and line, says
// what to write instead, and repeats no value that may be a secret.
package block

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Options are what a block may hold, and how each is read. A reader finds d at
// the option's name, leaves it at the last token that it took, and returns an
// error that begins with the name.
type Options map[string]func(d *caddyfile.Dispenser) error

// Read reads the block that d stands before, if there is one. Each option may stand in it
// once, but for the repeatable ones. When all are read, check judges them
// together; what it finds is reported at the line of the option concerned, or
// where the block begins if that option is missing.
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

// find returns where the nth value of an option stands, which may take several
// lines, or else the option itself, or else missing.
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

// Sub reads an option that has nothing but a block.
func Sub(known Options, check func() error, repeatable ...string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option := d.Val()
		if d.NextArg() {
			return fmt.Errorf("%s: %w", option, ErrInline)
		}
		return Read(d, option, known, check, repeatable...)
	}
}
