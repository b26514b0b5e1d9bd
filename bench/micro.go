package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// benchmarks lists the Go benchmarks of the project that have a budget, or that support
// a claim about growth.
var benchmarks = []struct{ folder, names string }{
	{"./session", "^BenchmarkOpen$/^keys=1$"},
	{".", "^(BenchmarkPass|BenchmarkDeny)$"},
	{"./memorystore", "^(BenchmarkChallengeSize|BenchmarkCounterSize)$"},
}

// budgets holds the limits for the results of the benchmarks.
var budgets = []struct {
	benchmark, unit string
	bar             float64
}{
	{"BenchmarkOpen/keys=1", "ns/op", 300},
	{"BenchmarkOpen/keys=1", "allocs/op", 1},
	{"BenchmarkPass", "ns/op", 1500},
	{"BenchmarkPass", "allocs/op", 5},
	{"BenchmarkChallengeSize/100000", "B/challenge", 512},
	{"BenchmarkCounterSize/1000000", "B/counter", 128},
}

// microSample is one run of a benchmark.
type microSample struct {
	Benchmark string
	Values    map[string]float64 // by unit
}

// measureMicro runs the benchmarks several times, in turn.
func measureMicro(ctx context.Context, l *lab) error {
	rounds := 5
	if l.quick {
		rounds = 1
	}
	var samples []microSample
	for round := range rounds {
		fmt.Fprintf(os.Stderr, "benchmarks, round %d of %d\n", round+1, rounds)
		for _, b := range benchmarks {
			args := []string{"test", "-run", "^$", "-bench", b.names, "-benchmem"}
			if strings.Contains(b.names, "Size") { // one run makes a million records
				args = append(args, "-benchtime", "1x")
				if l.quick {
					args[4] = "^(BenchmarkChallengeSize|BenchmarkCounterSize)$/^(1000|10000|100000)$"
				}
			}
			root, err := moduleRoot()
			if err != nil {
				return err
			}
			cmd := exec.CommandContext(ctx, "go", append(args, b.folder)...)
			cmd.Dir = root
			out, err := cmd.CombinedOutput()
			if err != nil {
				return fmt.Errorf("go %s: %w\n%s", strings.Join(cmd.Args[1:], " "), err, out)
			}
			samples = append(samples, readBenchmarks(string(out))...)
		}
	}
	if err := l.keep("micro", samples); err != nil {
		return err
	}
	reportMicro(samples)
	return nil
}

var benchmarkLine = regexp.MustCompile(`^(Benchmark\S*?)(?:-\d+)?\s+\d+\s+(.*)$`)

// readBenchmarks reads the output of go test.
func readBenchmarks(text string) (samples []microSample) {
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		m := benchmarkLine.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		s := microSample{m[1], map[string]float64{}}
		fields := strings.Fields(m[2])
		for i := 0; i+1 < len(fields); i += 2 {
			if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
				s.Values[fields[i+1]] = v
			}
		}
		samples = append(samples, s)
	}
	return samples
}

func reportMicro(samples []microSample) {
	of := func(benchmark, unit string) (list []float64) {
		for _, s := range samples {
			if v, ok := s.Values[unit]; ok && s.Benchmark == benchmark {
				list = append(list, v)
			}
		}
		return list
	}
	t := table{head: []string{"benchmark", "median", "budget"}}
	for _, b := range budgets {
		if v := median(of(b.benchmark, b.unit)); v == v { // NaN if the benchmark was not run
			t.add("`"+b.benchmark+"`, "+b.unit, figures(v), atMost(v, b.bar))
		}
	}
	fmt.Printf("Parts:\n\n%s\n", &t)
	grows := table{head: []string{"as it grows", "1,000", "10,000", "100,000", "1,000,000"}}
	for _, g := range []struct{ what, benchmark, unit string }{
		{"live challenges: bytes each", "BenchmarkChallengeSize", "B/challenge"},
		{"live challenges: ns to make one", "BenchmarkChallengeSize", "ns/challenge"},
		{"counters: bytes each", "BenchmarkCounterSize", "B/counter"},
		{"counters: ns to count a first sending", "BenchmarkCounterSize", "ns/counter"},
	} {
		cells := []string{g.what}
		for _, n := range []string{"1000", "10000", "100000", "1000000"} {
			cells = append(cells, figures(median(of(g.benchmark+"/"+n, g.unit))))
		}
		grows.add(cells...)
	}
	fmt.Printf("%s\n", &grows)
}
