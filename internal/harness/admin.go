package harness

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// StartAdmin turns on the admin endpoint of a world, and returns its address.
func StartAdmin(w *World, gateOptions string) string {
	w.T.Helper()
	address := fmt.Sprintf("localhost:%d", FreePort(w.T))
	plain := w.Config
	w.Config = func(options string) string {
		return strings.Replace(plain(options), "admin off", "admin "+address, 1)
	}
	w.Load(gateOptions)
	return "http://" + address
}

// Restart ends Caddy, and with it all that it holds in memory, and starts it again.
func Restart(w *World, gateOptions string) {
	w.T.Helper()
	if err := caddy.Stop(); err != nil {
		w.T.Fatal(err)
	}
	w.Load(gateOptions)
}

// AdminPost posts to the admin endpoint.
func AdminPost(t *testing.T, address, path, body string) Answer {
	t.Helper()
	return (&World{T: t, URL: address}).Browser().Send(path, "application/json", body)
}
