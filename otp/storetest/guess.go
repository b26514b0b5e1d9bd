package storetest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/caddy-websms/websms/otp"
)

// strict locks after three wrong codes, for a shorter time than a code lives.
var strict = otp.Lockout{Count: 3, For: time.Minute, Max: 100}

// failuresOf names the failures of a device of a number, or with device "" those of
// strangers.
func failuresOf(number, device string, lockout otp.Lockout) otp.Failures {
	f := otp.Failures{Number: sha256.Sum256([]byte("number " + number)), Lockout: lockout}
	if device != "" {
		f.Device = sha256.Sum256([]byte("device " + device))
	}
	return f
}

// answer answers the challenge id. A wrong code counts to f.
func (d *desk) answer(id otp.ID, proof otp.Digest, f otp.Failures) (otp.Record, error) {
	return d.store.Attempt(ctx, id, &otp.Answer{Proof: proof, Failures: f, Now: d.now})
}

// miss answers the challenge id with a wrong code, which must not lock.
func (d *desk) miss(id otp.ID, f otp.Failures) otp.Record {
	d.Helper()
	rec, err := d.answer(id, wrong(0), f)
	if !errors.Is(err, otp.ErrWrongCode) || errors.As(err, new(*otp.LimitError)) {
		d.Fatalf("a wrong code: %v, want %v and no lock", err, otp.ErrWrongCode)
	}
	return rec
}

// missAndLock answers the challenge id with a wrong code, which must lock.
func (d *desk) missAndLock(id otp.ID, f otp.Failures, limit string, wait time.Duration) otp.Record {
	d.Helper()
	rec, err := d.answer(id, wrong(0), f)
	if !errors.Is(err, otp.ErrWrongCode) {
		d.Fatalf("the wrong code that locks: %v, want %v as well", err, otp.ErrWrongCode)
	}
	d.refused(err, limit, wait)
	return rec
}

// ready makes a challenge without failures and without a cooldown.
func (d *desk) ready() otp.ID {
	d.Helper()
	r := d.usual()
	r.Cooldown = 0
	d.mustReserve(r)
	return r.ID
}

// fail gives n wrong codes, each for a challenge of its own. None of them may lock.
func (d *desk) fail(f otp.Failures, n int) {
	d.Helper()
	for range n {
		id := d.ready()
		d.miss(id, f)
		d.mustMeet(id)
	}
}

// failAndLock gives one wrong code, which must lock.
func (d *desk) failAndLock(f otp.Failures, limit string, wait time.Duration) {
	d.Helper()
	id := d.ready()
	d.missAndLock(id, f, limit, wait)
	d.mustMeet(id)
}

// succeed gives a right code, which must be accepted.
func (d *desk) succeed(f otp.Failures) {
	d.Helper()
	id := d.ready()
	if _, err := d.answer(id, right(id), f); err != nil {
		d.Fatalf("the right code: %v", err)
	}
}

// locked checks that Reserve, Resend and Attempt refuse with the same limit and wait,
// and that they change nothing.
func (d *desk) locked(f otp.Failures, limit string, wait time.Duration) {
	d.Helper()
	id := d.ready()
	before := d.mustGet(id)
	ask := d.usual()
	ask.Failures, ask.Replaces = f, id
	d.refused(d.store.Reserve(ctx, ask), limit, wait)
	d.every(ask.ID, otp.ErrNoChallenge)
	again := d.renewal()
	again.Failures = f
	_, err := d.store.Resend(ctx, id, again)
	d.refused(err, limit, wait)
	for _, proof := range []otp.Digest{wrong(0), right(id)} {
		_, err := d.answer(id, proof, f)
		d.refused(err, limit, wait)
		if errors.Is(err, otp.ErrWrongCode) {
			d.Fatalf("locked, and still compared: %v", err)
		}
	}
	if diff := same(d.mustGet(id), before); diff != "" {
		d.Fatalf("a challenge of which everything was refused: %s", diff)
	}
	d.mustMeet(id)
}

// open checks that codes may be sent. It changes no failures.
func (d *desk) open(f otp.Failures) {
	d.Helper()
	r := d.usual()
	r.Failures, r.Cooldown = f, 0
	d.mustReserve(r)
	again := d.renewal()
	again.Failures = f
	d.mustResend(r.ID, again)
	d.mustMeet(r.ID)
}

// unlock checks whether Unlock reports failures.
func (d *desk) unlock(f otp.Failures, want bool) {
	d.Helper()
	if got, err := d.store.Unlock(ctx, scope, f.Number); got != want || err != nil {
		d.Fatalf("Unlock: %v, %v; want %v", got, err, want)
	}
}

// failures gives a wrong code for each of n other numbers.
func (d *desk) failures(t *testing.T, name string, n int) {
	t.Helper()
	flood(t, n, func(i int) error {
		r := d.usual()
		if err := d.store.Reserve(ctx, r); err != nil {
			return err
		}
		_, err := d.answer(r.ID, wrong(0), failuresOf(fmt.Sprint(name, i), "", strict))
		if !errors.Is(err, otp.ErrWrongCode) || errors.As(err, new(*otp.LimitError)) {
			return fmt.Errorf("a wrong code: %w", err)
		}
		_, err = d.store.Attempt(ctx, r.ID, &otp.Answer{Proof: right(r.ID), Now: d.now})
		return err
	})
}
