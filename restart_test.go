package websms_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/internal/harness"
)

// stopAndStart ends the process of the world and starts another.
func stopAndStart(w *harness.World) {
	w.T.Helper()
	if err := caddy.Stop(); err != nil {
		w.T.Fatal(err)
	}
	harness.WantPool(w.T, nil)
	w.Load(harness.Plenty)
}

// memoryFiles returns the names of a world's memory store files.
func memoryFiles(w *harness.World) (names []string) {
	w.T.Helper()
	found, err := filepath.Glob(filepath.Join(w.Dir, "websms", "memory*"))
	if err != nil {
		w.T.Fatal(err)
	}
	for _, path := range found {
		names = append(names, filepath.Base(path))
	}
	return names
}

// A deploy stops and starts Caddy. A pending code stays valid, used attempts stay used, and a used
// code does not work again.
func TestRestart(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	w.Sim.SetWebhook("", "")
	b, guesser := w.Browser(), w.Browser()
	code := harness.AskFor(w, b)
	harness.WantStatus(t, "a wrong code", b.AnswerWith(harness.OtherCode(code)), http.StatusUnprocessableEntity)
	harness.AskFor(w, guesser)
	left := 5
	for range 2 {
		stopAndStart(w)
		b.Client.CloseIdleConnections()
		guesser.Client.CloseIdleConnections()
		a := guesser.AnswerWith("000000")
		harness.WantStatus(t, "a guess", a, http.StatusUnprocessableEntity)
		left--
		if got := a.JSON("attempts_left"); got != float64(left) {
			t.Errorf("%v attempts are left, want %d", got, left)
		}
	}
	harness.WantStatus(t, "the status", b.Get("/.websms/status", harness.API), http.StatusOK)
	harness.WantStatus(t, "the code", b.AnswerWith(code), http.StatusOK)
	harness.WantStatus(t, "the app", b.Get("/", harness.API), http.StatusOK)
	stopAndStart(w)
	b.Client.CloseIdleConnections()
	harness.WantStatus(t, "the code a second time", b.AnswerWith(code), http.StatusConflict)
	if got := memoryFiles(w); !slices.Equal(got, []string{"memory.db"}) {
		t.Errorf("the store has left %v", got)
	}
	for name, want := range map[string]os.FileMode{"websms": 0o700, "websms/memory.db": 0o600} {
		info, err := os.Stat(filepath.Join(w.Dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	w.WantNoSecrets()
}

// Limits keep their counts over a restart.
func TestRestartKeepsLimits(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: "limits {\nper_number 1/1h\n}"})
	number := harness.FreshNumber()
	harness.WantStatus(t, "the first", w.Browser().Request(number), http.StatusAccepted)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	w.Load("limits {\nper_number 1/1h\n}")
	harness.WantStatus(t, "the second, after a restart", w.Browser().Request(number), http.StatusTooManyRequests)
}

// Validating a configuration makes no file. It does not change the file of a running one.
func TestValidateMakesNoFile(t *testing.T) {
	dir := t.TempDir()
	validate := func(text string) {
		t.Helper()
		config, err := harness.Adapt(text)
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
	w := harness.Start(t, harness.Setup{})
	text := w.Config("")
	w.Browser().Login(harness.FreshNumber())
	validate(text)
	if got := memoryFiles(w); !slices.Equal(got, []string{"memory.db"}) {
		t.Errorf("beside one that runs: %v", got)
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	validate(strings.ReplaceAll(text, w.Dir, dir))
	w.Dir = dir
	if got := memoryFiles(w); len(got) != 0 {
		t.Errorf("alone: %v", got)
	}
}
