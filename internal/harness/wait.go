package harness

import (
	"crypto/tls"
	"strconv"
	"strings"
)

// awaitCertificate waits until Caddy has the certificate of a host, which it
// makes behind the load of a configuration.
func (w *World) awaitCertificate(host string) {
	w.T.Helper()
	Eventually(w.T, "Caddy has a certificate for "+host, func() bool {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(w.URL, "https://"), &tls.Config{InsecureSkipVerify: true, ServerName: host})
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// AwaitReload waits, behind a load, until the server before it is gone. From then on
// the browsers ask by new connections.
func (w *World) AwaitReload() {
	w.T.Helper()
	Eventually(w.T, "the server before this one is gone", func() bool { return w.listeners() <= 1 })
	w.transports.closeIdle()
}

// listeners returns how many sockets listen at the world's port, where the
// system tells. Caddy closes the old server's behind the load of a
// configuration, and the kernel resets the connections that wait in its queue.
func (w *World) listeners() int {
	_, port, _ := strings.Cut(w.URL, "://localhost:")
	number, err := strconv.Atoi(port)
	if err != nil {
		w.T.Fatal(err)
	}
	return listening(number)
}
