package websms

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/websmstest"
)

// childConfig tells the process that TestCaddyChild starts which Caddyfile to run.
const childConfig = "WEBSMS_TEST_CADDYFILE"

// TestCaddyChild is a Caddy in a process of its own, for tests that kill it.
func TestCaddyChild(t *testing.T) {
	path := os.Getenv(childConfig)
	if path == "" {
		t.Skip("other tests start it")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	caddy.TrapSignals()
	if err := loadCaddyfile(string(text)); err != nil {
		t.Fatal(err)
	}
	select {}
}

// childSite is a gated site whose Caddy is another process.
type childSite struct {
	*world
	config  string // the Caddyfile
	process *exec.Cmd
	ended   chan struct{}
}

// newChildSite returns a site on a port of its own, with its storage in dir. It runs
// once it is started.
func newChildSite(t *testing.T, sim *websmstest.Server, dir, app, global, gate string) *childSite {
	t.Helper()
	port := freePort(t)
	s := &childSite{world: &world{t: t, sim: sim, dir: t.TempDir(), url: fmt.Sprintf("http://localhost:%d", port)}}
	s.config = filepath.Join(s.dir, "Caddyfile")
	text := fmt.Sprintf(`{
	admin off
	persist_config off
	%s
	storage file_system %q
	log {
		output file %q
	}
	websms {
		client_id cid_demo
		client_secret csk_demo
		base_url %s
	}
}
%s {
	websms_otp {
		company Acme
		%s
		bypass {
			path /download
		}
	}
	reverse_proxy %s {
		flush_interval -1
	}
}
`, global, dir, s.logFile(), sim.URL, s.url, unhindered(gate), app)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// start starts the process, and returns when the site answers.
func (s *childSite) start() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	s.process = exec.CommandContext(ctx, os.Args[0], "-test.run=^TestCaddyChild$")
	s.process.Env = append(os.Environ(), childConfig+"="+s.config)
	s.process.Stderr = io.Discard
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended, process := make(chan struct{}), s.process
	s.ended = ended
	go func() {
		process.Wait()
		cancel()
		close(ended)
	}()
	s.t.Cleanup(func() {
		process.Process.Kill()
		<-ended
	})
	eventually(s.t, "the site answers", func() bool {
		res, err := http.Get(s.url + "/.websms/")
		if err != nil {
			return false
		}
		res.Body.Close()
		return true
	})
}

func (s *childSite) signal(signal os.Signal) {
	s.t.Helper()
	if err := s.process.Process.Signal(signal); err != nil {
		s.t.Fatal(err)
	}
}

func (s *childSite) await() {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(30 * time.Second):
		s.t.Fatal("the process has not ended after 30 s")
	}
}

// downloads is an application whose /download never ends.
func downloads(t *testing.T) (address string) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "legacy app")
		if r.URL.Path == "/download" {
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	}))
	t.Cleanup(app.Close)
	t.Cleanup(app.CloseClientConnections)
	return strings.TrimPrefix(app.URL, "http://")
}

// download begins a download that never ends.
func (s *childSite) download() {
	s.t.Helper()
	res, err := http.Get(s.url + "/download")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { res.Body.Close() })
	if _, err := io.ReadFull(res.Body, make([]byte, 6)); err != nil {
		s.t.Fatal(err)
	}
}

// A service manager stops Caddy and kills it, because a download goes on and a
// send is slow. Who has a pending code can use it, once; a code that was used
// after the stop began is not good again.
func TestStopKilled(t *testing.T) {
	for name, global := range map[string]string{
		"the server waits for ever":         "",
		"the server goes on before it ends": "shutdown_delay 1m",
	} {
		t.Run(name, func(t *testing.T) {
			sim := websmstest.NewServer(t, websmstest.Options{})
			s := newChildSite(t, sim, t.TempDir(), downloads(t), global, "")
			s.start()
			s.download()
			pending, used, missed := s.browser(), s.browser(), s.browser()
			code := pending.ask(freshNumber())
			usedCode := used.ask(freshNumber())
			missedCode := missed.ask(freshNumber())
			sim.Next(websmstest.HangReply()) // the phone has the code, and the reply never comes
			slow := s.browser()
			slowCode := slow.ask(freshNumber())

			s.signal(syscall.SIGTERM)
			eventually(t, "the stop has begun", func() bool { return strings.Contains(s.logText(), logStopping) })
			if global != "" {
				wantStatus(t, "a code, while Caddy stops", used.answerWith(usedCode), http.StatusOK)
				wantStatus(t, "a wrong code, while Caddy stops", missed.answerWith(other(missedCode)), http.StatusUnprocessableEntity)
			}
			select {
			case <-s.ended:
				t.Fatal("Caddy has stopped: nothing kept it")
			default:
			}
			s.signal(syscall.SIGKILL)
			s.await()

			s.start()
			wantStatus(t, "the pending code", pending.answerWith(code), http.StatusOK)
			wantStatus(t, "the app", pending.get("/", api), http.StatusOK)
			wantStatus(t, "the code of the slow send", slow.answerWith(slowCode), http.StatusOK)
			wantStatus(t, "the pending code again", pending.answerWith(code), http.StatusConflict)
			if global != "" {
				wantStatus(t, "the code that was used", used.answerWith(usedCode), http.StatusConflict)
			} else {
				wantStatus(t, "the other pending code", used.answerWith(usedCode), http.StatusOK)
			}
			s.signal(syscall.SIGKILL) // a crash
			s.await()
			s.start()
			wantStatus(t, "the pending code after a crash", pending.answerWith(code), http.StatusConflict)
			wantStatus(t, "the used code after a crash", used.answerWith(usedCode), http.StatusConflict)
		})
	}
}

// Two Caddys on one storage stop, and start in the other order. A number that
// was locked in one of them is locked in both.
func TestStopTwoProcesses(t *testing.T) {
	sim := websmstest.NewServer(t, websmstest.Options{})
	dir, app := t.TempDir(), downloads(t)
	const gate = "realm staff\nlimits {\nlockout 3 1h\n}"
	sites := []*childSite{newChildSite(t, sim, dir, app, "grace_period 5s", gate), newChildSite(t, sim, dir, app, "grace_period 5s", gate)}
	var numbers []string
	for _, s := range sites {
		s.start()
		b, number := s.browser(), freshNumber()
		code := b.ask(number)
		for range 3 {
			b.answerWith(other(code))
		}
		wantStatus(t, "a send to a locked number", s.browser().request(number), http.StatusTooManyRequests)
		numbers = append(numbers, number)
	}
	for _, s := range sites {
		s.signal(syscall.SIGTERM)
		s.await()
	}
	for i := len(sites) - 1; i >= 0; i-- {
		sites[i].start()
	}
	for i, s := range sites {
		for j, number := range numbers {
			wantStatus(t, fmt.Sprintf("site %d: a send to the number that site %d has locked", i, j), s.browser().request(number), http.StatusTooManyRequests)
		}
	}
}
