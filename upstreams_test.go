package websms_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/caddy-websms/websms/internal/harness"
)

// patience bounds each wait for an upstream.
const patience = 20 * time.Second

// echo is an upstream that sends back each message of a WebSocket.
type echo struct {
	*httptest.Server
	seen chan http.Header // the header of each handshake
}

func newEcho(t *testing.T) *echo {
	e := &echo{seen: make(chan http.Header, 16)}
	e.Server = httptest.NewServer(websocket.Server{Handler: func(c *websocket.Conn) {
		e.seen <- c.Request().Header.Clone()
		for text := ""; websocket.Message.Receive(c, &text) == nil; {
			if websocket.Message.Send(c, "echo "+text) != nil {
				return
			}
		}
	}})
	t.Cleanup(e.Close)
	return e
}

// route returns a block of the site that proxies a path to an upstream.
func route(path, upstream, options string) string {
	return fmt.Sprintf("handle %s {\n reverse_proxy %s {\n %s\n }\n}\n", path, upstream, options)
}

// openSocket opens a WebSocket as the script of a page does. The caller closes it.
func openSocket(b *harness.Browser, path string, header http.Header) (*websocket.Conn, error) {
	config, err := websocket.NewConfig("ws"+strings.TrimPrefix(b.URL, "http")+path, b.URL)
	if err != nil {
		return nil, err
	}
	config.TlsConfig = &tls.Config{InsecureSkipVerify: true}
	config.Header = header
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return config.DialContext(ctx)
}

// talk sends a message, and checks that it comes back.
func talk(t *testing.T, what string, c *websocket.Conn) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(patience))
	answer := ""
	if err := websocket.Message.Send(c, what); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if err := websocket.Message.Receive(c, &answer); err != nil || answer != "echo "+what {
		t.Fatalf("%s: got %q, %v", what, answer, err)
	}
}

// A WebSocket needs a session at its handshake. Then it stays open until the application, Caddy or
// the browser closes it, also if the session ends before.
func TestWebSocketBehindTheGate(t *testing.T) {
	for _, https := range []bool{false, true} {
		t.Run(fmt.Sprintf("https=%t", https), func(t *testing.T) {
			upstream := newEcho(t)
			w := harness.Start(t, harness.Setup{
				HTTPS: https, Gate: harness.Plenty, Front: route("/ws", strings.TrimPrefix(upstream.URL, "http://"), ""),
			})
			b := w.Browser()
			if c, err := openSocket(b, "/ws", harness.With("Cookie", "app=1")); err == nil {
				c.Close()
				t.Fatal("a stranger's WebSocket was opened")
			}
			if !https {
				a := w.Raw("GET", "/ws", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
					"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==")
				harness.WantProblem(t, "a stranger's handshake", a, http.StatusUnauthorized, "unverified")
			}

			number := harness.FreshNumber()
			b.Login(number)
			c, err := openSocket(b, "/ws", harness.With("Cookie", "app=1; "+b.Cookies()+"; theme=dark", "X-Verified-Number", "+6421999999"))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			talk(t, "verified", c)
			seen := <-upstream.seen
			if got := seen["Cookie"]; len(got) != 1 || got[0] != "app=1; theme=dark" {
				t.Errorf("the upstream saw the cookies %q", got)
			}
			if got := seen["X-Verified-Number"]; len(got) != 1 || got[0] != number {
				t.Errorf("the upstream was told of %q", got)
			}
			if n := len(upstream.seen); n != 0 {
				t.Errorf("the upstream saw %d handshakes more", n)
			}

			cookies := b.Cookies()
			harness.WantStatus(t, "logout", b.Post("/.websms/logout", nil, harness.API), http.StatusNoContent)
			talk(t, "after the end of the session", c)
			harness.WantProblem(t, "what a page asks for in between",
				w.Browser().Get("/.websms/session", harness.API, harness.With("Cookie", cookies)), http.StatusUnauthorized, "unverified")
			if c, err := openSocket(b, "/ws", harness.With("Cookie", cookies)); err == nil {
				c.Close()
				t.Error("an ended session opened another WebSocket")
			}
		})
	}
}

// stream_timeout of the reverse proxy ends a WebSocket, and the page needs a good session to open
// the next one.
func TestWebSocketWithStreamTimeout(t *testing.T) {
	upstream := newEcho(t)
	w := harness.Start(t, harness.Setup{
		Gate: harness.Plenty, Front: route("/ws", strings.TrimPrefix(upstream.URL, "http://"), "stream_timeout 500ms"),
	})
	b := w.Browser()
	b.Login(harness.FreshNumber())
	for round := range 2 {
		c, err := openSocket(b, "/ws", harness.With("Cookie", b.Cookies()))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		talk(t, fmt.Sprint("round ", round), c)
		_ = c.SetReadDeadline(time.Now().Add(patience))
		text := ""
		if err := websocket.Message.Receive(c, &text); err == nil {
			t.Errorf("got %q, where the socket should have been closed", text)
		} else if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			t.Errorf("the socket is open after %s", patience)
		}
	}
	b.Post("/.websms/logout", nil, harness.API)
	if c, err := openSocket(b, "/ws", harness.With("Cookie", b.Cookies())); err == nil {
		c.Close()
		t.Error("the page opened a WebSocket after its session had ended")
	}
}

// A page may ask for its session as often as it likes: that keeps no session alive, as a request to
// the application does.
func TestAskingForTheSessionRenewsNothing(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: "session {\n idle 20m\n}\n" + harness.Plenty})
	asks, works := w.Browser(), w.Browser()
	asks.Login(harness.FreshNumber())
	works.Login(harness.FreshNumber())
	for range 3 {
		now.Advance(9 * time.Minute)
		works.Get("/", harness.API)
		asks.Get("/.websms/session", harness.API)
	}
	harness.WantStatus(t, "a page that asks", asks.Get("/.websms/session", harness.API), http.StatusUnauthorized)
	harness.WantStatus(t, "a page that works", works.Get("/.websms/session", harness.API), http.StatusOK)
}

// A gRPC service stands behind the gate like any other upstream. A call without a session fails with
// the code Unauthenticated, and an open stream goes on after its session has ended.
func TestGRPCBehindTheGate(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan metadata.MD, 16)
	note := func(ctx context.Context) {
		md, _ := metadata.FromIncomingContext(ctx)
		seen <- md
	}
	server := grpc.NewServer(
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			note(ctx)
			return next(ctx, req)
		}),
		grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			note(stream.Context())
			return next(srv, stream)
		}))
	service := health.NewServer()
	service.SetServingStatus("orders", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(server, service)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)

	w := harness.Start(t, harness.Setup{
		HTTPS: true, Gate: harness.Plenty, Front: route("/grpc.health.v1.Health/*", "h2c://"+listener.Addr().String(), ""),
	})
	b := w.Browser()
	conn, err := grpc.NewClient(strings.TrimPrefix(w.URL, "https://"),
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := healthpb.NewHealthClient(conn)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	as := func(pairs ...string) context.Context { return metadata.AppendToOutgoingContext(ctx, pairs...) }
	orders := &healthpb.HealthCheckRequest{Service: "orders"}

	refused := func(what string, ctx context.Context) {
		t.Helper()
		if _, err := client.Check(ctx, orders); status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s: a call ends with %v", what, err)
		}
		stream, err := client.Watch(ctx, orders)
		if err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s: a stream ends with %v", what, err)
		}
		if len(seen) > 0 {
			t.Errorf("%s: the service saw %v", what, <-seen)
		}
	}
	refused("a stranger", as("cookie", "app=1"))

	number := harness.FreshNumber()
	b.Login(number)
	session := as("cookie", "app=1; "+b.Cookies(), "x-verified-number", "+6421999999")
	got, err := client.Check(session, orders)
	if err != nil || got.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("with a session: %v, %v", got, err)
	}
	md := <-seen
	if c := md.Get("cookie"); len(c) != 1 || c[0] != "app=1" {
		t.Errorf("the service saw the cookies %q", c)
	}
	if n := md.Get("x-verified-number"); len(n) != 1 || n[0] != number {
		t.Errorf("the service was told of %q", n)
	}
	// An error of the service comes through with its code and its text: they are in the trailers.
	if _, err := client.Check(session, &healthpb.HealthCheckRequest{Service: "nothing"}); status.Code(err) != codes.NotFound ||
		status.Convert(err).Message() != "unknown service" {
		t.Errorf("an error of the service becomes %v", err)
	}
	<-seen

	stream, err := client.Watch(session, orders)
	if err != nil {
		t.Fatal(err)
	}
	next := func(want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		if got, err := stream.Recv(); err != nil || got.GetStatus() != want {
			t.Fatalf("the stream brings %v, %v; want %s", got, err, want)
		}
	}
	next(healthpb.HealthCheckResponse_SERVING)
	<-seen
	service.SetServingStatus("orders", healthpb.HealthCheckResponse_NOT_SERVING)
	next(healthpb.HealthCheckResponse_NOT_SERVING)
	harness.WantStatus(t, "logout", b.Post("/.websms/logout", nil, harness.API), http.StatusNoContent)
	refused("an ended session", session)
	service.SetServingStatus("orders", healthpb.HealthCheckResponse_SERVING)
	next(healthpb.HealthCheckResponse_SERVING)
}
