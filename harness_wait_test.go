package websms

import (
	"crypto/tls"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// awaitCertificate waits until Caddy has the certificate of a host, which it
// makes behind the load of a configuration.
func (w *world) awaitCertificate(host string) {
	w.t.Helper()
	eventually(w.t, "Caddy has a certificate for "+host, func() bool {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(w.url, "https://"), &tls.Config{InsecureSkipVerify: true, ServerName: host})
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// awaitReload waits, behind a load, until the server before it is gone.
func (w *world) awaitReload() {
	w.t.Helper()
	eventually(w.t, "the server before this one is gone", func() bool { return w.listeners() <= 1 })
}

// listeners returns how many sockets listen at the world's port, where the
// system tells. Caddy closes the old server's behind the load of a
// configuration, and the kernel resets the connections that wait in its queue.
func (w *world) listeners() int {
	const listening = "0A" // the state, in proc_pid_net(5)
	_, port, _ := strings.Cut(w.url, "://localhost:")
	number, err := strconv.Atoi(port)
	if err != nil {
		w.t.Fatal(err)
	}
	count := 0
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		table, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(table)) {
			fields := strings.Fields(line)
			if len(fields) > 3 && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", number)) && fields[3] == listening {
				count++
			}
		}
	}
	return count
}
