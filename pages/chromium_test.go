package pages

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	devpage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience bounds every step in the browser.
const patience = 20 * time.Second

// chromium is the browser of all tests, started by the first that needs it.
var chromium struct {
	once sync.Once
	ctx  context.Context
	err  error
	stop func()
}

var errNoChromium = errors.New("no chromium on this machine")

func TestMain(m *testing.M) {
	code := m.Run()
	if chromium.stop != nil {
		chromium.stop()
	}
	os.Exit(code)
}

func startChromium() {
	i := slices.IndexFunc([]string{"chromium", "chromium-browser", "google-chrome"}, func(name string) bool {
		_, err := exec.LookPath(name)
		return err == nil
	})
	if i < 0 {
		chromium.err = errNoChromium
		return
	}
	profile, err := os.MkdirTemp("", "websms-pages-")
	if err != nil {
		chromium.err = err
		return
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(profile),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		// A host that no browser trusts, as localhost is trusted.
		chromedp.Flag("host-resolver-rules", "MAP plain.test 127.0.0.1"))
	alloc, stopAlloc := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, stopTab := chromedp.NewContext(alloc)
	chromium.ctx, chromium.err = ctx, chromedp.Do(ctx)
	chromium.stop = func() {
		stopTab()
		stopAlloc()
		_ = os.RemoveAll(profile)
	}
}

// A tab is a fresh tab. What it writes to its console fails the test.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	console  []string
	expected string // part of a line that is no failure
}

// newTab opens a tab, or skips the test on a machine without a browser.
// WEBSMS_TEST_REQUIRE=chromium makes that a failure.
func newTab(t *testing.T) *tab {
	t.Helper()
	chromium.once.Do(startChromium)
	if errors.Is(chromium.err, errNoChromium) && !slices.Contains(strings.Split(os.Getenv("WEBSMS_TEST_REQUIRE"), ","), "chromium") {
		t.Skip(chromium.err)
	}
	if chromium.err != nil {
		t.Fatal(chromium.err)
	}
	b := &tab{t: t}
	ctx, cancel := chromedp.NewContext(chromium.ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(b.listen))
	t.Cleanup(cancel)
	b.ctx = ctx
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	call(b, log.Enable, cdp.Empty{})
	// A tab in the background of a headless browser has no focus to give.
	call(b, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, line := range b.console {
			if b.expected == "" || !strings.Contains(line, b.expected) {
				t.Errorf("console: %s", line)
			}
		}
	})
	return b
}

func (b *tab) listen(event any) {
	var line string
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		line = "exception: " + e.ExceptionDetails.Text
	case *runtime.EventConsoleAPICalled:
		line = "console." + string(e.Type)
	case *log.EventEntryAdded:
		// A page that comes with an error's status is not an error of the page.
		if strings.Contains(e.Entry.Text, "responded with a status of 422") {
			return
		}
		line = e.Entry.Text
	default:
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.console = append(b.console, line)
}

// forgive lets the browser write lines with these words to the console.
func (b *tab) forgive(words string) { b.mu.Lock(); defer b.mu.Unlock(); b.expected = words }

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

func call[P, R any](b *tab, cmd cdp.Command[P, R], params P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	result, err := chromedp.Call(ctx, cmd, params)
	if err != nil {
		b.t.Fatalf("%s: %v", cmd.Method, err)
	}
	return result
}

// before runs a script in every page of the tab, ahead of the page's own.
func (b *tab) before(script string) {
	b.t.Helper()
	call(b, devpage.AddScriptToEvaluateOnNewDocument, devpage.AddScriptToEvaluateOnNewDocumentParams{Source: script})
}

func (b *tab) open(address string) { b.t.Helper(); b.do(chromedp.Navigate(address)) }

func (b *tab) click(css string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(css), chromedp.NodeVisible))
}

func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits for an expression to become true.
func (b *tab) until(expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingInterval(10*time.Millisecond))); err != nil {
		b.t.Fatalf("%s: %v; the page says %q", expression, err, eval[string](b, "document.body.innerText"))
	}
}

// untilText waits for the words of an element.
func (b *tab) untilText(id, want string) {
	b.t.Helper()
	b.until(`document.getElementById("` + id + `")?.textContent === ` + quote(want))
}

func quote(s string) string { return "`" + strings.ReplaceAll(s, "`", "") + "`" }

// A site is a gate without its insides: it shows a view and notes what is posted.
type site struct {
	*httptest.Server
	events chan string   // data of status events; closed to end the stream
	left   chan struct{} // gets a value when a browser leaves the stream

	mu     sync.Mutex
	view   View                                           // what GET shows below the prefix
	onPost func(w http.ResponseWriter, path string) error // nil: 303 to /app
	posts  []post
	paths  []string
}

type post struct {
	path, origin, fetchSite string
	form                    url.Values
}

func newSite(t *testing.T, v View) *site {
	t.Helper()
	p := newPages(t)
	s := &site{view: v, events: make(chan string, 8), left: make(chan struct{}, 8)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+prefix+"/assets/{name}", func(w http.ResponseWriter, r *http.Request) {
		if !p.ServeAsset(w, r, r.PathValue("name")) {
			http.NotFound(w, r)
		}
	})
	mux.HandleFunc("GET "+prefix+"/status", s.status)
	mux.HandleFunc("GET "+prefix+"/", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := p.Write(w, http.StatusOK, s.view); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		s.posts = append(s.posts, post{r.URL.Path, r.Header.Get("Origin"), r.Header.Get("Sec-Fetch-Site"), r.PostForm})
		answer := s.onPost
		s.mu.Unlock()
		if answer == nil {
			http.Redirect(w, r, "/app", http.StatusSeeOther)
		} else if err := answer(w, r.URL.Path); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("GET /app", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(`<!DOCTYPE html><html lang="en"><link rel="icon" href="data:,"><title>App</title><p id="app">The app</p></html>`))
	})
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.paths = append(s.paths, r.Method+" "+r.URL.Path)
		s.mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// status streams the site's events.
func (s *site) status(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flush := func() { _ = http.NewResponseController(w).Flush() }
	flush()
	for {
		select {
		case data := <-s.events:
			_, _ = w.Write([]byte("data: " + data + "\n\n"))
			flush()
		case <-r.Context().Done():
			select {
			case s.left <- struct{}{}:
			default: // nobody counts so many
			}
			return
		}
	}
}

func (s *site) show(v View) { s.mu.Lock(); defer s.mu.Unlock(); s.view = v }

func (s *site) answer(f func(w http.ResponseWriter, path string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onPost = f
}

func (s *site) posted() []post { s.mu.Lock(); defer s.mu.Unlock(); return slices.Clone(s.posts) }

// requests are the methods and paths asked for so far, in order.
func (s *site) requests() []string { s.mu.Lock(); defer s.mu.Unlock(); return slices.Clone(s.paths) }
