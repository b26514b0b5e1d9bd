package redisstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-websms/websms/otp"
)

// check compares the data in Redis with the answers that people got.
func (s *soak) check() {
	var addrs []string
	for _, r := range s.redis {
		addrs = append(addrs, r.Addr())
	}
	still := s.node(addrs, nil)
	for _, c := range s.all {
		s.checkChallenge(still, c)
	}
	for key, times := range s.sent {
		rates := soakRates
		if key == sha256.Sum256([]byte("budget")) {
			rates = soakBudget
		}
		slices.SortFunc(times, time.Time.Compare)
		for _, r := range rates {
			for i := r.Count; i < len(times); i++ {
				if within := times[i].Sub(times[i-r.Count]); within < r.Window {
					s.Errorf("%d were sent within %v, where %v is allowed", r.Count+1, within, r)
				}
			}
		}
	}
	wantLives(s.T, s.redis...)
	s.checkSecrets()
	if s.life < 3*time.Second {
		return
	}
	for _, must := range [][]string{
		{"Reserve ok"},
		{"Resend ok"},
		{"Settle ok"},
		{"Attempt ok"},
		{"Attempt wrong"},
		{"Reserve lost", "Resend lost", "Attempt lost"},
		{"Reserve per_number", "Resend per_number"},
		{"Attempt lockout", "Reserve lockout", "Resend lockout"},
	} {
		if !slices.ContainsFunc(must, func(what string) bool { return s.tally[what] > 0 }) {
			s.Errorf("nothing came to: %v", must)
		}
	}
}

// checkChallenge answers a challenge with its right code, perhaps once more.
func (s *soak) checkChallenge(still *process, c *asked) {
	s.Helper()
	try := func() error {
		_, err := still.Attempt(ctx, c.ID, &otp.Answer{Proof: c.Proof, Now: now()})
		return err
	}
	err := try()
	expired := time.Since(c.Now) >= c.TTL
	gone := errors.Is(err, otp.ErrNoChallenge)
	switch {
	case c.failed, c.replaced, c.right > 0, c.used:
		if !gone {
			s.Errorf("a code whose reservation failed (%t), that was replaced (%t), used (%t) or right %d times: %v",
				c.failed, c.replaced, c.used, c.right, err)
		}
	case expired && (gone || errors.Is(err, otp.ErrExpired)):
	case c.refused:
		if !errors.Is(err, otp.ErrWrongCode) {
			s.Errorf("a code that nobody can have got: %v", err)
		}
	case errors.Is(err, otp.ErrTooManyAttempts):
		// A delayed command may have counted a sending twice.
		if c.wrong+2*c.vague < soakAttempts {
			s.Errorf("a challenge is dead of %d wrong codes and %d without an answer", c.wrong, c.vague)
		}
	case err != nil:
		s.Errorf("challenge %s was sent and not used, and its code is not good: %v; %d wrong, %d without an answer", c.ID, err, c.wrong, c.vague)
	default:
		s.did("verified at last", nil)
		if err := try(); !errors.Is(err, otp.ErrNoChallenge) {
			s.Errorf("and once more: %v", err)
		}
	}
	if c.wrong > soakAttempts {
		s.Errorf("%d wrong codes were taken", c.wrong)
	}
}

// checkSecrets looks for data that Redis must not hold: numbers, and whole keyed hashes of
// them.
func (s *soak) checkSecrets() {
	var dump []byte
	for _, r := range s.redis {
		dump = append(dump, r.Dump()...)
	}
	for i := range soakNumbers {
		number := fmt.Sprintf("+6421000000%d", i)
		digest := sha256.Sum256([]byte(number))
		for _, secret := range [][]byte{
			[]byte(number[1:]), digest[:], []byte(hex.EncodeToString(digest[:])), []byte(base64.RawURLEncoding.EncodeToString(digest[:])),
		} {
			if bytes.Contains(dump, secret) {
				s.Errorf("Redis holds %q", secret)
			}
		}
	}
	for _, c := range s.all {
		if bytes.Contains(dump, []byte("right "+c.ID.String())) {
			s.Errorf("Redis holds a code")
		}
	}
}
