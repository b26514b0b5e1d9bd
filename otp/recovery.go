package otp

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/caddy-websms/websms/session"
)

// A recovery code is an operator's word that somebody is who they say, for
// when no SMS reaches them. It is kept as a challenge whose id is a keyed hash
// of the code: 64 random bits need no number to be found by, a store needs no
// new kind of thing, and works once wherever a challenge does.
const (
	// RecoveryLife is how long a recovery code is good for.
	RecoveryLife = MaxLife
	// recoverySize of a code is too long to be guessed in its life, at any
	// speed, and short enough to be read out over the phone.
	recoverySize = 8
)

// recoveryTries bounds the codes that are tried from one network address. It
// spares the store; the code's length is what protects the code.
var recoveryTries = Rate{Count: 10, Window: RecoveryLife}

// recoveryRate bounds the recovery codes made for one person: whoever talks
// an operator into many of them does not get many.
var recoveryRate = Rate{Count: 5, Window: time.Hour}

// recoveryText writes a code without letters that are taken for digits
// (Crockford's alphabet).
var recoveryText = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// NewRecovery makes a recovery code that lets holder in, once, within
// RecoveryLife. It returns a *LimitError when too many were made for this
// holder, or an *UnavailableError.
func (e *Engine) NewRecovery(ctx context.Context, scope, holder string) (code string, expires time.Time, err error) {
	if err := e.ready(); err != nil {
		return "", time.Time{}, err
	}
	var bits [recoverySize]byte
	if _, err := io.ReadFull(e.random, bits[:]); err != nil {
		return "", time.Time{}, fmt.Errorf("making a recovery code: %w", err)
	}
	code = recoveryText.EncodeToString(bits[:])
	id, now := e.recoveryID(scope, code), e.now()
	sealed, err := e.ring.Seal(session.ForCode, recoveryContext(id), []byte(holder))
	if err != nil {
		return "", time.Time{}, err
	}
	err = e.store.Reserve(ctx, &Reservation{
		Scope: scope, ID: id, Sealed: []byte(sealed), Proof: e.proof(id, code), Length: len(code), Attempts: 1,
		Now: now, TTL: RecoveryLife,
		Counters: []Counter{{"recovery_codes", e.ring.Digest("recovery holder", scope, holder), []Rate{recoveryRate}}},
	})
	return grouped(code), now.Add(RecoveryLife), err
}

// Recover takes a recovery code as it was typed, from a network address, and
// ends it, if there is one whose holder is accepted; what accepted refuses
// stays good for who it is for. It returns ErrWrongCode, a *LimitError when
// too many were tried from there, or an *UnavailableError.
func (e *Engine) Recover(ctx context.Context, scope, client, typed string, accepted func(holder string) bool) error {
	if err := e.ready(); err != nil {
		return err
	}
	if err := e.tryRecovery(ctx, scope, client); err != nil {
		return err
	}
	code, ok := recoveryCode(typed)
	if !ok {
		return ErrWrongCode
	}
	id := e.recoveryID(scope, code)
	rec, err := e.store.Get(ctx, scope, id, e.now())
	if err != nil {
		return noRecovery(err)
	}
	holder, err := e.ring.Open(session.ForCode, recoveryContext(id), string(rec.Sealed))
	if err != nil || !accepted(string(holder)) {
		return ErrWrongCode
	}
	_, err = e.store.Attempt(ctx, id, &Answer{Scope: scope, Proof: e.proof(id, code), Now: e.now()})
	return noRecovery(err)
}

// noRecovery returns what an error of the store says of a recovery code: used
// or expired ones are as wrong as others.
func noRecovery(err error) error {
	for _, gone := range []error{ErrNoChallenge, ErrExpired, ErrTooManyAttempts} {
		if errors.Is(err, gone) {
			return ErrWrongCode
		}
	}
	return err
}

// tryRecovery takes one of the tries that a network address has.
func (e *Engine) tryRecovery(ctx context.Context, scope, client string) error {
	return e.store.Try(ctx, scope, Counter{
		"recovery_tries", e.ring.Digest("recovery tries", scope, client), []Rate{recoveryTries},
	}, e.now())
}

func (e *Engine) recoveryID(scope, code string) (id ID) {
	digest := e.ring.Digest("recovery code", scope, code)
	copy(id[:], digest[:])
	return id
}

// recoveryContext keeps what is sealed from standing for the code of a challenge.
func recoveryContext(id ID) string { return "recovery " + string(id[:]) }

// recoveryCode returns a code as it was made, of what people make of it.
func recoveryCode(typed string) (code string, ok bool) {
	code = strings.NewReplacer("O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(digits(typed)))
	bits, err := recoveryText.DecodeString(code)
	return code, err == nil && len(bits) == recoverySize && recoveryText.EncodeToString(bits) == code
}

// grouped writes a code in fours, for people.
func grouped(code string) string {
	var b strings.Builder
	for i, c := range code {
		if i > 0 && i%4 == 0 {
			b.WriteByte('-')
		}
		b.WriteRune(c)
	}
	return b.String()
}
