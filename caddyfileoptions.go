package websms

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// options are what a block may hold, and how each is read. A reader finds d at
// the option's name, leaves it at the last token that it took, and returns an
// error that begins with the name.
type options map[string]func(d *caddyfile.Dispenser) error

// placed is an error that says at which line it is.
type placed struct{ error }

// place says of err that it is where d stands, unless it says so itself.
func place(d *caddyfile.Dispenser, of string, err error) error {
	if p := (placed{}); errors.As(err, &p) {
		return p
	}
	return placed{d.WrapErr(fmt.Errorf("%s: %w", of, err))}
}

// block reads the block that d stands before. Each option may stand in it
// once, but for the repeatable ones. When all are read, check judges them
// together; what it finds is reported at the line of the option concerned, or
// where the block begins if that option is missing.
func block(d *caddyfile.Dispenser, of string, known options, check func() error, repeatable ...string) error {
	begin, lines := *d, make(map[string][]caddyfile.Dispenser)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		read, ok := known[name]
		if !ok {
			return place(d, of, fmt.Errorf("unknown option %q: it knows %s", name, strings.Join(slices.Sorted(maps.Keys(known)), ", ")))
		}
		if before := lines[name]; len(before) > 0 && !slices.Contains(repeatable, name) {
			return place(d, of, fmt.Errorf("%s stands here and at line %d: keep one of them", name, before[0].Line()))
		}
		lines[name] = append(lines[name], *d)
		if err := read(d); err != nil {
			return place(d, of, err)
		}
		if d.NextArg() {
			return place(d, of, fmt.Errorf("%s takes one value: put it in quotes if it holds spaces", name))
		}
		if inner := *d; inner.NextBlock(inner.Nesting()) {
			return place(d, of, fmt.Errorf("%s takes no block: remove { … }", name))
		}
	}
	err := check()
	if err == nil {
		return nil
	}
	if w := (*wrong)(nil); errors.As(err, &w) {
		begin = find(lines[w.option], w.value, begin)
	}
	return place(&begin, of, err)
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

// text reads an option with one value.
func text(into *string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option := d.Val()
		if !d.NextArg() || d.Val() == "" {
			return fmt.Errorf("%s has no value (a {$VAR} that is not set leaves none): give one, or remove the option", option)
		}
		*into = d.Val()
		return nil
	}
}

// texts reads an option with one or more values.
func texts(into *[]string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option, args := d.Val(), d.RemainingArgs()
		if len(args) == 0 {
			return fmt.Errorf("%s has no value (a {$VAR} that is not set leaves none): give one, or remove the option", option)
		}
		*into = append(*into, args...)
		return nil
	}
}

func whole(into *int) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option, value := d.Val(), ""
		if err := text(&value)(d); err != nil {
			return err
		}
		n, err := strconv.Atoi(value)
		if err != nil || n == 0 { // 0 would mean the default, which nobody who writes it means
			return fmt.Errorf("%s is %q: give a whole number above 0", option, value)
		}
		*into = n
		return nil
	}
}

func duration(set func(caddy.Duration), zero bool) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option, value := d.Val(), ""
		if err := text(&value)(d); err != nil {
			return err
		}
		parsed, err := caddy.ParseDuration(value)
		if err != nil || parsed < 0 || parsed == 0 && !zero {
			return fmt.Errorf("%s is %q: give a duration with its unit, such as 30s, 5m or 12h", option, value)
		}
		set(caddy.Duration(parsed))
		return nil
	}
}

func some(into *caddy.Duration) func(*caddyfile.Dispenser) error {
	return duration(func(v caddy.Duration) { *into = v }, false)
}

func someOrNone(into **caddy.Duration) func(*caddyfile.Dispenser) error {
	return duration(func(v caddy.Duration) { *into = &v }, true)
}

func flag(into *bool) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option := d.Val()
		if d.NextArg() {
			return fmt.Errorf("%s takes no value: to turn it off, remove the option", option)
		}
		*into = true
		return nil
	}
}

func rateList(into *[]Rate) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option, args := d.Val(), d.RemainingArgs()
		if len(args) == 0 {
			return fmt.Errorf("%s has no value: %s", option, rateHelp)
		}
		for _, arg := range args {
			var r Rate
			if err := r.UnmarshalText([]byte(arg)); err != nil {
				return fmt.Errorf("%s: %w", option, err)
			}
			*into = append(*into, r)
		}
		return nil
	}
}

// sub reads an option that has nothing but a block.
func sub(known options, check func() error, repeatable ...string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option := d.Val()
		if d.NextArg() {
			return fmt.Errorf("%s: %w", option, errInline)
		}
		return block(d, option, known, check, repeatable...)
	}
}

// errInline refuses a value on the line of what has a block. It does not
// repeat the value, which may be a secret.
var errInline = errors.New("its options stand in a block, { … }, and not on its line")
