// Package cluster tests several Caddys as one gate. It builds cmd/caddy, runs two of them on one
// Redis behind a balancer that alternates between them, and walks through the gate as browsers and
// programs do. Meanwhile nodes are killed, configurations are replaced, and Redis goes down and
// comes back. The package holds tests only and exports nothing.
//
// The tests need redis-server, and some need a Chromium. Without them the tests are skipped, or
// fail if WEBSMS_TEST_REQUIRE names "redis" or "chromium". With -short all tests are skipped,
// because they build a whole Caddy.
package cluster
