// Package redistest gives tests a real Redis: a single server, a server with TLS, a
// Cluster, or a Sentinel with a master and a replica. Its proxy simulates the faults of
// networks. All servers listen on the loopback interface, keep nothing on disk, and end
// with the test.
//
// A test is skipped if there is no redis-server on the PATH. It fails instead if the
// comma-separated list WEBSMS_TEST_REQUIRE contains "redis". Redis 6.2 or later works, and
// so does a Valkey that is installed as redis-server.
package redistest

import (
	"os/exec"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/testlevel"
)

// patience bounds each wait. On a busy machine, a step of milliseconds may take seconds.
const patience = 30 * time.Second

// pace is the time between two checks while a test waits.
const pace = 5 * time.Millisecond

// Need skips the test if there is no redis-server. It fails the test if redis is
// required.
func Need(t testing.TB) {
	t.Helper()
	_, err := exec.LookPath("redis-server")
	testlevel.Need(t, "redis", err)
}

// Eventually waits until holds returns nil, for up to 30 seconds. Then the test fails with
// goal and the last error of holds.
func Eventually(t testing.TB, goal string, holds func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := holds()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v still not: %s: %v", patience, goal, err)
		}
		time.Sleep(pace)
	}
}
