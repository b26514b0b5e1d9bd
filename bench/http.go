package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

// warmup is the time for each target before the first round.
const warmup = 2 * time.Second

// connections is the number of connections that the project's budgets assume.
const connections = 32

// target is one way to the application, with the header that lets a request pass.
type target struct {
	name   string
	url    string
	header string
	*gate         // nil for a gate of the command line
	number string // signs in before each round; "" keeps the header
}

// sample holds the figures of one target in one round.
type sample struct {
	Round     int
	Target    string
	PerSecond float64
	P50, P99  float64 // milliseconds
	CPU       float64 // microseconds for each request; 0 if unknown
	Mallocs   float64 // allocations for each request
}

// measureHTTP asks each gate in turn, round after round.
func measureHTTP(ctx context.Context, l *lab) error {
	targets, err := l.targets()
	if err != nil {
		return err
	}
	for _, t := range targets {
		if _, err := t.ask(ctx, l, warmup); err != nil {
			return err
		}
	}
	var samples []sample
	for round := range l.rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, l.rounds)
		for i := range targets { // each round begins with another target
			t := &targets[(i+round)%len(targets)]
			if err := t.signIn(l); err != nil {
				return err
			}
			s, err := t.ask(ctx, l, l.duration)
			if err != nil {
				return err
			}
			s.Round = round + 1
			samples = append(samples, s)
		}
	}
	if err := l.keep("http", samples); err != nil {
		return err
	}
	l.reportHTTP(targets, samples)
	return nil
}

const denied = "gate, no session"

// targets starts a Caddy for each target.
func (l *lab) targets() ([]target, error) {
	memory := "store memory {\n\t\t\tcapacity 1000000\n\t\t}"
	otp := "websms_otp {\n\t\tcompany Bench\n\t\t" + plentiful + "\n\t}"
	gated, err := l.startGate("memory", memory, otp)
	if err != nil {
		return nil, err
	}
	passed := target{name: "gate, store memory", url: gated.url, gate: gated, number: "+64220000001"}
	if err := passed.signIn(l); err != nil {
		return nil, err
	}
	session := passed.header
	if err := gated.checkPassed(session); err != nil {
		return nil, err
	}
	bare, err := l.startGate("ungated", "", "")
	if err != nil {
		return nil, err
	}
	list := []target{
		{name: "ungated", url: bare.url, header: session, gate: bare},
		passed,
	}
	if l.redis != "" {
		g, err := l.startGate("redis", "store redis {\n\t\t\taddress "+l.redis+"\n\t\t}", otp)
		if err != nil {
			return nil, err
		}
		shared := target{name: "gate, store redis", url: g.url, gate: g, number: "+64220000002"}
		if err := shared.signIn(l); err != nil {
			return nil, err
		}
		list = append(list, shared)
	}
	list = append(list, target{name: denied, url: gated.url, header: "Cookie: theme=dark", gate: gated})
	hash, err := l.passwordHash("bench")
	if err != nil {
		return nil, err
	}
	basic, err := l.startGate("basic_auth", "", "basic_auth {\n\t\tbench "+hash+"\n\t}")
	if err != nil {
		return nil, err
	}
	authorizer, err := l.startPart("authorizer")
	if err != nil {
		return nil, err
	}
	forward, err := l.startGate("forward_auth", "", "forward_auth "+authorizer+" {\n\t\turi /authorize\n\t}")
	if err != nil {
		return nil, err
	}
	list = append(list,
		target{
			name: "basic_auth", url: basic.url, gate: basic,
			header: "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("bench:bench")),
		},
		target{name: "forward_auth to a bare 200", url: forward.url, header: session, gate: forward})
	return append(list, l.gates...), nil
}

// signIn gives a target with a number a new session. A session of more than a minute is renewed by
// the next request, and its browser takes the new cookie. wrk takes none, so it would have every
// request renewed.
func (t *target) signIn(l *lab) error {
	if t.number == "" {
		return nil
	}
	l.phones.listen(true)
	defer l.phones.listen(false)
	cookie, err := t.login(l, t.number)
	if err != nil {
		return err
	}
	t.header = "Cookie: theme=dark; " + cookie
	return nil
}

// checkPassed checks that the application gets the number and not our cookie.
func (g *gate) checkPassed(session string) error {
	req, err := http.NewRequest(http.MethodGet, g.url+"/seen", nil)
	if err != nil {
		return err
	}
	name, value, _ := strings.Cut(session, ": ")
	req.Header.Set(name, value)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var seen http.Header
	if err := json.NewDecoder(res.Body).Decode(&seen); err != nil {
		return fmt.Errorf("a request with a session does not pass: %s", res.Status)
	}
	if seen.Get("X-Verified-Number") != "+64220000001" || seen.Get("Cookie") != "theme=dark" {
		return errors.New("the application got the wrong headers of a request that passed")
	}
	return nil
}

// ask sends requests to a target for some time.
func (t *target) ask(ctx context.Context, l *lab, duration time.Duration) (s sample, err error) {
	s.Target = t.name
	var before, after usage
	if t.gate != nil {
		if before, err = t.use(); err != nil {
			return s, err
		}
	}
	o, err := load{url: t.url, headers: []string{t.header}, threads: 2, connections: connections, duration: duration}.run(ctx)
	if err != nil {
		return s, fmt.Errorf("%s: %w", t.name, err)
	}
	if refused := o.Refused > 0; refused != (t.name == denied) || o.Unwell > 0 {
		return s, fmt.Errorf("%s: %.0f of %.0f answers were refusals, and %.0f connections failed",
			t.name, o.Refused, o.Requests, o.Unwell)
	}
	s.PerSecond, s.P50, s.P99 = o.PerSecond, o.P50, o.P99
	if t.gate != nil {
		if after, err = t.use(); err != nil {
			return s, err
		}
		s.CPU = float64((after.cpu - before.cpu).Microseconds()) / o.Requests
		s.Mallocs = (after.mallocs - before.mallocs) / o.Requests
	}
	return s, nil
}

// reportHTTP prints the table and keeps the figure.
func (l *lab) reportHTTP(targets []target, samples []sample) {
	column := func(name string, of func(sample) float64) (list []float64) {
		for _, s := range samples {
			if s.Target == name {
				list = append(list, of(s))
			}
		}
		return list
	}
	perSecond := func(s sample) float64 { return s.PerSecond }
	cpu := func(s sample) float64 { return s.CPU }
	mallocs := func(s sample) float64 { return s.Mallocs }
	t := table{head: []string{
		"gate", "requests/s", "of ungated", "p50 ms", "p99 ms", "CPU µs/request", "of ungated", "allocations/request", "budget",
	}}
	l.figure = &figure{title: "Requests per second, of those of an ungated proxy"}
	bare, bareCPU := column("ungated", perSecond), column("ungated", cpu)
	for _, target := range targets {
		rate := median(ratios(column(target.name, perSecond), bare))
		cost := median(ratios(column(target.name, cpu), bareCPU))
		more := median(column(target.name, mallocs)) - median(column("ungated", mallocs))
		cells := []string{target.name, figures(median(column(target.name, perSecond))), figures(rate),
			figures(median(column(target.name, func(s sample) float64 { return s.P50 }))),
			figures(median(column(target.name, func(s sample) float64 { return s.P99 })))}
		if target.gate == nil {
			cells = append(cells, "–", "–", "–", "")
		} else {
			cells = append(cells, figures(median(column(target.name, cpu))), figures(cost),
				figures(median(column(target.name, mallocs))), "")
		}
		switch target.name {
		case "gate, store memory", "gate, store redis":
			cells[len(cells)-1] = "requests " + atLeast(rate, 0.97) + "; CPU " + atMost(cost, 1.03) + "; more allocations " + atMost(more, 10)
		case denied:
			passed := median(ratios(column(denied, cpu), column("gate, store memory", cpu)))
			cells[len(cells)-1] = "CPU of a passed one " + atMost(passed, 1)
		}
		t.add(cells...)
		if target.name != denied {
			l.figure.bars = append(l.figure.bars, bar{target.name, rate})
		}
	}
	fmt.Printf("Requests: %d connections, %d rounds of %s, medians; the ratios are medians of each round's.\n\n%s\n",
		connections, l.rounds, l.duration, &t)
}
