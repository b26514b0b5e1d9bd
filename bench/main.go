// Command bench measures the cost of the gate. It compares the gate with an ungated
// proxy and with other gates, prints tables and draws a figure.
//
//	go run ./bench                         everything, in some fifteen minutes
//	go run ./bench -quick                  a first look, in two minutes
//	go run ./bench -only http name=http://localhost:9000/
//
// It needs wrk, and redis-server for the rows of store redis. Everything runs on
// loopback addresses of this machine, and ends with the command.
//
// You can add a gate of your own as name=URL. Give the header that lets a request pass
// it, such as -header "Cookie: session=…".
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

// options holds the options of the command line.
type options struct {
	rounds   int
	duration time.Duration
	out      string // the folder for the raw samples
	svg      string // the file for the figure, or ""
	only     []string
	quick    bool
	header   string   // lets a request pass the gates of the command line
	gates    []target // the gates of the command line
}

// sections holds the measurements, in order.
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
	flags.IntVar(&o.rounds, "rounds", 9, "number of rounds; a round asks every gate once")
	flags.DurationVar(&o.duration, "duration", 4*time.Second, "time for each gate in a round")
	flags.StringVar(&o.out, "out", filepath.Join(os.TempDir(), "websms-bench"), "folder for the raw samples")
	flags.StringVar(&o.svg, "svg", "", "file to draw the figure to")
	flags.BoolVar(&o.quick, "quick", false, "three rounds of one second, and no measurement of a million")
	flags.StringVar(&o.header, "header", "", `header that lets a request pass your own gates, such as "Cookie: session=…"`)
	only := flags.String("only", "", "sections to measure, separated by commas: http, work, micro, load (default all)")
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
		return nil, fmt.Errorf("-only %s names an unknown section: write http, work, micro or load", *only)
	}
	for _, arg := range flags.Args() {
		name, url, ok := strings.Cut(arg, "=")
		if !ok || name == "" || !strings.HasPrefix(url, "http") {
			return nil, fmt.Errorf("%q is not name=URL: write it like mine=http://localhost:9000/", arg)
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
