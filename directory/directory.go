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

// ErrNoNumber says that a directory knows no number of a user, or does not
// know the user at all: to a gate both are the same.
var ErrNoNumber = errors.New("no number is known of this user")

// Directory is a module in the namespace websms.directories: it knows which
// number is whose, so that nobody types theirs. The file of File is
// one; LDAP or an HTTP API could be others.
//
// Each gate has an instance of its own. Its life is that of any Caddy module:
// Provision and Validate come before Open, and Cleanup, if it has one, ends
// what Open began, also when Open was never called or has failed.
type Directory interface {
	// Open makes the directory ready, once, before the gate serves its first
	// request. parse understands a number as people of the gate's countries
	// spell it, and may be used for as long as the directory lives, by many
	// goroutines at once; its errors repeat nothing of the number, as the
	// errors of a directory must not either. An error ends the loading of the
	// configuration.
	Open(parse func(spelled string) (number.Number, error)) error

	// Number returns the number of a user as parse has understood it. It
	// returns ErrNoNumber where the user has none, and any other error where
	// the answer cannot be known now; nobody is let in by either.
	//
	// It is asked at every request, also of a session long verified, so that
	// who is taken out of the directory is out; by many goroutines at once. It
	// must answer from memory: a directory that lives elsewhere is to be
	// copied, or remembered, and brought up to date behind the requests. user
	// is neither empty nor over 255 bytes, and is to be compared byte for byte:
	// what Alice and alice have in common is for the first factor to decide.
	Number(ctx context.Context, user string) (number.Number, error)
}

// Namespace is the namespace of the guest modules that are directories.
const Namespace = "websms.directories"

// maxUser bounds the name of a user, in bytes.
const maxUser = 255

// CheckUser reports what can be nobody's name. Spaces around one are refused
// because they are lost on the way to an upstream (RFC 9110, 5.5), to which
// "alice " would be alice.
func CheckUser(user string) error {
	switch {
	case isPlain(user): // nearly everybody, at every request
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

// isInvisible reports a control character, or the byte order mark of a file
// that was put behind another.
func isInvisible(r rune) bool { return unicode.IsControl(r) || r == '\ufeff' }

// isPlain reports whether user is of visible ASCII alone.
func isPlain(user string) bool {
	for i := range len(user) {
		if c := user[i]; c <= ' ' || c > '~' {
			return false
		}
	}
	return user != "" && len(user) <= maxUser
}
