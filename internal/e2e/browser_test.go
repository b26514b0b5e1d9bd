package e2e_test

import (
	"testing"

	"github.com/caddy-websms/websms/internal/browser"
	"github.com/caddy-websms/websms/internal/process"
)

// A tab is a tab with cookies of its own.
type tab struct{ *browser.Tab }

// newTab opens a tab that sees nothing of other tests.
func newTab(t *testing.T) *tab {
	t.Helper()
	needChromium(t)
	return &tab{browser.NewTab(t)}
}

// needChromium skips a test if there is no browser. If the environment requires one, it fails the
// test.
func needChromium(t *testing.T) {
	t.Helper()
	process.NeedCaddy(t)
	browser.Need(t)
}
