// Package e2e tests the demo as a person uses it. It builds cmd/caddy, runs it with demo/Caddyfile
// on free ports, and walks through it in a real, headless Chromium. The tests of frames, popups,
// deep links, and people who ask again or press twice run a Caddy with an application of their own in
// this process instead, so that they can move its clock and read its log. The package holds tests only and exports nothing.
//
// Without a Chromium on the machine the tests are skipped, or fail if the comma-separated
// WEBSMS_TEST_REQUIRE names "chromium". With -short the tests are skipped too. The demo runs in
// another process, in which go test -race finds nothing.
//
// If WEBSMS_SCREENSHOTS names a folder, the tests write a picture of each page there, as it looks
// on a phone in light and in dark. The picture pages.png shows the two forms side by side.
package e2e
