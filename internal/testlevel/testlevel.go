// Package testlevel reads the environment variables that say what tests run.
// A plain go test runs a representative part of each long test;
// WEBSMS_TEST_FULL=1 runs the whole, which takes several times as long.
// WEBSMS_TEST_REQUIRE=redis,chromium fails the tests that lack one of these,
// which are otherwise skipped.
package testlevel

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// Full reports whether the environment asks for whole tests.
func Full() bool { return os.Getenv("WEBSMS_TEST_FULL") == "1" }

// Size returns plain, or full where the environment asks for whole tests. It is
// for what a test repeats: rounds, steps, goroutines, or how long it lasts.
func Size[T any](plain, full T) T {
	if Full() {
		return full
	}
	return plain
}

// Need skips a test that lacks something because of err, such as "redis" where
// there is no redis-server on the path. Where the comma-separated
// WEBSMS_TEST_REQUIRE names what is missing, the test fails instead.
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
