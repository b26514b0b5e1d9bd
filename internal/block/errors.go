package block

import (
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Wrong is an error of one option. It names it, so that Read can say where it
// stands.
type Wrong struct {
	Option string
	Value  int    // which of the option's values, from 1; 0: no one in particular
	Text   string // what is wrong, and what to write instead
}

func (w *Wrong) Error() string { return w.Option + " " + w.Text }

// Wrongf returns a *Wrong about no one value in particular.
func Wrongf(option, format string, args ...any) error {
	return &Wrong{Option: option, Text: fmt.Sprintf(format, args...)}
}

// Within says in which block an error is, for what is read from JSON and has
// no line. It returns nil if err is.
func Within(block string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", block, err)
}

// placed is an error that says at which line it is.
type placed struct{ error }

// At says of err that it is where d stands, unless it says so itself.
func At(d *caddyfile.Dispenser, of string, err error) error {
	if p := (placed{}); errors.As(err, &p) {
		return p
	}
	return placed{d.WrapErr(fmt.Errorf("%s: %w", of, err))}
}

// Placed marks an error that says at which line it is, as those of Caddy's own
// parsers do.
func Placed(err error) error { return placed{err} }

// ErrInline refuses a value on the line of what has a block. It does not
// repeat the value, which may be a secret.
var ErrInline = errors.New("its options stand in a block, { … }, and not on its line")
