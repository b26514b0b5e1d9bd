// Package e2e tries the demo the way a person does: it builds cmd/caddy, runs
// it with demo/Caddyfile on free ports, and walks through it in a real, headless
// Chromium. It promises nothing to importers; all of it is tests.
//
// Without a Chromium on the machine the tests are skipped and say so. With
// "chromium" in the comma-separated WEBSMS_TEST_REQUIRE they fail instead. With
// -short they are skipped too: what runs is another process, in which go test
// -race finds nothing.
//
// With WEBSMS_SCREENSHOTS naming a folder, each page is pictured there as it
// looks on a phone, in light and in dark, and pages.png shows the two forms.
package e2e
