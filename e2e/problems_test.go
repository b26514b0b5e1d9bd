package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
)

// problems collects what a browser finds wrong with the pages of a tab: what
// stands in its console, requests that fail or are answered with an error, and
// the issues that its developer tools list, such as breaches of the Content
// Security Policy.
type problems struct {
	mu        sync.Mutex
	found     []string
	expected  []int64 // HTTP statuses yet to come
	urls      map[network.RequestID]string
	forgotten bool // what follows is nobody's fault
}

func newProblems() *problems { return &problems{urls: make(map[network.RequestID]string)} }

// expect announces an answer that is an error by intention: 422 to a wrong code.
func (p *problems) expect(status int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected = append(p.expected, status)
}

// all returns what was found, and which expected errors never came.
func (p *problems) all() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := slices.Clone(p.found)
	for _, status := range p.expected {
		found = append(found, fmt.Sprintf("no answer with the status %d, which the test expects", status))
	}
	return found
}

// listen takes an event of the browser.
func (p *problems) listen(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		p.add("exception: %s", e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		p.add("console.%s", e.Type)
	case *log.EventEntryAdded:
		switch {
		case e.Entry.Level != log.EntryLevelWarning && e.Entry.Level != log.EntryLevelError:
			return
		case e.Entry.Source == log.EntrySourceNetwork && strings.Contains(e.Entry.Text, "responded with a status of"):
			return // response tells it better
		}
		p.add("%s of %s: %s (%s)", e.Entry.Level, e.Entry.Source, e.Entry.Text, e.Entry.URL)
	case *network.EventRequestWillBeSent:
		p.urls[e.RequestID] = e.Request.Method + " " + e.Request.URL
	case *network.EventResponseReceived:
		p.response(e)
	case *network.EventLoadingFailed:
		// A page that is left ends its own event stream.
		if !(e.Canceled && e.Type == network.ResourceTypeEventSource) {
			p.add("%s: %s %s", p.urls[e.RequestID], e.ErrorText, e.BlockedReason)
		}
	case *audits.EventIssueAdded:
		details, err := json.Marshal(e.Issue.Details)
		p.add("issue %s: %s (%v)", e.Issue.Code, details, err)
	}
}

func (p *problems) response(e *network.EventResponseReceived) {
	status := e.Response.Status
	if status < 400 {
		return
	}
	if i := slices.Index(p.expected, status); i >= 0 {
		p.expected = slices.Delete(p.expected, i, i+1)
		return
	}
	p.add("%s: status %d", p.urls[e.RequestID], status)
}

func (p *problems) add(format string, args ...any) {
	if p.forgotten {
		return
	}
	p.found = append(p.found, fmt.Sprintf(format, args...))
}

// What browsers complain of is noticed.
func TestProblems(t *testing.T) {
	t.Parallel()
	b := newTab(t)
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
	b.problems.expect(500)
	b.open(server.URL)
	for _, want := range []string{
		"GET " + server.URL + "/nowhere: status 404", "Content Security Policy", "issue ContentSecurityPolicyIssue",
		"issue GenericIssue", "console.warning", "exception: ", "GET http://localhost:1/: net::ERR_", "no answer with the status 500",
	} {
		found := func() string { return strings.Join(b.problems.all(), "\n") }
		for deadline := time.Now().Add(patience); !strings.Contains(found(), want); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the browser does not complain of %q, only of:\n%s", want, found())
			}
		}
	}
	b.problems = newProblems() // these were wanted
}

// forget ends the collecting.
func (p *problems) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgotten = true
}
