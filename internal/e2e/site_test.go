package e2e_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/process"
)

// stopTime is the longest time from the signal to the end of the process.
const stopTime = 10 * time.Second

// A site is a Caddy process that runs a demo.
type site struct {
	app   string // URL of the gated legacy app
	inbox string // URL of the simulator's inbox
	admin string // address of Caddy's admin endpoint
	file  string // path of its Caddyfile
	*process.Process
}

// startSite runs the Caddyfile of a demo and waits until both of its sites answer. Free ports
// replace the ports of the Caddyfile. Caddy keeps its data in dir.
func startSite(caddyfile, dir string) (*site, error) {
	var ports, oldNew []string
	for _, own := range []string{"localhost:8080", "localhost:8025", "localhost:2019"} {
		if !strings.Contains(caddyfile, own) {
			return nil, fmt.Errorf("the Caddyfile has no %s", own)
		}
		port, err := process.FreePort()
		if err != nil {
			return nil, err
		}
		ports = append(ports, strconv.Itoa(port))
		oldNew = append(oldNew, own, "localhost:"+strconv.Itoa(port))
	}
	// Replace all ports in one pass, because a free port may begin with one of the replaced ports.
	caddyfile = strings.NewReplacer(oldNew...).Replace(caddyfile)
	s := &site{
		app: "http://localhost:" + ports[0], inbox: "http://localhost:" + ports[1],
		admin: "localhost:" + ports[2], file: filepath.Join(dir, "Caddyfile"),
	}
	program, err := process.SharedCaddy(root)
	if err != nil {
		return nil, err
	}
	s.Process, err = process.Caddy{
		Program: program, Caddyfile: caddyfile, Dir: dir, Work: root,
		URLs: []string{s.app + "/.websms/login", s.inbox},
	}.Run()
	return s, err
}

// stop ends the process as Ctrl-C does. The test fails if the process has to be killed.
func (s *site) stop() error { return s.Interrupt(stopTime) }

// demo returns the unchanged demo. All tests share it, so each test uses a number of its own. A
// test that chooses the delivery result runs a demo of its own.
func demo(t *testing.T) *site {
	t.Helper()
	needChromium(t)
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ownDemo runs a demo for one test, with some texts of its Caddyfile replaced.
func ownDemo(t *testing.T, oldNew ...string) *site {
	t.Helper()
	needChromium(t)
	text, err := demoCaddyfile()
	if err != nil {
		t.Fatal(err)
	}
	for pair := range slices.Chunk(oldNew, 2) {
		if strings.Count(text, pair[0]) != 1 {
			t.Fatalf("the demo's Caddyfile does not have %q once", pair[0])
		}
		text = strings.Replace(text, pair[0], pair[1], 1)
	}
	s, err := startSite(text, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}
