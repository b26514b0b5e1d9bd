package block

import (
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Wrong is an error in one option. It names the option, so that Read can find its line.
type Wrong struct {
	Option string
	Value  int    // the number of the wrong value, from 1; 0 for no value in particular
	Text   string // the mistake, and its correction
}

// Error returns the option and the mistake.
func (w *Wrong) Error() string { return w.Option + " " + w.Text }

// Wrongf returns a *Wrong about an option, without a value in particular.
func Wrongf(option, format string, args ...any) error {
	return &Wrong{Option: option, Text: fmt.Sprintf(format, args...)}
}

// Within puts the name of a block before an error. It is for options that come from
// JSON, where an error has no line. If err is nil, Within returns nil.
func Within(block string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", block, err)
}

// placed is an error that names its line.
type placed struct{ error }

// At adds the file and line of d to err, unless err already names its line.
func At(d *caddyfile.Dispenser, of string, err error) error {
	if p := (placed{}); errors.As(err, &p) {
		return p
	}
	return placed{d.WrapErr(fmt.Errorf("%s: %w", of, err))}
}

// Placed marks an error that already names its line, such as one of Caddy's own
// parsers.
func Placed(err error) error { return placed{err} }

// ErrInline refuses a value on the line of an option that has a block. It does not
// repeat the value, which may be a secret.
var ErrInline = errors.New("its options stand in a block, { … }, and not on its line")
