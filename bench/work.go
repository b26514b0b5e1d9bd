package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// measureWork measures sends, verifies and webhook deliveries over HTTP. The tool wrk,
// the simulator and Caddy share the cores of the machine.
func measureWork(ctx context.Context, l *lab) error {
	const app = "store memory {\n\t\t\tcapacity 1000000\n\t\t}"
	g, err := l.startGate("work", app, "websms_webhook /webhook {\n\t\tsecret bench-secret\n\t}\n\t"+
		"websms_otp {\n\t\tcompany Bench\n\t\tcode {\n\t\t\tttl 10m\n\t\t}\n\t\t"+plentiful+"\n\t}")
	if err != nil {
		return err
	}
	rounds, seconds, prepared := 5, 4, 60_000
	if l.quick {
		rounds, seconds, prepared = 2, 1, 30_000
	}
	w := &worker{lab: l, gate: g, seconds: seconds, prepared: prepared}
	var samples []workSample
	for round := range rounds {
		fmt.Fprintf(os.Stderr, "work, round %d of %d\n", round+1, rounds)
		for _, job := range []struct {
			name string
			do   job
		}{{"sends", w.sends}, {"verifies", w.verifies}, {"webhook deliveries", w.deliveries}} {
			s, err := w.watch(ctx, job.do)
			if err != nil {
				return fmt.Errorf("%s: %w", job.name, err)
			}
			s.Round, s.Job = round+1, job.name
			samples = append(samples, s)
		}
	}
	if err := l.keep("work", samples); err != nil {
		return err
	}
	t := table{head: []string{"work, store memory", "a second", "p99 ms", "CPU µs of Caddy", "and of the simulator", "budget"}}
	for _, job := range []struct {
		name string
		bar  float64
	}{{"sends", 10_000}, {"verifies", 10_000}, {"webhook deliveries", 15_000}} {
		of := func(value func(workSample) float64) float64 {
			var list []float64
			for _, s := range samples {
				if s.Job == job.name {
					list = append(list, value(s))
				}
			}
			return median(list)
		}
		rate := of(func(s workSample) float64 { return s.PerSecond })
		t.add(job.name, figures(rate), figures(of(func(s workSample) float64 { return s.P99 })),
			figures(of(func(s workSample) float64 { return s.CPU })),
			figures(of(func(s workSample) float64 { return s.Simulator })), atLeast(rate, job.bar))
	}
	fmt.Printf("Work: %d rounds; wrk, Caddy and the simulator share the machine.\n\n%s\n", rounds, &t)
	return nil
}

type workSample struct {
	Round     int
	Job       string
	PerSecond float64 // jobs that succeeded
	Refused   float64
	P99       float64 // milliseconds
	CPU       float64 // CPU time of Caddy, microseconds for each success
	Simulator float64 // CPU time of this process, microseconds for each success
}

// worker runs the jobs. Each job uses new numbers and messages.
type worker struct {
	*lab
	gate     *gate
	seconds  int
	prepared int
	numbers  int // numbers used so far
	messages int
}

// job is some work. It calls begin when it is prepared, and the measurement starts.
type job func(ctx context.Context, begin func()) (outcome, error)

// watch runs a job and measures its cost.
func (w *worker) watch(ctx context.Context, do job) (s workSample, err error) {
	var caddy, own time.Duration
	begin := func() {
		var failed error
		caddy, err = cpuOf(w.gate.Pid())
		own, failed = cpuOf(os.Getpid())
		err = errors.Join(err, failed)
	}
	o, failed := do(ctx, begin)
	if err = errors.Join(err, failed); err != nil {
		return s, err
	}
	caddyAfter, err := cpuOf(w.gate.Pid())
	if err != nil {
		return s, err
	}
	ownAfter, err := cpuOf(os.Getpid())
	done := o.Requests - o.Refused
	return workSample{
		PerSecond: done / o.Seconds, Refused: o.Refused, P99: o.P99,
		CPU: float64((caddyAfter - caddy).Microseconds()) / done, Simulator: float64((ownAfter - own).Microseconds()) / done,
	}, err
}

// number returns the i-th mobile number.
func number(i int) string { return fmt.Sprintf("+6422%07d", i%10_000_000) }

// script writes a Lua script for wrk.
func (w *worker) script(name, text string) (string, error) {
	file := filepath.Join(w.dir, name+".lua")
	return file, os.WriteFile(file, []byte(text), 0o600)
}

func (w *worker) wrk(ctx context.Context, connections int, script string) (outcome, error) {
	return load{
		url: w.gate.url, threads: 1, connections: connections, // each thread would have a counter of its own
		duration: time.Duration(w.seconds) * time.Second, script: script,
	}.run(ctx)
}

// sends asks for codes, each for another number. The gate answers before the code is
// sent, and refuses a request while 512 messages are in flight.
func (w *worker) sends(ctx context.Context, begin func()) (outcome, error) {
	script, err := w.script("sends", fmt.Sprintf(`
local n = %d
local headers = {["Content-Type"] = "application/x-www-form-urlencoded", ["Accept"] = "application/json"}
request = function()
  n = n + 1
  return wrk.format("POST", "/.websms/send", headers, "phone=%%2B6422" .. string.format("%%07d", n))
end

`, w.numbers))
	if err != nil {
		return outcome{}, err
	}
	begin()
	o, err := w.wrk(ctx, 4*connections, script)
	w.numbers += int(o.Requests) + 4*connections
	return o, err
}

// verifies answers prepared challenges, each once and with the right code.
func (w *worker) verifies(ctx context.Context, begin func()) (outcome, error) {
	pairs, err := w.prepare(ctx)
	if err != nil {
		return outcome{}, err
	}
	var list strings.Builder
	for _, p := range pairs {
		fmt.Fprintln(&list, p.cookie, p.code)
	}
	file := filepath.Join(w.dir, "verifies.list") // the list is too long for a table in a Lua script
	if err := os.WriteFile(file, []byte(list.String()), 0o600); err != nil {
		return outcome{}, err
	}
	script, err := w.script("verifies", `
local next = io.lines(`+luaString(file)+`)
local last
request = function()
  local line = next and next()
  if not line then
    next = nil
    wrk.thread:stop()
    return last
  end
  local cookie, code = line:match("^(%S+) (%d+)$")
  local headers = {["Content-Type"] = "application/x-www-form-urlencoded", ["Accept"] = "application/json", ["Cookie"] = cookie}
  last = wrk.format("POST", "/.websms/verify", headers, "code=" .. code)
  return last
end
`)
	if err != nil {
		return outcome{}, err
	}
	begin()
	return w.wrk(ctx, connections, script)
}

type awaited struct{ cookie, code string }

// prepare asks for codes and returns each with the challenge cookie that it answers.
func (w *worker) prepare(ctx context.Context) ([]awaited, error) {
	w.phones.listen(true)
	defer w.phones.listen(false)
	pairs := make([]awaited, w.prepared)
	first := w.numbers
	w.numbers += w.prepared
	transport := &http.Transport{MaxIdleConnsPerHost: connections}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for worker := range connections {
		wg.Go(func() {
			for i := worker; i < len(pairs) && ctx.Err() == nil; i += connections {
				p, err := w.ask(ctx, client, number(first+i+1))
				if err != nil {
					mu.Lock()
					failed = errors.Join(failed, err)
					mu.Unlock()
					return
				}
				pairs[i] = p
			}
		})
	}
	wg.Wait()
	return pairs, errors.Join(failed, ctx.Err())
}

func (w *worker) ask(ctx context.Context, client *http.Client, number string) (awaited, error) {
	for {
		form := strings.NewReader("phone=" + url.QueryEscape(number))
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.gate.url+"/.websms/send", form)
		if err != nil {
			return awaited{}, err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Accept", "application/json")
		res, err := client.Do(req)
		if err != nil {
			return awaited{}, err
		}
		_, _ = io.Copy(io.Discard, res.Body) // otherwise the connection cannot be used again
		res.Body.Close()
		if res.StatusCode == http.StatusServiceUnavailable { // too many messages are in flight
			time.Sleep(5 * time.Millisecond)
			continue
		}
		if res.StatusCode != http.StatusAccepted {
			return awaited{}, fmt.Errorf("send answers %s", res.Status)
		}
		code, err := w.phones.code(number)
		if err != nil {
			return awaited{}, err
		}
		for _, c := range res.Cookies() {
			if c.Name == "websms_session_challenge" {
				return awaited{c.Name + "=" + c.Value, code}, nil
			}
		}
		return awaited{}, errors.New("no challenge cookie was set")
	}
}

// deliveries posts delivery reports, each for another message.
func (w *worker) deliveries(ctx context.Context, begin func()) (outcome, error) {
	script, err := w.script("deliveries", fmt.Sprintf(`
local n = %d
local headers = {["Content-Type"] = "application/json", ["Authorization"] = "Bearer bench-secret"}
request = function()
  n = n + 1
  return wrk.format("POST", "/webhook", headers, '{"type":"dlr","messageId":"MSG' .. n ..
    '","status":"DELIVRD","statusCode":1,"timestamp":1234567890}')
end
`, w.messages))
	if err != nil {
		return outcome{}, err
	}
	begin()
	o, err := w.wrk(ctx, connections, script)
	w.messages += int(o.Requests) + connections
	if err == nil && o.Refused > 0 {
		err = fmt.Errorf("%.0f were refused", o.Refused)
	}
	return o, err
}
