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

// errNotAllowed is for the log alone: to its user, a number that is not
// allowed is none.
var errNotAllowed = errors.New("not an allowed number")

// Resolver finds out whom the first factor has named, and which number is
// theirs. It does so at every request anew, without a lock.
type Resolver struct {
	user, phone placeholder
	directory   directory.Directory // nil: the number is in phone
	numbers     *number.Policy
	spellings   spellings
	logger      *zap.Logger
	now         func() time.Time

	certificate, unusable, unnamed throttle
}

// Config is where a first factor names a user, and what a number of theirs must be.
type Config struct {
	User, Phone string              // placeholders; Phone is empty with a directory
	Directory   directory.Directory // open, or nil
	Numbers     *number.Policy
	Logger      *zap.Logger
	Now         func() time.Time
}

// New returns what c, which has been checked, describes.
func New(c Config) *Resolver {
	return &Resolver{
		user: newPlaceholder(c.User), phone: newPlaceholder(c.Phone), directory: c.Directory,
		numbers: c.Numbers, spellings: newSpellings(c.Numbers.Parse), logger: c.Logger, now: c.Now,
	}
}

// Identify returns the user whom the first factor names in r, and the number
// that is theirs: of one of the gate's countries, and listed where the gate
// has a list. It returns ErrNobody; or the user and ErrNoNumber; or the user
// and another error, where the directory cannot tell now.
func (f *Resolver) Identify(r *http.Request) (string, number.Number, error) {
	user, err := f.who(r)
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

// Holds reports whether identify names this user and this number, which are
// those of a session. It does not parse a number that is spelled as there.
func (f *Resolver) Holds(r *http.Request, user string, n number.Number) bool {
	named, err := f.who(r)
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

// who returns the user whom the first factor names.
func (f *Resolver) who(r *http.Request) (string, error) {
	user := f.user.of(r)
	if directory.CheckUser(user) == nil {
		return user, nil
	}
	if f.user.certificate && r.TLS != nil && len(r.TLS.PeerCertificates) > 0 && !isVerified(r) {
		f.warn(&f.certificate, "second_factor: a client certificate that was not verified names nobody: give its site client_auth with a trust_pool, and a mode that verifies")
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

// understand returns the number that the first factor has spelled so.
func (f *Resolver) understand(text string) (number.Number, error) {
	if text == "" {
		return number.Number{}, directory.ErrNoNumber
	}
	return f.served(f.spellings.parse(text))
}

// served returns n, or ErrNoNumber where it cannot get a code. The log names
// neither the number nor the user, who is in the audit log.
func (f *Resolver) served(n number.Number, err error) (number.Number, error) {
	if err == nil && !f.numbers.Allowed(n) {
		err = errNotAllowed
	}
	if err != nil {
		f.warn(&f.unusable, "second_factor: a user cannot get a code, because their number is of no use here", zap.Error(err))
		return number.Number{}, directory.ErrNoNumber
	}
	return n, nil
}

// WarnUnnamed tells that the first factor names nobody.
func (f *Resolver) WarnUnnamed() {
	f.warn(&f.unnamed, "second_factor: nobody is named; is the first factor in front of this gate, and of its prefix too, and does it fill the placeholder?", zap.String("user", "{"+f.user.key+"}"))
}

// throttle is when something was said last, in Unix nanoseconds.
type throttle struct{ last atomic.Int64 }

// warn logs what whoever sends requests can bring about: once a minute.
func (f *Resolver) warn(t *throttle, text string, fields ...zap.Field) {
	now, last := f.now().UnixNano(), t.last.Load()
	if (last == 0 || now-last >= int64(time.Minute)) && t.last.CompareAndSwap(last, now) {
		f.logger.Warn(text, fields...)
	}
}
