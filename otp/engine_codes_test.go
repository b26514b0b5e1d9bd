package otp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"unicode"

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
		for _, layout := range []string{"%s.%s", "+%s%s", "Your code is %s%s.", "%[1]s%[2]s%[1]s%[2]s", "G-%s%s %[1]s %[2]s"} {
			challenge := e.issue(otp.Sending{})
			code := e.lastCode()
			e.verify(challenge.ID, fmt.Sprintf(layout, code[:3], code[3:]), nil)
		}
		challenge := e.issue(otp.Sending{})
		code := e.lastCode()
		for _, incomplete := range []string{"", "x", code[:5], code + "0", code + code[:3], code + code + code, code + "1" + code + "1"} {
			e.verify(challenge.ID, incomplete, otp.ErrIncomplete)
			if left := e.get(challenge.ID).AttemptsLeft; left != e.policy.Attempts {
				t.Errorf("%q: %d attempts left, want %d", incomplete, left, e.policy.Attempts)
			}
		}
		e.verify(challenge.ID, code, nil)
	})
}

// TestEngineLengthOfChallenge: after a reload with another length, a code is read with the
// length that its own challenge has. So 48214821 is no doubled code of four digits.
func TestEngineLengthOfChallenge(t *testing.T) {
	withEngine(t, func(c *otp.Config) { c.Random = zeros{} }, func(e *engineBench) {
		for _, lengths := range [][2]int{{8, 4}, {4, 8}, {6, 8}} {
			e.policy.Length = lengths[0]
			challenge := e.issue(otp.Sending{})
			e.policy.Length = lengths[1]
			e.verify(challenge.ID, e.lastCode()[1:], otp.ErrIncomplete)
			e.verify(challenge.ID, e.lastCode(), nil)
		}
	})
}

// TestReadCode: digits of any script count, and everything else is dropped. A doubled code
// is taken once, but never a text that has the length of a code.
func TestReadCode(t *testing.T) {
	for _, test := range []struct {
		text   string
		length int
		remote bool
		want   string
	}{
		{"482174", 6, false, "482174"},
		{"٤٨٢١٧٤", 6, false, "482174"},              // Arabic-Indic
		{"۴۸۲۱۷۴", 6, false, "482174"},              // Persian
		{"४८२१७४", 6, false, "482174"},              // Devanagari
		{"４８２ １７４", 6, false, "482174"},             // full width
		{"𝟒𝟪𝟸𝟙𝟽𝟜", 6, false, "482174"},              // mathematical, of five styles
		{"\u200f٤٨٢\u200f-١٧٤", 6, false, "482174"}, // with marks of direction
		{"²482174½", 6, false, "482174"},            // superscripts and fractions are no decimal digits
		{"482174482174", 6, false, "482174"},
		{"482 174\n482-174", 6, false, "482174"},
		{"٤٨٢١٧٤482174", 6, false, "482174"},
		{"12341234", 8, false, "12341234"},
		{"1234123412341234", 8, false, "12341234"},
		{"12341234", 4, false, "1234"},
		{"1111", 4, false, "1111"},
		{"11111111", 4, false, "1111"},
		{"482174482175", 6, false, ""},
		{"4821744", 6, false, ""},
		{"48217", 6, false, ""},
		{"482", 6, false, ""},
		{"482482", 3, false, "482"},
		{"", 6, false, ""},
		{"1234", 6, true, "1234"},
		{"12345678", 6, true, "12345678"},
		{"12341234", 6, true, "12341234"},
		{"1234512345", 6, true, "12345"},
		{"1234567812345678", 6, true, "12345678"},
		{"123456789", 6, true, ""},
		{"123", 6, true, ""},
		{"123456789123456789", 6, true, ""},
	} {
		got, ok := otp.ReadCode(test.text, test.length, test.remote)
		if ok != (test.want != "") || ok && got != test.want {
			t.Errorf("ReadCode(%q, %d, %v) = %q, %v; want %q", test.text, test.length, test.remote, got, ok, test.want)
		}
	}
}

// TestReadCodeScripts reads each decimal digit that Unicode knows.
func TestReadCodeScripts(t *testing.T) {
	next, scripts := 0, 0
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if !unicode.IsDigit(r) {
			if next != 0 {
				t.Fatalf("U+%04X: a script ends after the digit %d", r, next-1)
			}
			continue
		}
		if got, ok := otp.ReadCode(strings.Repeat(string(r), 6), 6, false); !ok || got != strings.Repeat(strconv.Itoa(next), 6) {
			t.Errorf("six times U+%04X are read as %q, want the digit %d", r, got, next)
		}
		if next = (next + 1) % 10; next == 0 {
			scripts++
		}
	}
	if scripts < 60 {
		t.Errorf("%d sets of digits, want 60 or more", scripts)
	}
}

// FuzzReadCode: the result has only ASCII digits, as many as the length says, and reading
// it again, or twice in a row, gives the same.
func FuzzReadCode(f *testing.F) {
	f.Add("482 174", 6, false)
	f.Add("٤٨٢١٧٤482174", 6, false)
	f.Add("1234512345", 6, true)
	f.Add("\xff1\xc0234", 4, false)
	f.Fuzz(func(t *testing.T, text string, length int, remote bool) {
		if length < 4 || length > 8 {
			return
		}
		code, ok := otp.ReadCode(text, length, remote)
		if !ok {
			return
		}
		if strings.Trim(code, "0123456789") != "" || !remote && len(code) != length || len(code) < 4 || len(code) > 8 {
			t.Fatalf("%q is read as %q", text, code)
		}
		if again, ok := otp.ReadCode(code, length, remote); !ok || again != code {
			t.Fatalf("%q is read as %q, and that as %q", text, code, again)
		}
		if twice, ok := otp.ReadCode(code+" "+code, len(code), false); !ok || twice != code {
			t.Fatalf("%q is read as %q, and twice in a row as %q", text, code, twice)
		}
	})
}
