// Package testlevel reads the environment variables that select the tests to run. A plain go test
// runs a representative part of each long test. WEBSMS_TEST_FULL=1 runs the whole, which takes
// several times as long. A test that lacks a program is skipped. With
// WEBSMS_TEST_REQUIRE=redis,chromium it fails if it lacks one of these. The names in use are
// redis, chromium, nginx, haproxy and php, which is php-fpm.
package testlevel

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// Full reports whether the environment asks for whole tests.
func Full() bool { return os.Getenv("WEBSMS_TEST_FULL") == "1" }

// Size returns plain, or full if the environment asks for whole tests. It is for the amounts of a
// test: rounds, steps, goroutines or seconds.
func Size[T any](plain, full T) T {
	if Full() {
		return full
	}
	return plain
}

// Need skips a test because of err if it lacks something, such as "redis" where the path has no
// redis-server. If the comma-separated WEBSMS_TEST_REQUIRE names the missing thing, Need fails the
// test instead.
func Need(t testing.TB, what string, err error) {
	t.Helper()
	switch {
	case err == nil:
	case slices.Contains(strings.Split(os.Getenv("WEBSMS_TEST_REQUIRE"), ","), what):
		t.Fatalf("WEBSMS_TEST_REQUIRE asks for %s: %v", what, err)
	default:
		t.Skip(err)
	}
}
