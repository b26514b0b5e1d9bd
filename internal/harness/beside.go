package harness

import "fmt"

// RunBeside adds a site of its own to the world, and returns a world that asks there.
func RunBeside(w *World, gateOptions, port, directives string) *World {
	w.T.Helper()
	number := FreePort(w.T)
	plain := w.Config
	w.Config = func(options string) string {
		return plain(options) + fmt.Sprintf("\nhttp://%s:%d {\n%s\n}\n", port, number, directives)
	}
	w.Load(gateOptions)
	there := *w
	there.URL = fmt.Sprintf("http://localhost:%d", number)
	return &there
}
