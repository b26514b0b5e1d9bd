package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Problems notices each kind of complaint of the browser.
func TestProblems(t *testing.T) {
	t.Parallel()
	Need(t)
	chromium, err := Start(filepath.Join(t.TempDir(), "profile"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(chromium.Stop)
	b := chromium.NewTab(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Security-Policy", "img-src 'none'")
		fmt.Fprint(w, `<!DOCTYPE html><link rel="icon" href="data:,"><img src="/blocked.png"><input>
			<script>fetch("/nowhere"); fetch("http://localhost:1/"); console.warn("w"); throw new Error("oh");</script>`)
	}))
	t.Cleanup(server.Close)
	b.Problems.Expect(500)
	b.Open(server.URL)
	for _, want := range []string{
		"GET " + server.URL + "/nowhere: status 404", "Content Security Policy", "issue ContentSecurityPolicyIssue",
		"issue GenericIssue", "console.warning", "exception: ", "GET http://localhost:1/: net::ERR_", "no answer with the status 500",
	} {
		found := func() string { return strings.Join(b.Problems.All(), "\n") }
		for deadline := time.Now().Add(Patience); !strings.Contains(found(), want); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the browser does not complain of %q, only of:\n%s", want, found())
			}
		}
	}
	b.Problems = newProblems() // the test expects these
}
