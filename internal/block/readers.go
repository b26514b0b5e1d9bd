package block

import (
	"fmt"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Text returns a reader for an option with one value.
func Text(into *string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option := d.Val()
		if !d.NextArg() || d.Val() == "" {
			return fmt.Errorf("%s has no value (a {$VAR} that is not set leaves none): give one, or remove the option", option)
		}
		*into = d.Val()
		return nil
	}
}

// Texts returns a reader for an option with one or more values.
func Texts(into *[]string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option, args := d.Val(), d.RemainingArgs()
		if len(args) == 0 {
			return fmt.Errorf("%s has no value (a {$VAR} that is not set leaves none): give one, or remove the option", option)
		}
		*into = append(*into, args...)
		return nil
	}
}

// Whole returns a reader for an option with a whole number other than 0. The check of
// the block must refuse one that is negative or too large.
func Whole(into *int) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option, value := d.Val(), ""
		if err := Text(&value)(d); err != nil {
			return err
		}
		n, err := strconv.Atoi(value)
		if err != nil || n == 0 { // 0 would select the default, which is not its plain meaning
			return fmt.Errorf("%s is %q: give a whole number above 0", option, value)
		}
		*into = n
		return nil
	}
}

func duration(set func(caddy.Duration), zero bool) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option, value := d.Val(), ""
		if err := Text(&value)(d); err != nil {
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

// Duration returns a reader for an option with a duration above 0.
func Duration(into *caddy.Duration) func(*caddyfile.Dispenser) error {
	return duration(func(v caddy.Duration) { *into = v }, false)
}

// DurationOrNone returns a reader for an option with a duration of 0 or more.
func DurationOrNone(into **caddy.Duration) func(*caddyfile.Dispenser) error {
	return duration(func(v caddy.Duration) { *into = &v }, true)
}

// Flag returns a reader for an option without a value.
func Flag(into *bool) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option := d.Val()
		if d.NextArg() {
			return fmt.Errorf("%s takes no value: to turn it off, remove the option", option)
		}
		*into = true
		return nil
	}
}
