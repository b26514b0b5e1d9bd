package otp

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestRateString(t *testing.T) {
	for want, r := range map[string]Rate{
		"3/10m":  {3, 10 * time.Minute},
		"10/24h": {10, 24 * time.Hour},
		"1/30s":  {1, 30 * time.Second},
	} {
		if got := r.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestErrorTexts(t *testing.T) {
	cause := errors.New("connection refused")
	for _, e := range []struct {
		err  error
		says []string
	}{
		{&LimitError{Limit: "number", RetryAfter: 90 * time.Second}, []string{"number", "1m30s"}},
		{&UnavailableError{Reason: "the store is full"}, []string{"unavailable", "the store is full"}},
		{&UnavailableError{Reason: "the store is down", Err: cause}, []string{"the store is down", cause.Error()}},
	} {
		for _, says := range e.says {
			if !strings.Contains(e.err.Error(), says) {
				t.Errorf("%q does not say %q", e.err, says)
			}
		}
	}
	if err := error(&UnavailableError{Reason: "down", Err: cause}); !errors.Is(err, cause) {
		t.Errorf("%v hides its cause", err)
	}
}
