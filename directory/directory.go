// Package directory says which number belongs to which user. A gate with
// second_factor asks a directory for the number of the user whom the first
// factor names, so nobody types a number.
//
// A directory is a Caddy module in the namespace websms.directories. This
// package holds the interface, [Directory], and the directory in a CSV file,
// [File]. A directory of another kind, such as LDAP, implements the interface in
// a package of its own.
//
// A directory answers from memory, because a gate asks it at every request. Its
// errors never repeat a user or a number.
package directory

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-websms/websms/number"
)

// ErrNoNumber says that a directory has no number for a user. The user may be
// unknown too: a gate treats both cases alike.
var ErrNoNumber = errors.New("no number is known of this user")

// Directory is a module in the namespace websms.directories.
//
// Each gate loads an instance of its own, which lives as any Caddy module does.
// The order is Provision, Validate, Open. If the module has a method Cleanup,
// Caddy calls it at the end, even if Open failed or was never called.
type Directory interface {
	// Open makes the directory ready. The gate calls it once, before its first
	// request. An error ends the loading of the configuration.
	//
	// The function parse understands a number as people of the gate's countries
	// write it. The directory may keep parse for its whole life, and many
	// goroutines may call it at once. An error of parse does not repeat the
	// number, and neither may an error of the directory.
	Open(parse func(spelled string) (number.Number, error)) error

	// Number returns the number of a user, as parse returned it. It returns
	// ErrNoNumber if the user has none, and another error if the answer is not
	// known now. The gate lets nobody in on an error.
	//
	// The gate calls it at every request, even with a valid session. So a user
	// who is removed from the directory is out at the next request. Many
	// goroutines call it at once, and it must answer from memory. A directory
	// that is kept elsewhere needs a copy here, refreshed in the background.
	//
	// The user has 1 to 255 bytes. Compare it byte for byte: only the first
	// factor can decide whether Alice and alice are one person.
	Number(ctx context.Context, user string) (number.Number, error)
}

// Namespace is the namespace of Caddy modules that are directories.
const Namespace = "websms.directories"

// maxUser is the length of the longest user name, in bytes.
const maxUser = 255

// CheckUser returns an error if a string cannot name a user. The error does not
// repeat the string.
//
// A space at either end is an error, because an upstream never sees it
// (RFC 9110, 5.5). Without that rule "alice " could pass for alice there.
func CheckUser(user string) error {
	switch {
	case isPlain(user): // the usual case, which must be cheap: this runs at every request
		return nil
	case user == "":
		return errors.New("the user is missing")
	case len(user) > maxUser:
		return fmt.Errorf("the user has %d bytes, more than %d", len(user), maxUser)
	case strings.TrimSpace(user) != user:
		return errors.New("the user begins or ends with a space")
	case !utf8.ValidString(user):
		return errors.New("the user is not in UTF-8")
	case strings.ContainsFunc(user, isInvisible):
		return errors.New("the user holds a control character")
	}
	return nil
}

// isInvisible reports whether r is a control character or a byte order mark. A
// byte order mark stands inside a file if two files were joined.
func isInvisible(r rune) bool { return unicode.IsControl(r) || r == '\ufeff' }

// isPlain reports whether user consists of visible ASCII characters only.
func isPlain(user string) bool {
	for i := range len(user) {
		if c := user[i]; c <= ' ' || c > '~' {
			return false
		}
	}
	return user != "" && len(user) <= maxUser
}
