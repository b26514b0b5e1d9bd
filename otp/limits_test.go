package otp

import (
	"strings"
	"testing"
	"time"
)

// The text of a LimitError says when to try again, and names no number.
func TestLimitErrorTexts(t *testing.T) {
	for _, c := range []struct {
		err  LimitError
		says []string
	}{
		{LimitError{Limit: "ip", RetryAfter: 90 * time.Second}, []string{"ip", "1m30s"}},
		{LimitError{Limit: "lockout", RetryAfter: time.Nanosecond}, []string{"lockout", "1ns"}},
		{LimitError{Limit: "max_failures"}, []string{"max_failures", "operator", "unlock"}},
	} {
		for _, says := range c.says {
			if !strings.Contains(c.err.Error(), says) {
				t.Errorf("%q does not say %q", c.err.Error(), says)
			}
		}
	}
}
