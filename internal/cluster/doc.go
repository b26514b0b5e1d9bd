// Package cluster tries several Caddys as one: it builds cmd/caddy, runs two of
// them on one Redis behind a balancer that gives each request to the other one,
// and walks through the gate as browsers and programs do, while nodes are
// killed, configurations are replaced and Redis comes and goes. It promises
// nothing to importers; all of it is tests.
//
// It needs redis-server, and for some of the tests a Chromium: without them the
// tests are skipped, or fail where WEBSMS_TEST_REQUIRE names "redis" or
// "chromium". With -short all are skipped, as they build a whole Caddy.
package cluster
