package browser

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
)

// Problems collects the problems that a browser finds in the pages of a tab: messages in its
// console, failed requests, error answers, and the issues of its developer tools, such as breaches
// of the Content Security Policy.
type Problems struct {
	mu        sync.Mutex
	found     []string
	expected  []int64 // HTTP statuses that the test still expects
	urls      map[network.RequestID]string
	forgiven  string // texts of problems that the test ignores
	forgotten bool   // true once the collecting has ended
}

func newProblems() *Problems { return &Problems{urls: make(map[network.RequestID]string)} }

// Expect announces an error answer that the test wants, such as 422 to a wrong code.
func (p *Problems) Expect(status int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected = append(p.expected, status)
}

// All returns the problems found, and the expected errors that did not come.
func (p *Problems) All() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := slices.Clone(p.found)
	for _, status := range p.expected {
		found = append(found, fmt.Sprintf("no answer with the status %d, which the test expects", status))
	}
	return found
}

// listen handles one event of the browser.
func (p *Problems) listen(event any) {
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
			return // the response event has more detail
		}
		p.add("%s of %s: %s (%s)", e.Entry.Level, e.Entry.Source, e.Entry.Text, e.Entry.URL)
	case *network.EventRequestWillBeSent:
		p.urls[e.RequestID] = e.Request.Method + " " + e.Request.URL
	case *network.EventResponseReceived:
		p.response(e)
	case *network.EventLoadingFailed:
		// A page that the user leaves cancels its own event stream. A popup has requests from before
		// its events were collected; the browser ends some of them when it begins to report.
		if url, seen := p.urls[e.RequestID]; seen && !(e.Canceled && e.Type == network.ResourceTypeEventSource) {
			p.add("%s: %s %s", url, e.ErrorText, e.BlockedReason)
		}
	case *audits.EventIssueAdded:
		details, err := json.Marshal(e.Issue.Details)
		p.add("issue %s: %s (%v)", e.Issue.Code, details, err)
	}
}

func (p *Problems) response(e *network.EventResponseReceived) {
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

func (p *Problems) add(format string, args ...any) {
	problem := fmt.Sprintf(format, args...)
	if p.forgotten || p.forgiven != "" && strings.Contains(problem, p.forgiven) {
		return
	}
	p.found = append(p.found, problem)
}

// Forgive ignores problems that contain these words, from now on.
func (p *Problems) Forgive(words string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgiven = words
}

// Forget ends the collecting.
func (p *Problems) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgotten = true
}
