package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-websms/websms/internal/process"
)

// gate is a Caddy process in front of the application.
type gate struct {
	url   string
	admin string
	file  string // the path of the Caddyfile
	*process.Process
}

// plentiful holds limits that no measurement reaches.
const plentiful = `limits {
			per_number 1000000/1h
			per_ip 10000000/1h
			budget 10000000/1h
		}`

// startGate runs a Caddy with directives in front of the application. The text app
// holds options of the websms app; with "", the app is left out.
func (l *lab) startGate(name, app, directives string) (*gate, error) {
	var ports [2]int
	for i := range ports {
		var err error
		if ports[i], err = process.FreePort(); err != nil {
			return nil, err
		}
	}
	g := &gate{url: fmt.Sprintf("http://localhost:%d", ports[0]), admin: fmt.Sprintf("http://localhost:%d", ports[1])}
	websms := ""
	if app != "" {
		websms = fmt.Sprintf("websms {\n\t\tclient_id cid_demo\n\t\tclient_secret csk_demo\n\t\tbase_url %s\n\t\t%s\n\t}",
			l.phones.url, app)
	}
	text := fmt.Sprintf(`{
	admin localhost:%d
	persist_config off
	auto_https off
	default_bind localhost
	log {
		level ERROR
	}
	%s
}
%s {
	%s
	reverse_proxy %s
}
`, ports[1], websms, g.url, directives, l.upstream)
	dir := filepath.Join(l.dir, strings.ReplaceAll(name, " ", "-")+strconv.Itoa(ports[0]))
	g.file = filepath.Join(dir, "Caddyfile")
	var err error
	g.Process, err = process.Caddy{Program: l.program, Caddyfile: text, Dir: dir, Work: dir, URLs: []string{g.admin + "/config/"}}.Run()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	l.ends = append(l.ends, func() error { g.Kill(); return nil })
	return g, awaitDial(strings.TrimPrefix(g.url, "http://"))
}

// login gets a session for a number, as a browser does, and returns its cookie.
func (g *gate) login(l *lab, number string) (cookie string, err error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{Jar: jar, Timeout: 20 * time.Second}
	post := func(path string, status int, fields ...string) error {
		form := url.Values{}
		for i := 0; i < len(fields); i += 2 {
			form.Set(fields[i], fields[i+1])
		}
		req, err := http.NewRequest(http.MethodPost, g.url+"/.websms/"+path, strings.NewReader(form.Encode()))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Accept", "application/json")
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != status {
			text, _ := io.ReadAll(res.Body)
			return fmt.Errorf("%s answers %s: %s", path, res.Status, text)
		}
		return nil
	}
	if err := post("send", http.StatusAccepted, "phone", number); err != nil {
		return "", err
	}
	code, err := l.phones.code(number)
	if err != nil {
		return "", err
	}
	if err := post("verify", http.StatusOK, "code", code); err != nil {
		return "", err
	}
	at, err := url.Parse(g.url)
	if err != nil {
		return "", err
	}
	for _, c := range jar.Cookies(at) {
		if c.Name == "websms_session" {
			return c.Name + "=" + c.Value, nil
		}
	}
	return "", errors.New("no session cookie was set")
}

// usage holds the CPU time and the memory that a process has used.
type usage struct {
	cpu     time.Duration
	mallocs float64 // number of allocations
	heap    float64 // bytes in use
}

// tick is the unit of CPU time in /proc. It is a hundredth of a second on every Linux
// (proc(5), sysconf(3)).
const tick = 10 * time.Millisecond

// use returns the usage of a gate's process so far.
func (g *gate) use() (u usage, err error) {
	if u.cpu, err = cpuOf(g.Pid()); err != nil {
		return u, err
	}
	u.mallocs, u.heap, err = g.memory()
	return u, err
}

func cpuOf(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, after, ok := strings.Cut(string(text), ") ")
	fields := strings.Fields(after)
	if !ok || len(fields) < 13 {
		return 0, errors.New("/proc tells nothing of a process's time")
	}
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	return time.Duration(user+system) * tick, err
}

// memory returns the number of allocations of the process, and the bytes in use.
func (g *gate) memory() (mallocs, heap float64, err error) {
	res, err := http.Get(g.admin + "/debug/vars")
	if err != nil {
		return 0, 0, err
	}
	defer res.Body.Close()
	var vars struct {
		Memstats struct{ Mallocs, HeapAlloc float64 } `json:"memstats"`
	}
	err = json.NewDecoder(res.Body).Decode(&vars)
	return vars.Memstats.Mallocs, vars.Memstats.HeapAlloc, err
}

// collected returns the bytes in use after garbage collection.
func (g *gate) collected() (float64, error) {
	for range 2 { // the second collection frees the memory that finalizers have released
		res, err := http.Get(g.admin + "/debug/pprof/heap?gc=1")
		if err != nil {
			return 0, err
		}
		_, err = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if err != nil {
			return 0, err
		}
	}
	_, heap, err := g.memory()
	return heap, err
}

// passwordHash returns the hash of a password for basic_auth.
func (l *lab) passwordHash(password string) (string, error) {
	out, err := exec.Command(l.program, "hash-password", "--plaintext", password).Output()
	return strings.TrimSpace(string(out)), err
}
