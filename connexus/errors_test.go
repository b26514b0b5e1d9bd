package connexus_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/connexus"
)

func TestKinds(t *testing.T) {
	sentinels := map[connexus.Kind]error{
		connexus.KindFunds: connexus.ErrFunds, connexus.KindCredentials: connexus.ErrCredentials,
		connexus.KindBadRequest: connexus.ErrBadRequest, connexus.KindThrottled: connexus.ErrThrottled,
		connexus.KindUnavailable: connexus.ErrUnavailable, connexus.KindMalformed: connexus.ErrMalformed,
		connexus.KindTimeout: connexus.ErrTimeout, connexus.KindCanceled: connexus.ErrCanceled,
	}
	labels := make(map[string]bool)
	for kind, sentinel := range sentinels {
		err := fmt.Errorf("sending: %w", &connexus.Error{Kind: kind, Endpoint: connexus.EndpointOTP})
		for other, otherSentinel := range sentinels {
			if errors.Is(err, otherSentinel) != (kind == other) {
				t.Errorf("kind %v and the sentinel of %v: errors.Is is %t", kind, other, kind != other)
			}
		}
		if label := kind.String(); label == "unknown" || labels[label] || !strings.Contains(err.Error(), sentinel.Error()) {
			t.Errorf("kind %d: label %q, text %q", kind, label, err)
		} else {
			labels[label] = true
		}
	}
	for _, kind := range []connexus.Kind{-1, 0, 99} {
		err := &connexus.Error{Kind: kind}
		if kind.String() != "unknown" || errors.Is(err, connexus.ErrFunds) || err.Error() == "" {
			t.Errorf("kind %d is %q", kind, kind)
		}
	}
}

func TestErrorText(t *testing.T) {
	err := &connexus.Error{
		Kind: connexus.KindThrottled, Endpoint: connexus.EndpointOTP, Status: 429,
		Message: "slow \"down\"", RetryAfter: time.Minute, Err: errors.New("cause"),
	}
	want := `connexus: /sms/otp: too many messages: send again later (HTTP 429): WebSMS says "slow \"down\"": retry after 1m0s: cause`
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
}
