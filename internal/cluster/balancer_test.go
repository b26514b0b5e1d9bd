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

// pinHeader makes the balancer send a request to one node only.
const pinHeader = "Test-Node"

// balancer alternates between two nodes. If a node refuses the connection, the request goes to the
// other node.
type balancer struct {
	url   string
	nodes [2]*node

	turn     atomic.Int64
	pinned   atomic.Int64    // 1 + the node that gets all requests; 0: none
	served   [2]atomic.Int64 // requests of each node
	streamed atomic.Int64    // 1 + the node of the latest event stream; 0: there was none
	again    atomic.Int64    // requests that were sent again, see patient
	// If patient is set, the balancer sends a request again when its connection was closed before
	// an answer. That happens at a reload of Caddy: the old server closes its socket, and no server
	// reads the requests in the queue of that socket.
	patient atomic.Bool
}

func newBalancer(t *testing.T, nodes [2]*node) *balancer {
	b := &balancer{nodes: nodes}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme = "http"
			r.Out.URL.Host = r.In.Host
			r.Out.Host = r.In.Host // sessions are bound to the host
			r.SetXForwarded()
		},
		FlushInterval: -1, // for event streams
		// Connections are not reused, so that a killed node refuses the next one at once.
		Transport: &route{b, &http.Transport{DisableKeepAlives: true}},
		ErrorLog:  log.New(io.Discard, "", 0),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.WriteHeader(http.StatusBadGateway)
		},
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections) // runs first, because streams do not end by themselves
	b.url = server.URL
	return b
}

// pin sends all requests to one node, until unpin.
func (b *balancer) pin(node int) { b.pinned.Store(int64(node) + 1) }
func (b *balancer) unpin()       { b.pinned.Store(0) }

// route is the transport from the balancer to the nodes.
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
		closed := r.patient.Load() && try < 5 &&
			(errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE))
		if !refused && !closed {
			return nil, err
		}
		if closed {
			r.again.Add(1)
		}
	}
}

// order returns the nodes to try, in this order.
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
