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
		conn, err := tls.Dial("tcp", "localhost:"+w.port(), &tls.Config{InsecureSkipVerify: true, ServerName: host})
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

// port returns the port of the site.
func (w *World) port() string { return w.URL[strings.LastIndexByte(w.URL, ':')+1:] }

// listeners returns how many sockets listen at the world's port, where the
// system tells. Caddy closes the old server's behind the load of a
// configuration, and the kernel resets the connections that wait in its queue.
func (w *World) listeners() int {
	number, err := strconv.Atoi(w.port())
	if err != nil {
		w.T.Fatal(err)
	}
	return listening(number)
}
