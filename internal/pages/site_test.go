package pages

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/browser"
)

// patience bounds each wait outside of the browser.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	code := m.Run()
	browser.Stop()
	os.Exit(code)
}

// untilWords waits until the text of an element is exactly these words.
func untilWords(b *browser.Tab, id, want string) {
	b.T.Helper()
	b.Until(`document.getElementById("` + id + `")?.textContent === ` + browser.Quote(want))
}

// A site is a stub of a gate. It shows a view and records the posts.
type site struct {
	*httptest.Server
	events chan string   // data of status events; closed to end the stream
	left   chan struct{} // gets a value when a browser closes the stream

	mu     sync.Mutex
	view   View                                           // view that GET shows below the prefix
	onPost func(w http.ResponseWriter, path string) error // answers posts; nil: 303 to /app
	posts  []post
	paths  []string
}

type post struct {
	path, origin, fetchSite string
	form                    url.Values
}

// newSite starts a site and opens a tab for it. The tab is closed before the site, so the page's
// event stream ends without an error.
func newSite(t *testing.T, v View) (*site, *browser.Tab) {
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
		_, _ = w.Write([]byte(`<!DOCTYPE html><html lang="en"><link rel="icon" href="data:,">
			<title>App</title><p id="app">The app</p></html>`))
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
	return s, browser.NewPlainTab(t)
}

// status streams the events of the site.
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
			default: // more than any test counts
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

// requests returns the method and path of each request so far, in order.
func (s *site) requests() []string { s.mu.Lock(); defer s.mu.Unlock(); return slices.Clone(s.paths) }
