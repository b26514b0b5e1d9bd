// Package firstfactor finds the user whom the first factor names, and that
// user's number.
//
// A gate with second_factor stands behind a first factor, such as basic_auth,
// forward_auth or client certificates. The first factor names the user in a
// placeholder of Caddy. The number comes from a second placeholder, or from a
// directory.
//
// What it promises:
//
//   - A [Resolver] looks at each request anew, without a lock.
//   - A placeholder that a client can fill names nobody. [CheckUserPlaceholder]
//     and [CheckPhonePlaceholder] refuse it when the configuration is loaded.
//   - The log names neither a user nor a number.
package firstfactor

import (
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-websms/websms/directory"
	"github.com/caddy-websms/websms/number"
)

// ErrNobody says that the first factor has named no user.
var ErrNobody = errors.New("the first factor names no user")

// errNotAllowed is a reason for the log. The user gets the same answer as a user
// without a number.
var errNotAllowed = errors.New("not an allowed number")

// Resolver finds the user of a request and that user's number. Many goroutines
// may use it at once.
type Resolver struct {
	user, phone placeholder
	directory   directory.Directory // nil if the number is in phone
	numbers     *number.Policy
	spellings   spellings
	logger      *zap.Logger
	now         func() time.Time

	certificate, unusable, unnamed throttle
}

// Config says where a Resolver finds a user and a number.
type Config struct {
	// User and Phone are placeholders, with their braces. Check them first,
	// with CheckUserPlaceholder and CheckPhonePlaceholder.
	User, Phone string

	// Directory has the numbers, and is open. If it is nil, the number is in
	// Phone.
	Directory directory.Directory

	Numbers *number.Policy
	Logger  *zap.Logger
	Now     func() time.Time
}

// New returns a Resolver.
func New(c Config) *Resolver {
	return &Resolver{
		user: newPlaceholder(c.User), phone: newPlaceholder(c.Phone), directory: c.Directory,
		numbers: c.Numbers, spellings: newSpellings(c.Numbers.Parse), logger: c.Logger, now: c.Now,
	}
}

// Identify returns the user whom the first factor names in r, and that user's
// number. The number is one that the gate serves today. The errors are:
//
//   - ErrNobody, without a user: the first factor names nobody.
//   - directory.ErrNoNumber, with the user: the user has no number, or none that
//     the gate serves.
//   - any other, with the user: the directory cannot answer now.
func (f *Resolver) Identify(r *http.Request) (string, number.Number, error) {
	user, err := f.userOf(r)
	if err != nil {
		return "", number.Number{}, err
	}
	var n number.Number
	if f.directory != nil {
		n, err = f.lookUp(r, user)
	} else {
		n, err = f.understand(f.phone.of(r))
	}
	return user, n, err
}

// Holds reports whether Identify would return this user and this number. The
// gate asks it at every request with a session. It parses no number if the first
// factor gives it in E.164, as the session has it.
func (f *Resolver) Holds(r *http.Request, user string, n number.Number) bool {
	named, err := f.userOf(r)
	if err != nil || named != user {
		return false
	}
	if f.directory == nil {
		text := f.phone.of(r)
		if text == n.E164 && text != "" {
			return f.numbers.Allowed(n)
		}
		known, err := f.understand(text)
		return err == nil && known == n
	}
	known, err := f.lookUp(r, user)
	return err == nil && known == n
}

// userOf returns the user whom the first factor names, or ErrNobody.
func (f *Resolver) userOf(r *http.Request) (string, error) {
	user := f.user.of(r)
	if directory.CheckUser(user) == nil {
		return user, nil
	}
	if f.user.certificate && r.TLS != nil && len(r.TLS.PeerCertificates) > 0 && !isVerified(r) {
		f.warn(&f.certificate, "second_factor: a client certificate that was not verified names nobody: "+
			"give its site client_auth with a trust_pool, and a mode that verifies")
	}
	return "", ErrNobody
}

// lookUp returns the number of user in the directory.
func (f *Resolver) lookUp(r *http.Request, user string) (number.Number, error) {
	n, err := f.directory.Number(r.Context(), user)
	if err != nil {
		return number.Number{}, err
	}
	return f.served(n, nil)
}

// understand returns the number that a first factor wrote as text.
func (f *Resolver) understand(text string) (number.Number, error) {
	if text == "" {
		return number.Number{}, directory.ErrNoNumber
	}
	return f.served(f.spellings.parse(text))
}

// served returns n, or ErrNoNumber if the gate does not serve it. The log has
// the reason alone. The audit log has the user.
func (f *Resolver) served(n number.Number, err error) (number.Number, error) {
	if err == nil && !f.numbers.Allowed(n) {
		err = errNotAllowed
	}
	if err != nil {
		f.warn(&f.unusable, "second_factor: a user cannot get a code, because the gate does not serve their number", zap.Error(err))
		return number.Number{}, directory.ErrNoNumber
	}
	return n, nil
}

// WarnUnnamed logs that the first factor named nobody, at most once a minute.
// The gate calls it when it refuses such a request.
func (f *Resolver) WarnUnnamed() {
	f.warn(&f.unnamed, "second_factor: the first factor named nobody: "+
		"check that it guards this gate and the gate's prefix, and that it fills the placeholder", zap.String("user", "{"+f.user.key+"}"))
}

// throttle holds the time of the latest warning of a kind, in Unix nanoseconds.
// It is 0 before the first.
type throttle struct{ last atomic.Int64 }

// warn logs a warning of a kind at most once a minute, because any client can
// cause it as often as it likes.
func (f *Resolver) warn(t *throttle, text string, fields ...zap.Field) {
	now, last := f.now().UnixNano(), t.last.Load()
	if (last == 0 || now-last >= int64(time.Minute)) && t.last.CompareAndSwap(last, now) {
		f.logger.Warn(text, fields...)
	}
}
