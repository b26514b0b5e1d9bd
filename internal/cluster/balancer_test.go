package cluster_test

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// pinHeader has the balancer give a request to one node, and take no other.
const pinHeader = "Test-Node"

// balancer gives each request to the other of two nodes, and passes over one
// that refuses the connection.
type balancer struct {
	url   string
	nodes [2]*node

	turn     atomic.Int64
	pinned   atomic.Int64    // 1 + the node that gets all requests; 0: none
	served   [2]atomic.Int64 // requests
	streamed atomic.Int64    // 1 + the node that the latest event stream is of; 0: there was none
	again    atomic.Int64    // requests that were sent again, see patient
	// patient sends a request again where its connection was closed before
	// there was an answer. That is Caddy's own doing at a reload: what waits
	// in the queue of the old server's socket when it is closed was read by
	// nobody.
	patient atomic.Bool
}

func newBalancer(t *testing.T, nodes [2]*node) *balancer {
	b := &balancer{nodes: nodes}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme = "http"
			r.Out.URL.Host = r.In.Host
			r.Out.Host = r.In.Host // which sessions are bound to
			r.SetXForwarded()
		},
		FlushInterval: -1, // event streams
		// No connection is kept: a node that was killed is refused at once.
		Transport: &route{b, &http.Transport{DisableKeepAlives: true}},
		ErrorLog:  log.New(io.Discard, "", 0),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.WriteHeader(http.StatusBadGateway)
		},
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections) // first: streams do not end by themselves
	b.url = server.URL
	return b
}

// pin gives all requests to one node, until unpin.
func (b *balancer) pin(node int) { b.pinned.Store(int64(node) + 1) }
func (b *balancer) unpin()       { b.pinned.Store(0) }

// route is the way from the balancer to the nodes.
type route struct {
	*balancer
	transport *http.Transport
}

func (r *route) RoundTrip(req *http.Request) (*http.Response, error) {
	order := r.order(req)
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
	}
	for try := 0; ; try++ {
		n := order[try%len(order)]
		once := req.Clone(req.Context())
		once.Header.Del(pinHeader)
		once.URL.Host = r.nodes[n].addr
		once.Body = io.NopCloser(bytes.NewReader(body))
		res, err := r.transport.RoundTrip(once)
		if err == nil {
			r.served[n].Add(1)
			if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
				r.streamed.Store(int64(n) + 1)
			}
			return res, nil
		}
		refused := errors.Is(err, syscall.ECONNREFUSED) && try+1 < len(order)
		closed := r.patient.Load() && try < 5 && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE))
		if !refused && !closed {
			return nil, err
		}
		if closed {
			r.again.Add(1)
		}
	}
}

// order returns which nodes to try, the first first.
func (r *route) order(req *http.Request) []int {
	if n, err := strconv.Atoi(req.Header.Get(pinHeader)); err == nil {
		return []int{n}
	}
	if n := r.pinned.Load(); n > 0 {
		return []int{int(n) - 1}
	}
	first := int(r.turn.Add(1) % 2)
	return []int{first, 1 - first}
}

func mustParse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
