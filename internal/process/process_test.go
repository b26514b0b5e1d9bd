package process_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/process"
)

// The tests run this test binary. An environment variable selects the program that it plays.
func TestMain(m *testing.M) {
	switch os.Getenv("WEBSMS_TEST_PROCESS") {
	case "echo":
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			fmt.Println("heard", lines.Text())
		}
		os.Exit(3)
	case "parent":
		child := program("echo")
		child.Stdin = os.Stdin
		p, err := process.Start(child)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(p.Pid())
		select {}
	default:
		os.Exit(m.Run())
	}
}

func program(part string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "WEBSMS_TEST_PROCESS="+part)
	return cmd
}

func start(t *testing.T, part string) (*process.Process, io.WriteCloser) {
	t.Helper()
	cmd := program(part)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p, err := process.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p, in
}

func awaitLog(t *testing.T, p *process.Process, words string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(p.Log(), words); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never wrote %q, only %q", words, p.Log())
		}
	}
}

func TestEnds(t *testing.T) {
	t.Parallel()
	p, in := start(t, "echo")
	fmt.Fprintln(in, "hello")
	awaitLog(t, p, "heard hello\n")
	select {
	case <-p.Done():
		t.Fatal("it is said to have ended, and has not")
	default:
	}
	in.Close()
	if err := p.Err(); err == nil || err.Error() != "exit status 3" {
		t.Errorf("it ended with %v, want exit status 3", err)
	}
	if err := p.Pause(); err == nil {
		t.Error("a program that has ended can be paused")
	}
	p.Kill() // does no harm
	if err := p.Interrupt(time.Second); err == nil || !strings.Contains(err.Error(), "heard hello") {
		t.Errorf("the error is %v, want what it ended with and its log", err)
	}
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	p, in := start(t, "echo")
	fmt.Fprintln(in, "before")
	awaitLog(t, p, "heard before\n")
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(in, "meanwhile")
	time.Sleep(50 * time.Millisecond) // no condition to wait for: the program must not answer
	if strings.Contains(p.Log(), "meanwhile") {
		t.Error("a paused program goes on")
	}
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	awaitLog(t, p, "heard meanwhile\n")
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	p.Kill() // works while the program is paused
	if err := p.Err(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("it ended with %v, want that it was killed", err)
	}
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	if _, err := process.Start(exec.Command("/nowhere/at/all")); err == nil {
		t.Error("a program that is not there can be started")
	}
}

func TestFreePort(t *testing.T) {
	t.Parallel()
	seen := make(map[int]bool)
	taken := 0 // ports taken by other programs, such as tests of other packages
	for range 20 {
		port, err := process.FreePort(10000)
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] {
			t.Errorf("port %d is given twice", port)
		}
		seen[port] = true
		for _, p := range []int{port, port + 10000} {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
			if err != nil {
				if taken++; taken > 2 {
					t.Errorf("the port is not free: %v", err)
				}
				continue
			}
			l.Close()
		}
	}
}
