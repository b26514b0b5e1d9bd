package secret

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestResolve(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("WEBSMS_TEST_SET", "from {env}")
	t.Setenv("WEBSMS_TEST_EMPTY", "")
	t.Setenv("WEBSMS_TEST_BLANK", " ")
	for value, want := range map[string]string{
		"":                             "",
		"literal":                      "literal",
		`a\{b`:                         "a{b",
		"{env.WEBSMS_TEST_SET}":        "from {env}", // the result is not replaced again
		"x-{env.WEBSMS_TEST_SET}":      "x-from {env}",
		"{file." + file + "}":          "from a file",
		"{env.WEBSMS_TEST_SET}literal": "from {env}literal",
	} {
		if got, err := Resolve("password", value); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", value, got, err, want)
		}
	}
	for value, want := range map[string]string{
		"{env.WEBSMS_TEST_EMPTY}":   "WEBSMS_TEST_EMPTY",
		"{env.WEBSMS_TEST_UNSET}":   "WEBSMS_TEST_UNSET",
		"{file./no/such/file}":      "/no/such/file",
		"{env.WEBSMS_TEST_BLANK}":   "password is blank",
		"hunter2{part of a secret}": "password holds a placeholder that is unknown or empty: give {env.NAME}",
	} {
		got, err := Resolve("password", value)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "password") || got != "" {
			t.Errorf("%q: %q, %v, want %q", value, got, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error repeats the secret: %v", err)
		}
	}
}
