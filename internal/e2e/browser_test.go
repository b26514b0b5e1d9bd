package e2e_test

import (
	"testing"

	"github.com/caddy-websms/websms/internal/browser"
	"github.com/caddy-websms/websms/internal/process"
)

// A tab is a tab of a browser that has cookies of its own.
type tab struct{ *browser.Tab }

// newTab opens a browser, so to say: nothing of other tests is in it.
func newTab(t *testing.T) *tab {
	t.Helper()
	needChromium(t)
	return &tab{browser.NewTab(t)}
}

// needChromium skips a test that has no browser, or fails it where one is required.
func needChromium(t *testing.T) {
	t.Helper()
	process.NeedCaddy(t)
	browser.Need(t)
}
