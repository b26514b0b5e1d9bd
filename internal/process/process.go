// Package process runs the programs that tests need, such as a Caddy or a Redis. It keeps their
// output, reports when they end, and leaves none of them running. It is for tests alone.
package process

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"
)

// A Process is a program that was started. It is safe for concurrent use.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the program has ended
	err  error         // result of the program, valid once done is closed
	log  logBuffer
}

// Start starts cmd and keeps its output in place of cmd's Stdout and Stderr. On Linux the program
// ends with the process that started it, even if that process is killed. This matters because go
// test kills a test that takes too long, and then no cleanup runs.
func Start(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Pid returns the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Log returns the output of the program so far.
func (p *Process) Log() string { return p.log.String() }

// Done returns a channel that is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err returns the result of the program. Call it after Done is closed.
func (p *Process) Err() error {
	<-p.done
	return p.err
}

// Kill ends the program at once, as kill -9 does, and waits for its end. The program may be paused
// or may have ended before.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// Interrupt ends the program as Ctrl-C does. It returns an error if the program ends with one. If
// the program does not end within the grace period, Interrupt kills it and returns an error.
func (p *Process) Interrupt(grace time.Duration) error {
	_ = p.cmd.Process.Signal(os.Interrupt) // it may have ended
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("%s ended with %w; it wrote:\n%s", p.cmd.Path, p.err, p.Log())
		}
		return nil
	case <-time.After(grace):
		p.Kill()
		return fmt.Errorf("%s did not stop within %v of SIGINT; it wrote:\n%s", p.cmd.Path, grace, p.Log())
	}
}

// Pause stops the program without ending it: its sockets stay open, but it does not answer. Pause
// needs a Unix shell.
func (p *Process) Pause() error { return p.signal("STOP") }

// Resume lets a paused program go on.
func (p *Process) Resume() error { return p.signal("CONT") }

// signal sends a signal for which package os has no portable name.
func (p *Process) signal(name string) error {
	select {
	case <-p.done:
		return fmt.Errorf("%s has ended; it cannot get SIG%s", p.cmd.Path, name)
	default:
	}
	if out, err := exec.Command("sh", "-c", "kill -"+name+" "+strconv.Itoa(p.Pid())).CombinedOutput(); err != nil {
		return fmt.Errorf("sending SIG%s to %s: %w: %s", name, p.cmd.Path, err, out)
	}
	return nil
}

// logBuffer holds the output of a process so far.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
