package storetest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/caddy-websms/websms/otp"
)

// strict locks after few wrong codes, for less long than a code lives.
var strict = otp.Lockout{Count: 3, For: time.Minute, Max: 100}

// runOf returns the run of a number: the strangers', or that of a device.
func runOf(number, device string, lockout otp.Lockout) otp.Failures {
	run := otp.Failures{Number: sha256.Sum256([]byte("number " + number)), Lockout: lockout}
	if device != "" {
		run.Device = sha256.Sum256([]byte("device " + device))
	}
	return run
}

// answer answers the challenge id within a run.
func (d *desk) answer(id otp.ID, proof otp.Digest, run otp.Failures) (otp.Record, error) {
	return d.store.Attempt(ctx, id, &otp.Answer{Proof: proof, Failures: run, Now: d.now})
}

// miss answers the challenge id with a wrong code that does not lock the run.
func (d *desk) miss(id otp.ID, run otp.Failures) otp.Record {
	d.Helper()
	rec, err := d.answer(id, wrong(0), run)
	if !errors.Is(err, otp.ErrWrongCode) || errors.As(err, new(*otp.LimitError)) {
		d.Fatalf("a wrong code: %v, want %v and no lock", err, otp.ErrWrongCode)
	}
	return rec
}

// missAndLock answers the challenge id with a wrong code that locks the run.
func (d *desk) missAndLock(id otp.ID, run otp.Failures, limit string, wait time.Duration) otp.Record {
	d.Helper()
	rec, err := d.answer(id, wrong(0), run)
	if !errors.Is(err, otp.ErrWrongCode) {
		d.Fatalf("the wrong code that locks: %v, want %v as well", err, otp.ErrWrongCode)
	}
	d.refused(err, limit, wait)
	return rec
}

// ready makes a challenge in nobody's run, whose code may be sent again at once.
func (d *desk) ready() otp.ID {
	d.Helper()
	r := d.usual()
	r.Cooldown = 0
	d.mustReserve(r)
	return r.ID
}

// fail gives n wrong codes, each for a challenge of its own; none of them locks.
func (d *desk) fail(run otp.Failures, n int) {
	d.Helper()
	for range n {
		id := d.ready()
		d.miss(id, run)
		d.mustMeet(id)
	}
}

// failAndLock gives the one wrong code that locks.
func (d *desk) failAndLock(run otp.Failures, limit string, wait time.Duration) {
	d.Helper()
	id := d.ready()
	d.missAndLock(id, run, limit, wait)
	d.mustMeet(id)
}

// succeed gives a right code.
func (d *desk) succeed(run otp.Failures) {
	d.Helper()
	id := d.ready()
	if _, err := d.answer(id, right(id), run); err != nil {
		d.Fatalf("the right code: %v", err)
	}
}

// locked checks that a run is refused everything, alike, and that nothing
// comes of it.
func (d *desk) locked(run otp.Failures, limit string, wait time.Duration) {
	d.Helper()
	id := d.ready()
	before := d.mustGet(id)
	ask := d.usual()
	ask.Failures, ask.Replaces = run, id
	d.refused(d.store.Reserve(ctx, ask), limit, wait)
	d.every(ask.ID, otp.ErrNoChallenge)
	again := d.renewal()
	again.Failures = run
	_, err := d.store.Resend(ctx, id, again)
	d.refused(err, limit, wait)
	for _, proof := range []otp.Digest{wrong(0), right(id)} {
		_, err := d.answer(id, proof, run)
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

// open checks that a run is sent codes. It leaves what counts as it is.
func (d *desk) open(run otp.Failures) {
	d.Helper()
	r := d.usual()
	r.Failures, r.Cooldown = run, 0
	d.mustReserve(r)
	again := d.renewal()
	again.Failures = run
	d.mustResend(r.ID, again)
	d.mustMeet(r.ID)
}

// unlock checks what Unlock says.
func (d *desk) unlock(run otp.Failures, want bool) {
	d.Helper()
	if got, err := d.store.Unlock(ctx, scope, run.Number); got != want || err != nil {
		d.Fatalf("Unlock: %v, %v; want %v", got, err, want)
	}
}

// failures brings a wrong code about for each of n other numbers.
func (d *desk) failures(t *testing.T, name string, n int) {
	t.Helper()
	flood(t, n, func(i int) error {
		r := d.usual()
		if err := d.store.Reserve(ctx, r); err != nil {
			return err
		}
		_, err := d.answer(r.ID, wrong(0), runOf(fmt.Sprint(name, i), "", strict))
		if !errors.Is(err, otp.ErrWrongCode) || errors.As(err, new(*otp.LimitError)) {
			return fmt.Errorf("a wrong code: %w", err)
		}
		_, err = d.store.Attempt(ctx, r.ID, &otp.Answer{Proof: right(r.ID), Now: d.now})
		return err
	})
}
