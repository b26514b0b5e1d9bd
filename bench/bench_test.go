package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

const wrkSaid = `Running 4s test @ http://localhost:1
  2 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.62ms    1.31ms  22.35ms   78.30%
    Req/Sec    11.21k     1.00k   13.10k    70.00%
  Latency Distribution
     50%    1.38ms
     75%    2.10ms
     90%    3.30ms
     99%  500.00us
  89262 requests in 4.01s, 12.34MB read
  Socket errors: connect 1, read 2, write 0, timeout 3
  Non-2xx or 3xx responses: 17
Requests/sec:  22259.83
Transfer/sec:      3.08MB
`

func TestReadWrk(t *testing.T) {
	o, err := readWrk(wrkSaid)
	if err != nil {
		t.Fatal(err)
	}
	if want := (outcome{Requests: 89262, Seconds: 4.01, P50: 1.38, P99: 0.5, Refused: 17, Unwell: 6, PerSecond: 89262 / 4.01}); o != want {
		t.Errorf("read %+v, want %+v", o, want)
	}
	inSeconds := strings.Replace(wrkSaid, "99%  500.00us", "99%    1.19s ", 1)
	if slow, err := readWrk(inSeconds); err != nil || slow.P99 != 1190 {
		t.Errorf("seconds read as %v, %v", slow.P99, err)
	}
	for _, broken := range []string{"", "unable to connect to localhost:1 Connection refused",
		strings.Replace(wrkSaid, "requests in", "requests", 1), strings.Replace(wrkSaid, "99%", "98%", 1)} {
		if _, err := readWrk(broken); err == nil {
			t.Errorf("taken for an outcome: %q", broken)
		}
	}
}

func FuzzReadWrk(f *testing.F) {
	f.Add(wrkSaid)
	f.Fuzz(func(t *testing.T, text string) {
		if o, err := readWrk(text); err == nil && (o.Requests < 0 || o.P50 < 0 || o.P99 < 0) {
			t.Errorf("read %+v", o)
		}
	})
}

func TestReadBenchmarks(t *testing.T) {
	got := readBenchmarks("goos: linux\n" +
		"BenchmarkOpen/keys=1-2   \t 4628863\t       255.0 ns/op\t      16 B/op\t       1 allocs/op\n" +
		"BenchmarkPass 	1	1400 ns/op\nPASS\n")
	if len(got) != 2 || got[0].Benchmark != "BenchmarkOpen/keys=1" || got[1].Benchmark != "BenchmarkPass" ||
		got[0].Values["ns/op"] != 255 || got[0].Values["allocs/op"] != 1 {
		t.Errorf("read %+v", got)
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		samples []float64
		want    float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		before := slices.Clone(c.samples)
		if got := median(c.samples); got != c.want || !slices.Equal(before, c.samples) {
			t.Errorf("of %v: %v, want %v", before, got, c.want)
		}
	}
	if !math.IsNaN(median(nil)) {
		t.Error("nothing has a median")
	}
	if got := ratios([]float64{1, 4, 9}, []float64{2, 2}); !slices.Equal(got, []float64{0.5, 2}) {
		t.Errorf("ratios %v", got)
	}
}

func TestFigures(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.974: "0.97", 12.34: "12.3", 100.4: "100", 1234.5: "1,234",
		1234567: "1,234,567", -1234: "-1,234", math.NaN(): "–"} {
		if got := figures(v); got != want {
			t.Errorf("%v is written %q, want %q", v, got, want)
		}
	}
	if atLeast(0.98, 0.97) != "≥ 0.97, met" || atMost(2, 1) != "≤ 1, **missed**" {
		t.Errorf("%q, %q", atLeast(0.98, 0.97), atMost(2, 1))
	}
}

func TestFigureIsWellFormed(t *testing.T) {
	f := figure{title: `<a> & "b"`, bars: []bar{{"gate, store memory", 0.98}, {"a & b < c", 1.2}, {"none", 0}}}
	d := xml.NewDecoder(strings.NewReader(f.svg()))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestOptions(t *testing.T) {
	o, err := readOptions([]string{"-quick", "-only", "http,work", "-header", "Cookie: a=b", "other=http://localhost:1/"})
	if err != nil || o.rounds != 3 || o.duration != time.Second || !slices.Equal(o.only, []string{"http", "work"}) ||
		len(o.gates) != 1 || o.gates[0].header != "Cookie: a=b" {
		t.Errorf("%+v, %v", o, err)
	}
	for _, args := range [][]string{{"-only", "htp"}, {"-rounds", "0"}, {"-duration", "10ms"}, {"other"}, {"other=ftp://x"}} {
		if _, err := readOptions(args); err == nil {
			t.Errorf("taken: %v", args)
		}
	}
}
