package otp

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/caddy-websms/websms/session"
)

// A recovery code signs in a person who receives no SMS. An operator makes it after
// checking the person's identity. The store keeps it as a challenge, with a keyed
// hash of the code as its ID. So a store needs no new kind of record, and the code
// works once, as a challenge does.
const (
	// RecoveryLife is the life of a recovery code: ten minutes.
	RecoveryLife = MaxLife
	// recoverySize is the size of a recovery code in bytes. 64 random bits cannot
	// be guessed in ten minutes, and can be read out over the phone.
	recoverySize = 8
)

// recoveryTries bounds the tries from one IP address. It spares the store. The code
// itself is protected by its length.
var recoveryTries = Rate{Count: 10, Window: RecoveryLife}

// recoveryRate bounds the recovery codes that operators make for one person. It
// limits the harm if an operator is deceived.
var recoveryRate = Rate{Count: 5, Window: time.Hour}

// recoveryText is Crockford's base 32 alphabet, without the letters that look like
// digits.
var recoveryText = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// NewRecovery makes a recovery code for holder, a text that Recover gives to its
// caller. It returns the code in groups of four, such as "7Q4M-…", and its end. The
// code works once. The error is a *LimitError after five codes for one holder in an
// hour, or an *UnavailableError.
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
	sealed, err := e.ring.Seal(session.ForCode, recoveryAudience(id), []byte(holder))
	if err != nil {
		return "", time.Time{}, err
	}
	err = e.store.Reserve(ctx, &Reservation{
		Scope: scope, ID: id, Sealed: []byte(sealed), Proof: e.proof(id, code), Length: len(code), Attempts: 1,
		Now: now, TTL: RecoveryLife,
		Counters: []Counter{{
			Limit: "recovery_codes", Key: e.ring.Digest("recovery holder", scope, holder), Rates: []Rate{recoveryRate},
		}},
	})
	return grouped(code), now.Add(RecoveryLife), err
}

// Recover uses up a recovery code, as it was typed at the IP address ip. It calls
// accepted with the holder of the code. If accepted returns false, the code stays
// valid for its real holder.
//
// The error is ErrWrongCode, a *LimitError after ten tries from ip in ten minutes,
// or an *UnavailableError.
func (e *Engine) Recover(ctx context.Context, scope, ip, typed string, accepted func(holder string) bool) error {
	if err := e.ready(); err != nil {
		return err
	}
	if err := e.tryRecovery(ctx, scope, ip); err != nil {
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
	holder, err := e.ring.Open(session.ForCode, recoveryAudience(id), string(rec.Sealed))
	if err != nil || !accepted(string(holder)) {
		return ErrWrongCode
	}
	_, err = e.store.Attempt(ctx, id, &Answer{Scope: scope, Proof: e.proof(id, code), Now: e.now()})
	return noRecovery(err)
}

// noRecovery returns ErrWrongCode for the errors that say that a code is used up or
// expired, and any other error unchanged.
func noRecovery(err error) error {
	for _, gone := range []error{ErrNoChallenge, ErrExpired, ErrTooManyAttempts} {
		if errors.Is(err, gone) {
			return ErrWrongCode
		}
	}
	return err
}

// tryRecovery counts one try from an IP address.
func (e *Engine) tryRecovery(ctx context.Context, scope, ip string) error {
	return e.store.Try(ctx, scope, Counter{
		Limit: "recovery_tries", Key: e.ring.Digest("recovery tries", scope, ip), Rates: []Rate{recoveryTries},
	}, e.now())
}

func (e *Engine) recoveryID(scope, code string) (id ID) {
	digest := e.ring.Digest("recovery code", scope, code)
	copy(id[:], digest[:])
	return id
}

// recoveryAudience returns the audience of a sealed holder. It differs from that of a
// sealed code, so neither opens as the other.
func recoveryAudience(id ID) string { return "recovery " + string(id[:]) }

// recoveryCode reads a typed recovery code: in any case, with spaces and hyphens, and
// with O, I and L for the digits that they look like.
func recoveryCode(typed string) (code string, ok bool) {
	code = strings.NewReplacer("O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(strings.Map(unspaced, typed)))
	bits, err := recoveryText.DecodeString(code)
	return code, err == nil && len(bits) == recoverySize && recoveryText.EncodeToString(bits) == code
}

// unspaced drops the spaces and hyphens of a typed recovery code.
func unspaced(r rune) rune {
	if unicode.In(r, unicode.Zs, unicode.Pd) || unicode.IsSpace(r) {
		return -1
	}
	return r
}

// grouped writes a code in groups of four, for people.
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
