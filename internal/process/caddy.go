package process

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"time"
)

const (
	buildTime = 5 * time.Minute  // with an empty build cache
	readyTime = 20 * time.Second // from the start of Caddy to its first answer
)

// BuildCaddy builds cmd/caddy of the repository at root, with the flags that
// the test itself was built with, and with more. So under go test -race it finds
// races too. Packages whose Caddy is the same link it once: go run keeps it in
// the build cache, where go build would link it each time, and cp takes it from
// there.
func BuildCaddy(root, to string, more ...string) error {
	args := append([]string{"run", "-exec", "cp"}, more...)
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "-race", "-trimpath", "-tags":
				args = append(args, s.Key+"="+s.Value)
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), buildTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/caddy", to)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building ./cmd/caddy: %w\n%s", err, out)
	}
	return nil
}

// Caddy is how to run a Caddy.
type Caddy struct {
	Program   string   // path
	Caddyfile string   // its text
	Dir       string   // where Caddy's data goes; made if it is not there
	Work      string   // the folder to run it in
	Env       []string // more of the environment, as NAME=value
	// URLs must answer before it counts as started: with 200, with 401 where a
	// first factor is in front, or with 503 where Redis is awaited.
	URLs []string
}

// Run starts Caddy and waits until it answers.
func (c Caddy) Run() (*Process, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(c.Dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(c.Caddyfile), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(c.Program, "run", "--adapter", "caddyfile", "--config", file)
	cmd.Dir = c.Work
	cmd.Env = append(append(os.Environ(), "HOME="+c.Dir, "XDG_DATA_HOME="+c.Dir, "XDG_CONFIG_HOME="+c.Dir), c.Env...)
	p, err := Start(cmd)
	if err != nil {
		return nil, err
	}
	if err := c.await(p); err != nil {
		p.Kill()
		return nil, fmt.Errorf("%w; its log:\n%s", err, p.Log())
	}
	return p, nil
}

func (c Caddy) await(p *Process) error {
	ctx, cancel := context.WithTimeout(context.Background(), readyTime)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var all []error
		for _, url := range c.URLs {
			all = append(all, answers(ctx, url))
		}
		err := errors.Join(all...)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.Done():
			return fmt.Errorf("the Caddy ended (%v) before it answered", p.Err())
		case <-ctx.Done():
			return fmt.Errorf("the Caddy does not answer: %w", err)
		}
	}
}

func answers(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK, http.StatusUnauthorized, http.StatusServiceUnavailable:
		return nil
	}
	return fmt.Errorf("%s answered %d", url, resp.StatusCode)
}
