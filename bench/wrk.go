package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// load holds the settings of one run of wrk.
type load struct {
	url         string
	headers     []string
	threads     int
	connections int
	duration    time.Duration
	script      string // the file of a Lua script; with "", wrk sends GET requests
}

// outcome holds the figures that wrk prints.
type outcome struct {
	Requests  float64 // answered requests
	Seconds   float64
	P50, P99  float64 // milliseconds
	Refused   float64 // answers with a status of 300, or of 400 and more
	Unwell    float64 // socket errors
	PerSecond float64
}

var errNoWrk = errors.New("wrk is not installed: apt-get install wrk, or see https://github.com/wg/wrk")

func (l load) run(ctx context.Context) (outcome, error) {
	args := []string{
		"--latency", "-t" + strconv.Itoa(max(l.threads, 1)), "-c" + strconv.Itoa(l.connections),
		"-d" + strconv.Itoa(int(l.duration/time.Second)) + "s", "--timeout", "10s",
	}
	for _, h := range l.headers {
		args = append(args, "-H", h)
	}
	if l.script != "" {
		args = append(args, "-s", l.script)
	}
	ctx, cancel := context.WithTimeout(ctx, l.duration+time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "wrk", append(args, l.url)...).CombinedOutput()
	if err != nil {
		return outcome{}, fmt.Errorf("wrk %s: %w\n%s", l.url, err, out)
	}
	return readWrk(string(out))
}

var (
	wrkTotal   = regexp.MustCompile(`(?m)^\s*(\d+) requests in ([\d.]+)(us|ms|s|m|h),`)
	wrkLatency = regexp.MustCompile(`(?m)^\s+(50|99)%\s+([\d.]+)(us|ms|s|m|h)[ \t]*$`)
	wrkRefused = regexp.MustCompile(`(?m)^\s*Non-2xx or 3xx responses: (\d+)$`)
	wrkUnwell  = regexp.MustCompile(`(?m)^\s*Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)$`)
)

var units = map[string]float64{"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}

// readWrk reads the output of wrk.
func readWrk(text string) (o outcome, err error) {
	number := func(s string) float64 {
		v, failed := strconv.ParseFloat(s, 64)
		err = errors.Join(err, failed)
		return v
	}
	total := wrkTotal.FindStringSubmatch(text)
	latencies := wrkLatency.FindAllStringSubmatch(text, -1)
	if total == nil || len(latencies) != 2 {
		return o, fmt.Errorf("the output of wrk is not understood:\n%s", text)
	}
	o.Requests, o.Seconds = number(total[1]), number(total[2])*units[total[3]]
	o.PerSecond = o.Requests / o.Seconds
	for _, l := range latencies {
		ms := number(l[2]) * units[l[3]] * 1000
		if l[1] == "50" {
			o.P50 = ms
		} else {
			o.P99 = ms
		}
	}
	if refused := wrkRefused.FindStringSubmatch(text); refused != nil {
		o.Refused = number(refused[1])
	}
	if unwell := wrkUnwell.FindStringSubmatch(text); unwell != nil {
		for _, n := range unwell[1:] {
			o.Unwell += number(n)
		}
	}
	return o, err
}

func needWrk() error {
	if _, err := exec.LookPath("wrk"); err != nil {
		return errNoWrk
	}
	return nil
}

// luaString quotes a text for Lua.
func luaString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}
