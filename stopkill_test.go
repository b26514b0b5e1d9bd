package websms_test

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

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/websmstest"
)

// childConfig is the environment variable with the path of the Caddyfile for the process of
// TestCaddyChild.
const childConfig = "WEBSMS_TEST_CADDYFILE"

// The memory store logs logStopping after it has written the pending challenges.
const logStopping = "the last configuration with the memory store stops: the pending challenges are in its file"

// TestCaddyChild runs Caddy in a process of its own, for tests that kill it.
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
	if err := harness.LoadCaddyfile(string(text)); err != nil {
		t.Fatal(err)
	}
	select {}
}

// childSite is a gated site that another process serves.
type childSite struct {
	*harness.World
	config  string // the Caddyfile
	process *exec.Cmd
	ended   chan struct{}
}

// newChildSite returns a site on its own port, with its storage in dir. The caller starts it.
func newChildSite(t *testing.T, sim *websmstest.Server, dir, app, global, gate string) *childSite {
	t.Helper()
	port := harness.FreePort(t)
	s := &childSite{World: &harness.World{T: t, Sim: sim, Dir: t.TempDir(), URL: fmt.Sprintf("http://localhost:%d", port)}}
	s.config = filepath.Join(s.Dir, "Caddyfile")
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
`, global, dir, s.LogFile(), sim.URL, s.URL, harness.Unhindered(gate), app)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// start starts the process and waits until the site answers.
func (s *childSite) start() {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	s.process = exec.CommandContext(ctx, os.Args[0], "-test.run=^TestCaddyChild$")
	s.process.Env = append(os.Environ(), childConfig+"="+s.config)
	s.process.Stderr = io.Discard
	if err := s.process.Start(); err != nil {
		s.T.Fatal(err)
	}
	ended, process := make(chan struct{}), s.process
	s.ended = ended
	go func() {
		process.Wait()
		cancel()
		close(ended)
	}()
	s.T.Cleanup(func() {
		process.Process.Kill()
		<-ended
	})
	harness.Eventually(s.T, "the site answers", func() bool {
		res, err := http.Get(s.URL + "/.websms/")
		if err != nil {
			return false
		}
		res.Body.Close()
		return true
	})
}

func (s *childSite) signal(signal os.Signal) {
	s.T.Helper()
	if err := s.process.Process.Signal(signal); err != nil {
		s.T.Fatal(err)
	}
}

func (s *childSite) await() {
	s.T.Helper()
	select {
	case <-s.ended:
	case <-time.After(30 * time.Second):
		s.T.Fatal("the process has not ended after 30 s")
	}
}

// downloads runs an application whose /download never ends.
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

// download starts a download that never ends.
func (s *childSite) download() {
	s.T.Helper()
	res, err := http.Get(s.URL + "/download")
	if err != nil {
		s.T.Fatal(err)
	}
	s.T.Cleanup(func() { res.Body.Close() })
	if _, err := io.ReadFull(res.Body, make([]byte, 6)); err != nil {
		s.T.Fatal(err)
	}
}

// A service manager stops Caddy and then kills it, because a download and a slow send do not end. A
// pending code stays valid for one use. A code that was used after the stop began is not valid
// again.
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
			pending, used, missed := s.Browser(), s.Browser(), s.Browser()
			code := pending.Ask(harness.FreshNumber())
			usedCode := used.Ask(harness.FreshNumber())
			missedCode := missed.Ask(harness.FreshNumber())
			sim.Next(websmstest.HangReply()) // the phone gets the code, but the reply never comes
			slow := s.Browser()
			slowCode := slow.Ask(harness.FreshNumber())

			s.signal(syscall.SIGTERM)
			harness.Eventually(t, "the stop has begun", func() bool { return strings.Contains(s.LogText(), logStopping) })
			if global != "" {
				harness.WantStatus(t, "a code, while Caddy stops", used.AnswerWith(usedCode), http.StatusOK)
				harness.WantStatus(t, "a wrong code, while Caddy stops", missed.AnswerWith(harness.OtherCode(missedCode)),
					http.StatusUnprocessableEntity)
			}
			select {
			case <-s.ended:
				t.Fatal("Caddy has stopped: nothing kept it")
			default:
			}
			s.signal(syscall.SIGKILL)
			s.await()

			s.start()
			harness.WantStatus(t, "the pending code", pending.AnswerWith(code), http.StatusOK)
			harness.WantStatus(t, "the app", pending.Get("/", harness.API), http.StatusOK)
			harness.WantStatus(t, "the code of the slow send", slow.AnswerWith(slowCode), http.StatusOK)
			harness.WantStatus(t, "the pending code again", pending.AnswerWith(code), http.StatusConflict)
			if global != "" {
				harness.WantStatus(t, "the code that was used", used.AnswerWith(usedCode), http.StatusConflict)
			} else {
				harness.WantStatus(t, "the other pending code", used.AnswerWith(usedCode), http.StatusOK)
			}
			s.signal(syscall.SIGKILL) // a crash
			s.await()
			s.start()
			harness.WantStatus(t, "the pending code after a crash", pending.AnswerWith(code), http.StatusConflict)
			harness.WantStatus(t, "the used code after a crash", used.AnswerWith(usedCode), http.StatusConflict)
		})
	}
}

// Two Caddys on one storage stop and start in the other order. A number that was locked in one of
// them is locked in both.
func TestStopTwoProcesses(t *testing.T) {
	sim := websmstest.NewServer(t, websmstest.Options{})
	dir, app := t.TempDir(), downloads(t)
	const gate = "realm staff\nlimits {\nlockout 3 1h\n}"
	sites := []*childSite{newChildSite(t, sim, dir, app, "grace_period 5s", gate), newChildSite(t, sim, dir, app, "grace_period 5s", gate)}
	var numbers []string
	for _, s := range sites {
		s.start()
		b, number := s.Browser(), harness.FreshNumber()
		code := b.Ask(number)
		for range 3 {
			b.AnswerWith(harness.OtherCode(code))
		}
		harness.WantStatus(t, "a send to a locked number", s.Browser().Request(number), http.StatusTooManyRequests)
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
			harness.WantStatus(t, fmt.Sprintf("site %d: a send to the number that site %d has locked", i, j),
				s.Browser().Request(number), http.StatusTooManyRequests)
		}
	}
}
