package attacks_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/request"
)

// hurry shortens the gate's wait for a body, for configurations that are loaded from now on.
func hurry(t *testing.T, d time.Duration) {
	was := request.BodyTime
	request.BodyTime = d
	t.Cleanup(func() { request.BodyTime = was })
}

// sendSlowly begins a request and sends it byte by byte, until the other side answers or closes the
// connection. It returns the status of the answer, or 0 if there is none.
func sendSlowly(w *harness.World, begin, drop string) (status int) {
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(w.URL, "http://"), 5*time.Second)
	if err != nil {
		w.T.Error(err)
		return 0
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(15 * time.Second))
	if _, err := io.WriteString(conn, begin); err != nil {
		w.T.Error(err)
		return 0
	}
	ctx, stop := context.WithCancel(context.Background())
	var dropping sync.WaitGroup
	defer dropping.Wait()
	defer stop()
	dropping.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if _, err := io.WriteString(conn, drop); err != nil {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	})
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	return res.StatusCode
}

const slowHead = "Host: localhost\r\nAccept: application/json\r\nContent-Type: application/x-www-form-urlencoded\r\n"

// The gate gives up a slow body after its own time limit, at every endpoint, also at those that
// read no body. Other clients are served meanwhile, and no goroutine is left afterwards.
func TestSlowBodies(t *testing.T) {
	hurry(t, 500*time.Millisecond)
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b := w.Browser()
	b.Login(harness.FreshNumber())
	before := len(w.App.Seen())
	const length, chunked = "Content-Length: 8000\r\n\r\nphone=021", "Transfer-Encoding: chunked\r\n\r\n1f40\r\nphone=021"
	var all sync.WaitGroup
	for _, c := range []struct {
		line string
		want []int
	}{
		{"POST /.websms/send", []int{400, 408}}, {"POST /.websms/verify", []int{400, 408}},
		{"POST /.websms/resend", []int{400, 408}}, {"POST /.websms/logout", []int{400, 408}},
		{"PUT /.websms/send", []int{405}}, {"POST /.websms/login", []int{405}}, {"POST /.websms", []int{405}},
		{"POST /.websms/assets/x", []int{405}}, {"POST /.websms/unknown", []int{404}},
		{"GET /.websms/login", []int{200}}, {"GET /.websms/session", []int{401}}, {"GET /.websms/verify", []int{409}},
		{"POST /form", []int{401}}, {"GET /page", []int{401}}, {"PUT /.websmsx", []int{401}},
	} {
		for _, body := range []string{length, chunked} {
			all.Go(func() {
				begun := time.Now()
				status := sendSlowly(w, c.line+" HTTP/1.1\r\n"+slowHead+body, "0")
				took := time.Since(begun)
				if status != c.want[0] && status != c.want[len(c.want)-1] {
					t.Errorf("%s, %.17q: answered with %d; want one of %d", c.line, body, status, c.want)
				}
				if took > 3*time.Second {
					t.Errorf("%s, %.17q: cut after %s", c.line, body, took)
				}
			})
		}
	}
	// A post from another site is refused without a wait for its body.
	all.Go(func() {
		if status := sendSlowly(w, "POST /.websms/send HTTP/1.1\r\nSec-Fetch-Site: cross-site\r\n"+slowHead+length,
			"0"); status != http.StatusForbidden {
			t.Errorf("from another site: %d", status)
		}
	})
	all.Go(func() {
		begun := time.Now()
		w.Browser().Login(harness.FreshNumber())
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("to sign in beside them takes %s", took)
		}
	})
	all.Wait()
	w.WantUnreached(t, "slow bodies", before)
	if n := w.Sim.Counts().OTPRequests; n != 2 {
		t.Errorf("%d messages were sent; want those of the two logins", n)
	}
	harness.WantStatus(t, "the session", b.Get("/.websms/session", harness.API), http.StatusOK)
}

// The limit is for one body. A connection that is kept open, and a status stream, may last longer.
func TestBodyTimeEnds(t *testing.T) {
	hurry(t, 300*time.Millisecond)
	for _, https := range []bool{false, true} {
		w := harness.Start(t, harness.Setup{HTTPS: https, Gate: harness.Plenty})
		w.Sim.SetWebhook("", "")
		for _, protocol := range map[bool][]string{false: {"HTTP/1.1"}, true: protocols}[https] {
			b := overProtocol(w.Browser(), protocol)
			number := harness.FreshNumber()
			code := b.Ask(number)
			stream := harness.OpenEvents(b, t.Context())
			stream.Until("accepted")
			begun := time.Now()
			harness.Eventually(t, "the time of a body is over", func() bool { return time.Since(begun) > 2*request.BodyTime })
			report := fmt.Sprintf(`{"type":"dlr","messageId":%q,"statusCode":1}`, w.MessagesTo(number)[0].ID)
			harness.WantStatus(t, protocol+": a report", harness.Deliver(b, report), http.StatusOK)
			stream.Until("delivered")
			harness.WantStatus(t, protocol+": the code", b.AnswerWith(code), http.StatusOK)
			stream.Ends(protocol)
			stream.Close()
		}
	}
}

// The gate gives up slow bodies over HTTP/2 and HTTP/3 too: many streams of one connection, which
// still serves other requests.
func TestSlowBodiesMultiplexed(t *testing.T) {
	hurry(t, 500*time.Millisecond)
	w := harness.Start(t, harness.Setup{HTTPS: true, Gate: harness.Plenty})
	for _, protocol := range protocols[1:] {
		b := overProtocol(w.Browser(), protocol)
		b.Login(harness.FreshNumber()) // the connection is there
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				body, feed := io.Pipe()
				defer feed.Close()
				go func() { _, _ = io.WriteString(feed, "phone=021") }()
				path := []string{"/.websms/send", "/.websms/verify", "/.websms/unknown", "/x"}[i%4]
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+path, body)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": harness.API["Accept"]}
				begun := time.Now()
				res, err := b.Client.Transport.RoundTrip(req)
				if took := time.Since(begun); took > 4*time.Second {
					t.Errorf("%s: %s is answered after %s", protocol, path, took)
				}
				if err != nil {
					t.Errorf("%s: %s: %v", protocol, path, err)
					return
				}
				res.Body.Close()
				if res.StatusCode/100 != 4 {
					t.Errorf("%s: %s: %s", protocol, path, res.Status)
				}
			})
		}
		all.Go(func() { harness.WantStatus(t, "the app beside them", b.Get("/", harness.API), http.StatusOK) })
		all.Wait()
	}
}

// Slow heads or bodies of many clients hold up no other client: a person signs in as usual.
func TestSlowCrowd(t *testing.T) {
	hurry(t, 2*time.Second)
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty, Global: "servers {\n timeouts {\n read_header 2s\n }\n}"})
	const crowd = 150
	var all sync.WaitGroup
	var mu sync.Mutex
	statuses := make(map[int]int)
	for i := range crowd {
		begin, drop := "POST /.websms/send HTTP/1.1\r\n"+slowHead+"Content-Length: 8000\r\n\r\nphone=", "0"
		switch i % 3 {
		case 1:
			begin, drop = "GET /.websms/login HTTP/1.1\r\nHost: localhost\r\n", "X-Slow: 0\r\n"
		case 2:
			begin, drop = "GET /", "x"
		}
		all.Go(func() {
			status := sendSlowly(w, begin, drop)
			mu.Lock()
			defer mu.Unlock()
			statuses[status]++
		})
	}
	begun := time.Now()
	for range 3 {
		w.Browser().Login(harness.FreshNumber())
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("beside %d slow ones, to sign in three times takes %s", crowd, took)
	}
	all.Wait()
	if took := time.Since(begun); took > 8*time.Second {
		t.Errorf("the slow ones stay for %s", took)
	}
	if statuses[http.StatusOK]+statuses[http.StatusAccepted] > 0 || statuses[http.StatusBadRequest] < crowd/3 {
		t.Errorf("they are answered with %v", statuses)
	}
	if n := w.Sim.Counts().OTPRequests; n != 3 {
		t.Errorf("%d messages were sent; want those of three logins", n)
	}
}
