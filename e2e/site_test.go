package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	readyTime = 20 * time.Second // from the start of the process to its first answer
	stopTime  = 10 * time.Second // from the signal to the end of the process
)

// A site is a Caddy process that runs a demo.
type site struct {
	app   string // URL of the gated legacy app
	inbox string // URL of the simulator's inbox
	cmd   *exec.Cmd
	done  chan error // gets what the process ended with
	log   logBuffer
}

// startSite runs the Caddyfile of a demo, with free ports in place of its own,
// and waits until both of its sites answer. Caddy's data goes into dir.
func startSite(caddyfile, dir string) (*site, error) {
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	for i, own := range []string{"8080", "8025", "2019"} {
		if !strings.Contains(caddyfile, "localhost:"+own) {
			return nil, fmt.Errorf("the Caddyfile has no localhost:%s", own)
		}
		caddyfile = strings.ReplaceAll(caddyfile, "localhost:"+own, "localhost:"+ports[i])
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(caddyfile), 0o600); err != nil {
		return nil, err
	}
	s := &site{
		app: "http://localhost:" + ports[0], inbox: "http://localhost:" + ports[1],
		cmd: exec.Command(program, "run", "--adapter", "caddyfile", "--config", file), done: make(chan error, 1),
	}
	s.cmd.Dir = root
	s.cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { s.done <- s.cmd.Wait() }()
	if err := s.awaitReady(); err != nil {
		_ = s.cmd.Process.Kill()
		return nil, fmt.Errorf("%w; its log:\n%s", err, s.log.String())
	}
	return s, nil
}

func freePorts(n int) ([]string, error) {
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "localhost:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // only at the end, so that all differ
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}

func (s *site) awaitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), readyTime)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := errors.Join(answers(ctx, s.app+"/.websms/login"), answers(ctx, s.inbox))
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case ended := <-s.done:
			s.done <- ended
			return fmt.Errorf("the demo ended (%v) before it answered", ended)
		case <-ctx.Done():
			return fmt.Errorf("the demo does not answer: %w", err)
		}
	}
}

func answers(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusUnauthorized { // where a first factor is in front
		return fmt.Errorf("%s answered %d", url, resp.StatusCode)
	}
	return nil
}

// stop ends the process as Ctrl-C does, and fails if it has to be killed.
func (s *site) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGINT) // it may have ended
	select {
	case err := <-s.done:
		s.done <- err
		if err != nil {
			return fmt.Errorf("the demo ended with %w; its log:\n%s", err, s.log.String())
		}
		return nil
	case <-time.After(stopTime):
		_ = s.cmd.Process.Kill()
		return fmt.Errorf("the demo did not stop within %v of SIGINT; its log:\n%s", stopTime, s.log.String())
	}
}

// demo returns the demo as it is. All tests share it, so each has a number of
// its own; one that chooses how a message is delivered runs a demo of its own.
func demo(t *testing.T) *site {
	t.Helper()
	needChromium(t)
	return shared
}

// ownDemo runs a demo for one test, with other text in place of some of its Caddyfile's.
func ownDemo(t *testing.T, oldNew ...string) *site {
	t.Helper()
	needChromium(t)
	data, err := os.ReadFile(filepath.Join(root, "demo", "Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for pair := range slices.Chunk(oldNew, 2) {
		if strings.Count(text, pair[0]) != 1 {
			t.Fatalf("the demo's Caddyfile does not have %q once", pair[0])
		}
		text = strings.Replace(text, pair[0], pair[1], 1)
	}
	s, err := startSite(text, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// logBuffer holds what a process has written so far.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
