package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// listSample holds the figures of one load of a configuration with a long list.
type listSample struct {
	List          string
	Lines         int
	Start, Reload float64 // seconds
	Heap          float64 // bytes for each line, after the load
}

// loadBudget is the longest start with an allow_file of a million lines, in seconds.
const loadBudget = 3

// measureLoad starts and reloads Caddy with lists of growing length.
func measureLoad(ctx context.Context, l *lab) error {
	lines := []int{1_000, 10_000, 100_000, 1_000_000}
	if l.quick {
		lines = lines[:3]
	}
	empty, err := l.startGate("lists-none", "store memory", "websms_otp {\n\t\tcompany Bench\n\t}")
	if err != nil {
		return err
	}
	base, err := empty.collected()
	if err != nil {
		return err
	}
	empty.Kill()
	t := table{head: []string{"list", "lines", "start s", "reload s", "bytes a line", "budget"}}
	var samples []listSample
	for _, list := range []struct{ name, line, options string }{
		{"allow_file", "%[2]s\n", "numbers {\n\t\t\tallow_file %s\n\t\t}"},
		{"directory", "user%[1]d,%[2]s\n", "second_factor {\n\t\t\tdirectory %s\n\t\t}"},
	} {
		for _, n := range lines {
			fmt.Fprintf(os.Stderr, "%s of %d lines\n", list.name, n)
			s, err := l.loadList(ctx, list.name, list.line, list.options, n, base)
			if err != nil {
				return err
			}
			samples = append(samples, s)
			budget := ""
			if s.List == "allow_file" && s.Lines == 1_000_000 {
				budget = "start " + atMost(s.Start, loadBudget)
			}
			t.add(s.List, figures(float64(s.Lines)), figures(s.Start), figures(s.Reload), figures(s.Heap), budget)
		}
	}
	if err := l.keep("load", samples); err != nil {
		return err
	}
	fmt.Printf("Start and reload, one run each:\n\n%s\n", &t)
	return nil
}

func (l *lab) loadList(ctx context.Context, name, line, options string, n int, base float64) (listSample, error) {
	s := listSample{List: name, Lines: n}
	file := filepath.Join(l.dir, fmt.Sprintf("%s-%d", name, n))
	if err := writeLines(file, line, n); err != nil {
		return s, err
	}
	began := time.Now()
	directive := "websms_otp {\n\t\tcompany Bench\n\t\t" + fmt.Sprintf(options, file) + "\n\t}"
	g, err := l.startGate(fmt.Sprintf("%s-%d", name, n), "store memory", directive)
	if err != nil {
		return s, err
	}
	defer g.Kill()
	s.Start = time.Since(began).Seconds()
	heap, err := g.collected()
	if err != nil {
		return s, err
	}
	s.Heap = (heap - base) / float64(n)
	text, err := os.Open(g.file)
	if err != nil {
		return s, err
	}
	defer text.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.admin+"/load", text)
	if err != nil {
		return s, err
	}
	req.Header.Set("Content-Type", "text/caddyfile")
	req.Header.Set("Cache-Control", "must-revalidate") // loads an unchanged configuration too
	began = time.Now()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return s, fmt.Errorf("reloading answers %s", res.Status)
	}
	s.Reload = time.Since(began).Seconds()
	return s, nil
}

func writeLines(file, line string, n int) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	for i := range n {
		if line[0] == '%' {
			_, err = fmt.Fprintln(w, number(i))
		} else {
			_, err = fmt.Fprintf(w, line, i, number(i))
		}
		if err != nil {
			f.Close()
			return err
		}
	}
	if err := w.Flush(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
