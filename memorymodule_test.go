package websms

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// stopAndStart lets the process of the world end and another begin.
func (w *world) stopAndStart() {
	w.t.Helper()
	if err := caddy.Stop(); err != nil {
		w.t.Fatal(err)
	}
	wantPool(w.t, nil)
	w.load(plenty)
}

// memoryFiles returns the names of a world's files of the memory store.
func (w *world) memoryFiles() (names []string) {
	w.t.Helper()
	found, err := filepath.Glob(filepath.Join(w.dir, "websms", "memory*"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, path := range found {
		names = append(names, filepath.Base(path))
	}
	return names
}

// A deploy stops Caddy and starts it again. Who was asked for a code can type
// it, and who had no more asks has none.
func TestRestart(t *testing.T) {
	w := start(t, setup{gate: plenty})
	w.sim.SetWebhook("", "")
	b, guesser := w.browser(), w.browser()
	code := w.askFor(b)
	wantStatus(t, "a wrong code", b.answerWith(other(code)), http.StatusUnprocessableEntity)
	w.askFor(guesser)
	left := 5
	for range 2 {
		w.stopAndStart()
		b.client.CloseIdleConnections()
		guesser.client.CloseIdleConnections()
		a := guesser.answerWith("00000000")
		wantStatus(t, "a guess", a, http.StatusUnprocessableEntity)
		left--
		if got := a.json("attempts_left"); got != float64(left) {
			t.Errorf("%v attempts are left, want %d", got, left)
		}
	}
	wantStatus(t, "the status", b.get("/.websms/status", api), http.StatusOK)
	wantStatus(t, "the code", b.answerWith(code), http.StatusOK)
	wantStatus(t, "the app", b.get("/", api), http.StatusOK)
	w.stopAndStart()
	b.client.CloseIdleConnections()
	wantStatus(t, "the code a second time", b.answerWith(code), http.StatusConflict)
	if got := w.memoryFiles(); !slices.Equal(got, []string{"memory.db"}) {
		t.Errorf("the store has left %v", got)
	}
	for name, want := range map[string]os.FileMode{"websms": 0o700, "websms/memory.db": 0o600} {
		info, err := os.Stat(filepath.Join(w.dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	w.wantNoSecrets()
}

// Limits count on over a restart.
func TestRestartKeepsLimits(t *testing.T) {
	w := start(t, setup{gate: "limits {\nper_number 1/1h\n}"})
	number := freshNumber()
	wantStatus(t, "the first", w.browser().request(number), http.StatusAccepted)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	w.load("limits {\nper_number 1/1h\n}")
	wantStatus(t, "the second, after a restart", w.browser().request(number), http.StatusTooManyRequests)
}

// Looking whether a configuration is sound makes no file, and where one runs
// leaves its file alone.
func TestValidateMakesNoFile(t *testing.T) {
	dir := t.TempDir()
	validate := func(text string) {
		t.Helper()
		config, err := adapt(text)
		if err != nil {
			t.Fatal(err)
		}
		cfg := new(caddy.Config)
		if err := caddy.StrictUnmarshalJSON(config, cfg); err != nil {
			t.Fatal(err)
		}
		if err := caddy.Validate(cfg); err != nil {
			t.Fatal(err)
		}
	}
	w := start(t, setup{})
	text := w.config("")
	w.browser().login(freshNumber())
	validate(text)
	if got := w.memoryFiles(); !slices.Equal(got, []string{"memory.db"}) {
		t.Errorf("beside one that runs: %v", got)
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	validate(strings.ReplaceAll(text, w.dir, dir))
	w.dir = dir
	if got := w.memoryFiles(); len(got) != 0 {
		t.Errorf("alone: %v", got)
	}
}
