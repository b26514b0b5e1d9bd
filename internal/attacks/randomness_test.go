package attacks_test

import (
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
)

// caddy-security made nonces and second factors with a generator seeded by the
// time, which can be searched for. Codes here are as likely as each other,
// also where the clock stands still, and so is all that is sealed.
func TestCVE_2024_21495(t *testing.T) {
	harness.UseClock(t) // it stands still
	const asks = 300
	var digits [10]int
	codes, cookies, zeros := make(map[string]int), make(map[string]bool), 0
	for range 2 { // and again in a process that has just begun
		w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
		w.Sim.SetWebhook("", "")
		for range asks / 2 {
			b, number := w.Browser(), harness.FreshNumber()
			sealed := b.Request(number).SetCookie("websms_session_challenge")
			if sealed == nil || cookies[sealed.Value] {
				t.Fatalf("a challenge is named by %v, as another is", sealed)
			}
			cookies[sealed.Value] = true
			code := w.CodeFor(number, 1)
			codes[code]++
			if strings.HasPrefix(code, "0") {
				zeros++
			}
			for i := range len(code) {
				digits[code[i]-'0']++
			}
		}
	}
	// Of 300 codes in a million 3 repetitions come once in 60,000 runs, and
	// none that begins with 0 once in 10^13.
	if repeated := asks - len(codes); repeated > 2 || zeros == 0 {
		t.Errorf("of %d codes %d are repetitions, and %d begin with 0", asks, repeated, zeros)
	}
	// Pearson's chi-square with 9 degrees of freedom is above 50 once in 10^7 runs.
	const each = float64(asks*6) / 10
	chi := 0.0
	for _, n := range digits {
		chi += (float64(n) - each) * (float64(n) - each) / each
	}
	if chi > 50 {
		t.Errorf("digits come %v times: chi-square is %.1f", digits, chi)
	}
}
