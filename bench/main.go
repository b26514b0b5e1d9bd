// Command bench measures what the gate costs, beside an ungated proxy and
// beside other gates, and draws it.
//
//	go run ./bench                         all of it, some fifteen minutes
//	go run ./bench -quick                  a look, in two
//	go run ./bench -only http name=http://localhost:9000/
//
// It needs wrk, and redis-server for the rows of store redis. Everything runs
// on this machine, on loopback addresses, and ends with the command.
//
// A gate of one's own is named with its URL, and asked with the header that
// lets it pass: -header "Cookie: session=…".
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are what the command line says.
type options struct {
	rounds   int
	duration time.Duration
	out      string // folder of the raw samples
	svg      string // file of the figure; "": none
	only     []string
	quick    bool
	header   string   // that passes the named gates
	gates    []target // named on the command line
}

// sections are what can be measured, in order.
var sections = []struct {
	name string
	run  func(context.Context, *lab) error
}{
	{"http", measureHTTP}, {"work", measureWork}, {"micro", measureMicro}, {"load", measureLoad},
}

func main() {
	if part := os.Getenv(partEnv); part != "" {
		if err := playPart(part); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := readOptions(os.Args[1:])
	if err == nil {
		err = run(ctx, o)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func readOptions(args []string) (*options, error) {
	o := new(options)
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&o.rounds, "rounds", 9, "rounds, of which each asks every gate once, in turn")
	flags.DurationVar(&o.duration, "duration", 4*time.Second, "how long a gate is asked in a round")
	flags.StringVar(&o.out, "out", filepath.Join(os.TempDir(), "websms-bench"), "folder for the raw samples")
	flags.StringVar(&o.svg, "svg", "", "file to draw the figure to")
	flags.BoolVar(&o.quick, "quick", false, "three rounds of a second, and nothing of a million")
	flags.StringVar(&o.header, "header", "", `header that passes the gates that are named, such as "Cookie: session=…"`)
	only := flags.String("only", "", "sections to measure, with commas: http, work, micro, load; all if it is empty")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if o.quick {
		o.rounds, o.duration = 3, time.Second
	}
	if o.rounds < 1 || o.duration < time.Second {
		return nil, errors.New("give at least one round, of at least 1s: wrk counts whole seconds")
	}
	for _, s := range sections {
		if *only == "" || slices.Contains(strings.Split(*only, ","), s.name) {
			o.only = append(o.only, s.name)
		}
	}
	if *only != "" && len(o.only) != len(strings.Split(*only, ",")) {
		return nil, fmt.Errorf("-only %s names a section that there is not: http, work, micro, load", *only)
	}
	for _, arg := range flags.Args() {
		name, url, ok := strings.Cut(arg, "=")
		if !ok || name == "" || !strings.HasPrefix(url, "http") {
			return nil, fmt.Errorf("%q is no name=URL", arg)
		}
		o.gates = append(o.gates, target{name: name, url: url, header: o.header})
	}
	return o, nil
}

func run(ctx context.Context, o *options) (err error) {
	l, err := newLab(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	for _, s := range sections {
		if !slices.Contains(o.only, s.name) {
			continue
		}
		if err := s.run(ctx, l); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if o.svg != "" && l.figure != nil {
		if err := os.WriteFile(o.svg, []byte(l.figure.svg()), 0o644); err != nil {
			return err
		}
	}
	fmt.Fprintf(os.Stderr, "The raw samples are in %s.\n", o.out)
	return nil
}
