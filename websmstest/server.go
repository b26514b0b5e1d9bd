package websmstest

import (
	"net"
	"net/http"
	"time"
)

// TB is the part of testing.TB that [NewServer] needs.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Server is a [Simulator] on a loopback port.
type Server struct {
	*Simulator

	// URL is the base URL of the API. It includes Options.BasePath and has no
	// trailing slash.
	URL string

	// InboxURL is the address of the inbox page.
	InboxURL string
}

// NewServer runs a new simulator on a free loopback port until tb ends. If no port is
// free, it fails tb.
func NewServer(tb TB, o Options) *Server {
	tb.Helper()
	if o.RetryPause == 0 {
		o.RetryPause = 10 * time.Millisecond
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("websmstest: listening on a loopback port: %v", err)
	}
	sim := New(o)
	server := &http.Server{Handler: sim, ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // always fails, with ErrServerClosed after Close
	}()
	tb.Cleanup(func() {
		sim.Close()
		_ = server.Close() // the test is over, so nobody needs the error
		<-served
	})
	origin := "http://" + listener.Addr().String()
	return &Server{Simulator: sim, URL: origin + sim.opts.BasePath, InboxURL: origin + "/"}
}
