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

// BuildCaddy builds cmd/caddy of the repository at root. It uses the build flags of the test and
// the flags in more. So under go test -race, the Caddy also finds races.
//
// Packages that need the same Caddy link it only once: go run keeps the program in the build cache,
// and cp copies it from there. With go build, each package would link it again.
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

// Caddy describes how to run a Caddy.
type Caddy struct {
	Program   string   // path of the program
	Caddyfile string   // text of the Caddyfile
	Dir       string   // folder of Caddy's data; made if it does not exist
	Work      string   // working directory
	Env       []string // additions to the environment, as NAME=value
	// URLs are requested to find out when Caddy has started. Each must answer 200, or 401 behind a
	// first factor, or 503 if the gate waits for Redis.
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
