package connexus_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/caddy-websms/websms/connexus"
)

// wire is a server that a test controls below HTTP. The function handle gets each
// request, and returns false to hang up.
type wire struct {
	url    string
	mu     sync.Mutex
	conns  int
	bodies []string      // of each request that arrived whole
	hungUp chan struct{} // for each connection that the client closed
}

func newWire(t *testing.T, handle func(conn *net.TCPConn, nth int, r *http.Request) bool) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{url: "http://" + l.Addr().String(), hungUp: make(chan struct{}, 1000)}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			w.mu.Lock()
			w.conns++
			w.mu.Unlock()
			serving.Go(func() { w.serve(conn.(*net.TCPConn), handle) })
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return w
}

func (w *wire) serve(conn *net.TCPConn, handle func(*net.TCPConn, int, *http.Request) bool) {
	defer conn.Close()
	for in := bufio.NewReader(conn); ; {
		r, err := http.ReadRequest(in)
		if err != nil {
			w.hungUp <- struct{}{}
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.mu.Lock()
		w.bodies = append(w.bodies, string(body))
		nth := len(w.bodies)
		w.mu.Unlock()
		if !handle(conn, nth, r) {
			return
		}
	}
}

func (w *wire) client(t *testing.T) *connexus.Client {
	t.Helper()
	return newClient(t, hasToken, func(c *connexus.Config) { c.BaseURL = w.url })
}

const taken = "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" + `{"status":"success"}`

// reset makes the close of conn send a TCP reset.
func reset(conn *net.TCPConn) { _ = conn.SetLinger(0) }

// A kept connection that breaks after the message was read: net/http must not send
// the message again by itself.
func TestBrokenKeptConnectionIsNotRetried(t *testing.T) {
	for name, breakUp := range map[string]func(*net.TCPConn){
		"closed": func(*net.TCPConn) {},
		"reset":  reset,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t, func(conn *net.TCPConn, nth int, _ *http.Request) bool {
				if nth == 1 {
					_, _ = io.WriteString(conn, taken)
					return true
				}
				breakUp(conn)
				return false
			})
			c := w.client(t)
			if _, err := send(t, c); err != nil {
				t.Fatal(err)
			}
			_, err := send(t, c)
			wantError(t, err, connexus.KindUnavailable, true)
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.conns != 1 || len(w.bodies) != 2 {
				t.Errorf("%d requests on %d connections, want 2 on 1", len(w.bodies), w.conns)
			}
		})
	}
}

func TestBrokenReplies(t *testing.T) {
	for name, test := range map[string]struct {
		raw  string
		kind connexus.Kind
	}{
		"nothing":  {"", connexus.KindUnavailable},
		"not HTTP": {"220 smtp.example.com ESMTP 12345\r\n", connexus.KindUnavailable},
		"not HTTP, with the secret": {"who sent " + testSecret + " " + testToken + " " + testNumber + " " + testCode + "\r\n\r\n",
			connexus.KindUnavailable},
		"half a header":        {"HTTP/1.1 200 OK\r\nContent-Ty", connexus.KindUnavailable},
		"less than its length": {"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + `{"status":"success"}`, connexus.KindMalformed},
		"a chunk cut off": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n" + `{"status":"success"}`,
			connexus.KindMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t, func(conn *net.TCPConn, _ int, _ *http.Request) bool {
				_, _ = io.WriteString(conn, test.raw)
				return false
			})
			_, err := send(t, w.client(t))
			wantError(t, err, test.kind, true)
			w.mu.Lock()
			defer w.mu.Unlock()
			if len(w.bodies) != 1 {
				t.Errorf("%d requests, want 1", len(w.bodies))
			}
		})
	}
}

// A status that refuses the message is a refusal, also if the body breaks off.
func TestRefusalWithABrokenBody(t *testing.T) {
	w := newWire(t, func(conn *net.TCPConn, _ int, _ *http.Request) bool {
		_, _ = io.WriteString(conn, "HTTP/1.1 402 Pay\r\nContent-Length: 99\r\n\r\n{")
		return false
	})
	_, err := send(t, w.client(t))
	wantError(t, err, connexus.KindFunds, false)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v does not tell that the body broke off", err)
	}
}

// The server breaks its connections in many ways. No message arrives twice. A message
// that succeeded has arrived, and one that certainly failed has not.
func TestNoMessageTwice(t *testing.T) {
	const messages = 400
	random := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex
	w := newWire(t, func(conn *net.TCPConn, _ int, r *http.Request) bool {
		mu.Lock()
		choice := random.IntN(6)
		mu.Unlock()
		switch choice {
		case 0:
			reset(conn)
			return false
		case 1:
			return false
		case 2: // closed while idle, without notice
			_, _ = io.WriteString(conn, taken)
			return false
		case 3:
			_, _ = io.WriteString(conn, taken)
			reset(conn)
			return false
		}
		_, _ = io.WriteString(conn, taken)
		return true
	})
	c := w.client(t)
	outcome := make([]error, messages)
	var senders sync.WaitGroup
	for s := range 4 {
		senders.Go(func() {
			for i := s; i < messages; i += 4 {
				otp := testOTP
				otp.Code = fmt.Sprintf("%06d", i)
				_, outcome[i] = c.SendOTP(t.Context(), otp)
			}
		})
	}
	senders.Wait()

	w.mu.Lock()
	defer w.mu.Unlock()
	arrived := make(map[string]int)
	for _, body := range w.bodies {
		form, err := url.ParseQuery(body)
		if err != nil {
			t.Fatal(err)
		}
		arrived[form.Get("msgCode")]++
	}
	failed := 0
	for i, err := range outcome {
		n := arrived[fmt.Sprintf("%06d", i)]
		var e *connexus.Error
		switch errors.As(err, &e) {
		case false:
			if err != nil || n != 1 {
				t.Errorf("message %d arrived %d times after %v", i, n, err)
			}
		case true:
			failed++
			if n > 1 || n == 1 && !e.MaybeAccepted {
				t.Errorf("message %d arrived %d times, maybe accepted %t after %v", i, n, e.MaybeAccepted, err)
			}
		}
	}
	if failed == 0 || failed == messages {
		t.Errorf("%d of %d messages failed: nothing was tried", failed, messages)
	}
}

func TestCloseHangsUp(t *testing.T) {
	w := newWire(t, func(conn *net.TCPConn, _ int, _ *http.Request) bool {
		_, _ = io.WriteString(conn, taken)
		return true
	})
	c := w.client(t)
	if _, err := send(t, c); err != nil {
		t.Fatal(err)
	}
	c.Close()
	select {
	case <-w.hungUp:
	case <-time.After(10 * time.Second):
		t.Error("the idle connection is still open")
	}
}

// A closed port refuses two tries, with a short pause between them.
func TestRefusedPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	calls := 0
	c := newClient(t, hasToken, func(c *connexus.Config) {
		c.BaseURL = "http://" + l.Addr().String()
		c.OnCall = func(endpoint string, _ time.Duration, err error) {
			calls++
			if endpoint != connexus.EndpointOTP || !errors.Is(err, connexus.ErrUnavailable) {
				t.Errorf("told of %q, %v", endpoint, err)
			}
		}
	})
	_, err = send(t, c)
	wantError(t, err, connexus.KindUnavailable, false)
	if calls != 2 {
		t.Errorf("tried %d times, want 2", calls)
	}
}

func TestUntrustedCertificate(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	_, err := send(t, newClient(t, hasToken, func(c *connexus.Config) { c.BaseURL = s.URL }))
	wantError(t, err, connexus.KindUnavailable, false)
}

func TestHang(t *testing.T) {
	// The server notices when the client hangs up.
	for name, hang := range map[string]http.HandlerFunc{
		"before the status": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"within the body": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"status":`)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, nil, hang)
			_, err := send(t, a.client(t, hasToken, func(c *connexus.Config) { c.Timeout = 100 * time.Millisecond }))
			wantError(t, err, connexus.KindTimeout, true)
			if n := a.otpCalls.Load(); n != 1 {
				t.Errorf("sent %d times", n)
			}
		})
	}
}
