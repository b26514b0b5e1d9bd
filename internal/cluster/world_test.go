package cluster_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/process"
	"github.com/caddy-websms/websms/redisstore/redistest"
	"github.com/caddy-websms/websms/websmstest"
)

const (
	patience      = 20 * time.Second
	webhookSecret = "hook-secret"
)

// world is two Caddys on one Redis behind a balancer, a simulated WebSMS, and a legacy app behind
// the gate. Only the test sends delivery reports.
type world struct {
	t     *testing.T
	sim   *websmstest.Server
	app   *httptest.Server
	redis *redistest.Redis // nil with a store of the test's own
	nodes [2]*node
	*balancer
}

// setup holds the differences of a world from the default world.
type setup struct {
	gate  string   // options of the gate
	redis []string // arguments of redis-server
	away  bool     // Redis is down when the nodes start
	store string   // options of store redis; "": the address of a redis-server
	next  string   // path of the Caddy of the second node; "": the same as the first node's
}

// roomy holds limits that no test reaches. All people of a test share one IP address.
const roomy = "limits {\n per_ip 1000000/1h\n budget 1000000/1h\n}"

// start runs a world that ends with the test.
func start(t *testing.T, s setup) *world {
	t.Helper()
	need(t)
	if s.gate == "" {
		s.gate = roomy
	}
	w := &world{t: t, sim: websmstest.NewServer(t, websmstest.Options{}), app: newApp(t)}
	if s.store == "" {
		w.redis = redistest.Server(t, s.redis...)
		s.store = "address " + w.redis.Addr()
	}
	if s.away {
		w.redis.Stop()
	}
	for i := range w.nodes {
		w.nodes[i] = w.newNode(s)
		if i == 1 {
			w.nodes[i].program = s.next
		}
		w.nodes[i].start()
	}
	w.balancer = newBalancer(t, w.nodes)
	if !s.away {
		w.awaitRedis()
	}
	return w
}

// newApp runs a legacy app. It shows the signed-in user and has a button to sign out.
func newApp(t *testing.T) *httptest.Server {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, `<!DOCTYPE html><html lang="en"><title>App</title><link rel="icon" href="data:,">
			<p id="user">Signed in as %s</p>
			<form method="post" action="/.websms/logout"><button id="out">Sign out</button></form>`, r.Header.Get("X-Verified-Number"))
	}))
	t.Cleanup(app.Close)
	return app
}

// A node is one Caddy.
type node struct {
	t     *testing.T
	addr  string // address of its gated site
	admin string
	dir   string
	// program is the path of its Caddy. If it is empty, the node runs the Caddy of all tests.
	program string
	// config returns its Caddyfile, with some texts replaced.
	config func(oldNew ...string) string

	proc atomic.Pointer[process.Process]
}

func (w *world) newNode(s setup) *node {
	w.t.Helper()
	n := &node{t: w.t, dir: w.t.TempDir(), addr: freeAddr(w.t), admin: freeAddr(w.t)}
	text := fmt.Sprintf(`{
	admin %s
	auto_https off
	default_bind 127.0.0.1
	persist_config off
	grace_period 5s
	websms {
		client_id cid_demo
		client_secret csk_demo
		base_url %s
		store redis {
			%s
		}
	}
}
http://:%s {
	websms_webhook /webhook {
		secret %s
	}
	websms_otp {
		company Acme
		%s
	}
	reverse_proxy %s
}
`, n.admin, w.sim.URL, s.store, portOf(n.addr), webhookSecret, s.gate, strings.TrimPrefix(w.app.URL, "http://"))
	n.config = func(oldNew ...string) string {
		for i := 0; i < len(oldNew); i += 2 {
			if strings.Count(text, oldNew[i]) != 1 {
				n.t.Fatalf("the Caddyfile does not have %q once", oldNew[i])
			}
		}
		return strings.NewReplacer(oldNew...).Replace(text)
	}
	n.t.Cleanup(func() {
		if p := n.proc.Load(); p != nil {
			n.checkLog(p)
			p.Kill()
			if log := p.Log(); n.t.Failed() {
				n.t.Logf("the node %s has logged:\n%s", n.addr, log[max(0, len(log)-8000):])
			}
		}
	})
	return n
}

func freeAddr(t *testing.T) string {
	t.Helper()
	port, err := process.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return "127.0.0.1:" + strconv.Itoa(port)
}

func portOf(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// start runs the node and waits until it answers.
func (n *node) start() {
	n.t.Helper()
	path := n.program
	if path == "" {
		var err error
		if path, err = process.SharedCaddy(root); err != nil {
			n.t.Fatal(err)
		}
	}
	p, err := process.Caddy{
		Program: path, Caddyfile: n.config(), Dir: n.dir, Work: n.dir, URLs: []string{"http://" + n.addr + "/.websms/login"},
	}.Run()
	if err != nil {
		n.t.Fatal(err)
	}
	n.proc.Store(p)
}

// kill ends the node as kill -9 does.
func (n *node) kill() {
	p := n.proc.Load()
	p.Kill()
	n.checkLog(p)
}

// checkLog looks for texts that no node may ever log.
func (n *node) checkLog(p *process.Process) {
	n.t.Helper()
	log := p.Log()
	for _, bad := range []string{"panic", "DATA RACE", "csk_demo", webhookSecret} {
		if at := strings.Index(log, bad); at >= 0 {
			n.t.Errorf("a node has logged %q: %s", bad, log[max(0, at-200):min(len(log), at+2000)])
		}
	}
}

// logged counts how often the node has logged a text so far.
func (n *node) logged(words string) int { return strings.Count(n.proc.Load().Log(), words) }

// load gives a running node another Caddyfile, as caddy reload does, and returns the answer. From
// now on the balancer is patient.
func (w *world) load(node int, caddyfile string) (status int, body string) {
	w.t.Helper()
	w.patient.Store(true)
	res, err := http.Post("http://"+w.nodes[node].admin+"/load", "text/caddyfile", strings.NewReader(caddyfile))
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// awaitRedis waits until each running node can send codes.
func (w *world) awaitRedis() {
	w.t.Helper()
	for i := range w.nodes {
		number := freshNumber()
		eventually(w.t, "a node sends codes", func() bool {
			a := w.person().at(i).send(number)
			return a.StatusCode == http.StatusAccepted || a.StatusCode == http.StatusBadGateway
		})
	}
}

// eventually waits until holds returns true.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %v still not: %s", patience, what)
		}
	}
}

var numbers atomic.Int64

// freshNumber returns a number that one test uses alone, in E.164 without the plus.
func freshNumber() string { return fmt.Sprintf("64212%06d", 340000+numbers.Add(1)) }

// code waits until count messages have come to a number, and returns the latest.
func (w *world) code(number string, count int) websmstest.Message {
	w.t.Helper()
	m, ok := w.message(number, count)
	if !ok {
		w.t.Fatalf("message %d to %s does not come", count, number)
	}
	return m
}

// message is code for any goroutine.
func (w *world) message(number string, count int) (latest websmstest.Message, ok bool) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		found := 0
		for _, m := range w.sim.Messages() { // newest first
			if m.To != number {
				continue
			}
			if found++; found == 1 {
				latest = m
			}
		}
		if found >= count {
			return latest, true
		}
	}
	return latest, false
}

// report posts a delivery report to the webhook of one node.
func (w *world) report(node int, messageID string) {
	w.t.Helper()
	body := fmt.Sprintf(`{"type":"dlr","messageId":%q,"status":"DELIVRD","statusCode":1,"timestamp":%d}`, messageID, time.Now().Unix())
	req, err := http.NewRequest(http.MethodPost, "http://"+w.nodes[node].addr+"/webhook", strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+webhookSecret)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		w.t.Fatalf("the webhook answers %s", res.Status)
	}
}

// otherCode returns a wrong code: it has the same length and differs in each digit.
func otherCode(code string) string {
	return strings.Map(func(digit rune) rune { return '0' + (digit-'0'+1)%10 }, code)
}
