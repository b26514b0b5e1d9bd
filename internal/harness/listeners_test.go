//go:build linux

package harness

import (
	"context"
	"net"
	"syscall"
	"testing"
)

// Both ways count the same sockets: of each family, and two at one port.
func TestListening(t *testing.T) {
	reuse := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		const reusePort = 0xf // SO_REUSEPORT
		_ = c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, reusePort, 1) })
		return err
	}}
	want := func(port, n int) {
		t.Helper()
		if got, slow := listening(port), listed(port); got != n || slow != n {
			t.Errorf("%d sockets listen, by the table of connections %d; want %d", got, slow, n)
		}
		for _, family := range []byte{syscall.AF_INET, syscall.AF_INET6} {
			if _, err := diagnosed(family, port); err != nil {
				t.Skipf("the kernel does not answer sock_diag: %v", err)
			}
		}
	}
	for _, network := range []string{"tcp4", "tcp6"} {
		one, err := reuse.Listen(context.Background(), network, "localhost:0")
		if err != nil {
			t.Logf("no %s: %v", network, err)
			continue
		}
		port := one.Addr().(*net.TCPAddr).Port
		want(port, 1)
		client, err := net.Dial(network, one.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		want(port, 1)
		two, err := reuse.Listen(context.Background(), network, one.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		want(port, 2)
		client.Close()
		two.Close()
		want(port, 1)
		one.Close()
		want(port, 0)
	}
}
