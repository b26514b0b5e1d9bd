package otp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/caddy-websms/websms/otp"
)

// TestEngineCodes looks at ten thousand codes. Each digit is at each place about as often
// as any other, and the length is as configured.
func TestEngineCodes(t *testing.T) {
	const n = 10_000
	withEngine(t, func(c *otp.Config) { c.Random = rand.NewChaCha8([32]byte{1}) }, func(e *engineBench) {
		var digits [6][10]int
		seen := make(map[string]int)
		for range n / 500 { // no more than 500 may be in flight at once
			for range 500 {
				if _, err := e.Issue(context.Background(), &e.policy, otp.Sending{Number: someNumber}, otp.ID{}); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
		}
		for _, message := range e.outbox.all() {
			code := message.Code
			seen[code]++
			if len(code) != 6 || strings.Trim(code, "0123456789") != "" {
				t.Fatalf("%q is not a code of 6 digits", code)
			}
			for place, digit := range code {
				digits[place][digit-'0']++
			}
		}
		// Of 10,000 draws with a chance of a tenth, 1,000 are expected with a
		// standard deviation of 30.
		for place := range digits {
			for digit, count := range digits[place] {
				if count < 1000-150 || count > 1000+150 {
					t.Errorf("%d stands at place %d in %d of %d codes, want about %d", digit, place, count, n, n/10)
				}
			}
		}
		// Some 50 pairs are expected to meet among a million codes.
		if repeated := n - len(seen); repeated > 100 {
			t.Errorf("%d codes repeat others, want about 50", repeated)
		}
		for length := 4; length <= 8; length++ {
			e.policy.Length = length
			challenge := e.issue(otp.Sending{})
			if code := e.lastCode(); len(code) != length || challenge.CodeLength != length {
				t.Errorf("a code of %d digits, and %d said, want %d", len(code), challenge.CodeLength, length)
			}
		}
	})
}

// TestEngineRandom: codes come from the given source of randomness, and may have leading
// zeros. Without randomness there is no code.
func TestEngineRandom(t *testing.T) {
	codes := func(random io.Reader) (list []string) {
		withEngine(t, func(c *otp.Config) { c.Random = random }, func(e *engineBench) {
			for range 5 {
				e.issue(otp.Sending{})
				list = append(list, e.lastCode())
			}
		})
		return list
	}
	first := codes(rand.NewChaCha8([32]byte{7}))
	if again := codes(rand.NewChaCha8([32]byte{7})); fmt.Sprint(again) != fmt.Sprint(first) {
		t.Errorf("the same randomness made %q and %q", first, again)
	}
	if other := codes(rand.NewChaCha8([32]byte{8})); fmt.Sprint(other) == fmt.Sprint(first) {
		t.Errorf("other randomness made %q too", other)
	}
	if zero := codes(zeros{}); zero[0] != "000000" {
		t.Errorf("zeros made %q, want 000000", zero[0])
	}
	withEngine(t, func(c *otp.Config) { c.Random = iotest.ErrReader(errors.New("no randomness")) }, func(e *engineBench) {
		for i := range 1000 { // each of them gives its place back
			e.policy.Remote = i%2 == 0
			s := otp.Sending{Number: someNumber, Unlisted: i%4 < 2}
			if _, err := e.Issue(context.Background(), &e.policy, s, otp.ID{}); err == nil || errors.As(err, new(*otp.UnavailableError)) {
				t.Fatalf("unlisted %v, remote %v, without randomness: %v", s.Unlisted, e.policy.Remote, err)
			}
		}
		synctest.Wait()
		if sent := e.outbox.all(); len(sent) != 0 {
			t.Errorf("%d messages sent, want none", len(sent))
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestEngineTypedCodes: codes are accepted as phones show them and as people type them.
func TestEngineTypedCodes(t *testing.T) {
	withEngine(t, nil, func(e *engineBench) {
		for _, layout := range []string{
			"%s%s", "%s %s", " %s%s ", "%s-%s", "%s - %s", "%s\u00a0%s", "%s\u2009%s", "%s\u202f%s", "\t%s%s\r\n", "-%s--%s-",
		} {
			challenge := e.issue(otp.Sending{})
			code := e.lastCode()
			e.verify(challenge.ID, fmt.Sprintf(layout, code[:3], code[3:]), nil)
		}
		challenge := e.issue(otp.Sending{})
		code := e.lastCode()
		for i, wrong := range []string{"", code[:5], code + "0", "+" + code, code[:3] + "." + code[3:]} {
			e.verify(challenge.ID, wrong, otp.ErrWrongCode)
			if left := e.policy.Attempts - i - 1; left > 0 && e.get(challenge.ID).AttemptsLeft != left {
				t.Errorf("attempt %d, %q: not counted", i+1, wrong)
			}
		}
		e.verify(challenge.ID, code, otp.ErrTooManyAttempts)
	})
}
