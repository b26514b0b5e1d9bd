// Package redistest gives tests a real Redis: a single server, a Cluster, a
// Sentinel with what it watches, one that speaks TLS, and a proxy that does to
// a connection what networks do to it. Everything listens on the loopback
// interface, keeps nothing, and ends with the test.
//
// Where redis-server is not on the path the test is skipped; with "redis" in
// the comma-separated WEBSMS_TEST_REQUIRE it fails instead. Redis 6.2 and later
// will do, and so does a Valkey by the name of redis-server.
package redistest

import (
	"os/exec"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/testlevel"
)

// patience bounds whatever is waited for: a busy machine may need seconds for
// what takes milliseconds.
const patience = 30 * time.Second

// pace is how often it is looked whether that has happened.
const pace = 5 * time.Millisecond

// Need skips a test where there is no redis-server, or fails it where one is
// required.
func Need(t testing.TB) {
	t.Helper()
	_, err := exec.LookPath("redis-server")
	testlevel.Need(t, "redis", err)
}

// Eventually waits until what is true. A test that waits in vain fails with
// what holds said last.
func Eventually(t testing.TB, what string, holds func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := holds()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v still not: %s: %v", patience, what, err)
		}
		time.Sleep(pace)
	}
}
