package harness

import (
	"os"
	"path/filepath"
	"testing"
)

// WriteFile writes a file that only its owner may read, and makes its folder.
func WriteFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
