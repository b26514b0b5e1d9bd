package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/caddy-websms/websms/internal/process"
	"github.com/caddy-websms/websms/websmstest"
)

// lab holds the parts that all measurements share: a Caddy program, an application and
// a WebSMS that keeps the codes of the messages.
type lab struct {
	*options
	dir      string // a folder that is removed at the end
	program  string // the path of Caddy
	upstream string // the address of the application
	redis    string // the address of Redis, or "" if there is none
	phones   *phones
	figure   *figure
	ends     []func() error // ends the parts, in reverse order
}

func newLab(ctx context.Context, o *options) (l *lab, err error) {
	if err := needWrk(); err != nil {
		return nil, err
	}
	l = &lab{options: o}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if err = os.MkdirAll(o.out, 0o755); err != nil {
		return l, err
	}
	if l.dir, err = os.MkdirTemp("", "websms-bench-"); err != nil {
		return l, err
	}
	l.ends = append(l.ends, func() error { return os.RemoveAll(l.dir) })
	root, err := moduleRoot()
	if err != nil {
		return l, err
	}
	l.program = filepath.Join(l.dir, "caddy")
	fmt.Fprintln(os.Stderr, "building Caddy")
	if err = process.BuildCaddy(root, l.program); err != nil {
		return l, err
	}
	if l.phones, err = newPhones(); err != nil {
		return l, err
	}
	l.ends = append(l.ends, l.phones.close)
	if l.upstream, err = l.startPart("upstream"); err != nil {
		return l, err
	}
	return l, l.startRedis(ctx)
}

// moduleRoot returns the folder of this module.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	root := strings.TrimSpace(string(out))
	if err != nil {
		return "", fmt.Errorf("finding the module: %w", err)
	}
	if _, err := os.Stat(filepath.Join(root, "cmd", "caddy")); err != nil {
		return "", errors.New("run it in the checkout of caddy-websms")
	}
	return root, nil
}

// close ends all parts, the latest first.
func (l *lab) close() error {
	var errs []error
	for i := len(l.ends) - 1; i >= 0; i-- {
		errs = append(errs, l.ends[i]())
	}
	l.ends = nil
	return errors.Join(errs...)
}

// keep writes the raw samples of a section.
func (l *lab) keep(section string, samples any) error {
	text, err := json.MarshalIndent(samples, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(l.out, section+".json"), append(text, '\n'), 0o644)
}

// partEnv is an environment variable. If it holds an address, this program runs as the
// application or the authorizer at that address.
const partEnv = "WEBSMS_BENCH_PART"

// startPart runs this program as the application or the authorizer, in another process.
func (l *lab) startPart(part string) (address string, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	port, err := process.FreePort()
	if err != nil {
		return "", err
	}
	address = fmt.Sprintf("127.0.0.1:%d", port)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), partEnv+"="+address)
	p, err := process.Start(cmd)
	if err != nil {
		return "", err
	}
	l.ends = append(l.ends, func() error { p.Kill(); return nil })
	return address, awaitDial(address)
}

// playPart serves the application and the authorizer. It answers every request with
// 200.
func playPart(address string) error {
	body := []byte("the application\n")
	return http.ListenAndServe(address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/seen" { // returns the header of the request
			_ = json.NewEncoder(w).Encode(r.Header)
			return
		}
		_, _ = w.Write(body)
	}))
}

func awaitDial(address string) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// startRedis runs Redis, if it is installed.
func (l *lab) startRedis(context.Context) error {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		fmt.Fprintln(os.Stderr, "redis-server is not installed: store redis is not measured")
		return nil
	}
	port, err := process.FreePort()
	if err != nil {
		return err
	}
	p, err := process.Start(exec.Command(path, "--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--save", "", "--dir", l.dir))
	if err != nil {
		return err
	}
	l.ends = append(l.ends, func() error { p.Kill(); return nil })
	l.redis = fmt.Sprintf("127.0.0.1:%d", port)
	return awaitDial(l.redis)
}

// phones is a simulated WebSMS that keeps the latest code of each number.
type phones struct {
	sim    *websmstest.Simulator
	server *http.Server
	url    string
	mu     sync.Mutex
	codes  map[string]string // nil if codes are not kept
}

// listen turns the keeping of codes on or off.
func (p *phones) listen(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.codes = nil
	if on {
		p.codes = map[string]string{}
	}
}

func (p *phones) listening() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.codes != nil
}

func newPhones() (*phones, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &phones{sim: websmstest.New(websmstest.Options{})}
	p.url = "http://" + listener.Addr().String() + "/api/connexus"
	p.server = &http.Server{Handler: p}
	go func() { _ = p.server.Serve(listener) }() // ends with close
	return p, nil
}

func (p *phones) close() error {
	p.sim.Close()
	return p.server.Close()
}

// ServeHTTP keeps the code of a message, and lets the simulator answer.
func (p *phones) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.listening() && strings.HasSuffix(r.URL.Path, "/sms/otp") {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			to, code := field(string(body), "to"), field(string(body), "msgCode")
			p.mu.Lock()
			if p.codes != nil {
				p.codes["+"+to] = code
			}
			p.mu.Unlock()
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	p.sim.ServeHTTP(w, r)
}

// field returns a field of a form. It does not unescape the value.
func field(form, name string) string {
	for part := range strings.SplitSeq(form, "&") {
		if value, ok := strings.CutPrefix(part, name+"="); ok {
			return value
		}
	}
	return ""
}

// code waits for the code of a number.
func (p *phones) code(number string) (string, error) {
	deadline := time.Now().Add(10 * time.Second)
	for {
		p.mu.Lock()
		code := p.codes[number]
		p.mu.Unlock()
		if code != "" {
			return code, nil
		}
		if time.Now().After(deadline) {
			return "", errors.New("no code has arrived")
		}
		time.Sleep(time.Millisecond)
	}
}
