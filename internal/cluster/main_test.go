package cluster_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/caddy-websms/websms/internal/browser"
	"github.com/caddy-websms/websms/internal/process"
	"github.com/caddy-websms/websms/redisstore/redistest"
)

// root is the root of the repository, relative to this package.
const root = "../.."

func TestMain(m *testing.M) {
	code := m.Run()
	browser.Stop()
	if err := process.RemoveShared(); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		code = 1
	}
	os.Exit(code)
}

// need skips a test that lacks a service it needs. If the environment requires the service, need
// fails the test.
func need(t *testing.T) {
	t.Helper()
	process.NeedCaddy(t)
	redistest.Need(t)
}
