package process_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A program ends with its parent, even if the parent was killed.
func TestDiesWithParent(t *testing.T) {
	t.Parallel()
	parent, in := start(t, "parent")
	defer in.Close() // keeps the pipe open; if it closed, the child would end because of that
	awaitLog(t, parent, "\n")
	child, err := strconv.Atoi(strings.TrimSpace(parent.Log()))
	if err != nil {
		t.Fatalf("the parent says %q", parent.Log())
	}
	parent.Kill()
	deadline := time.Now().Add(20 * time.Second)
	for alive(child) {
		if time.Now().After(deadline) {
			t.Fatal("the child lives on")
		}
		time.Sleep(time.Millisecond)
	}
}

// alive reports whether a process runs. A zombie, which has ended and waits for its parent to read
// its status, does not count.
func alive(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ") // proc(5)
	return !strings.HasPrefix(state, "Z")
}
