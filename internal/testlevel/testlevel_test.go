package testlevel_test

import (
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/testlevel"
)

func TestSize(t *testing.T) {
	for value, full := range map[string]bool{"": false, "0": false, "true": false, "1": true} {
		t.Setenv("WEBSMS_TEST_FULL", value)
		rounds, lasts := 10, time.Second
		if full {
			rounds, lasts = 100, time.Minute
		}
		if testlevel.Full() != full || testlevel.Size(10, 100) != rounds || testlevel.Size(time.Second, time.Minute) != lasts {
			t.Errorf("WEBSMS_TEST_FULL=%q: full is %t, want %t", value, testlevel.Full(), full)
		}
	}
}
