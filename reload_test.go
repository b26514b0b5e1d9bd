package websms

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/goleak"

	"github.com/caddy-websms/websms/internal/shared"
	"github.com/caddy-websms/websms/websmstest"
)

// steady sends a request again where its connection was closed before there
// was an answer. That is Caddy's own doing at a reload: what waits in the queue
// of the old server's socket when it is closed was read by nobody.
type steady struct {
	http.RoundTripper
	again *atomic.Int32
}

func (s steady) RoundTrip(req *http.Request) (*http.Response, error) {
	for try := 0; ; try++ {
		once := req.Clone(req.Context())
		if req.GetBody != nil {
			body, err := req.GetBody()
			if err != nil {
				return nil, err
			}
			once.Body = body
		}
		res, err := s.RoundTripper.RoundTrip(once)
		closed := errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
			err != nil && strings.Contains(err.Error(), "server closed idle connection")
		if !closed || try == 5 {
			return res, err
		}
		s.again.Add(1)
	}
}

// While people sign in, look around and sign out, the configuration is
// replaced ten times. Nobody notices.
func TestReloadUnderTraffic(t *testing.T) {
	w := start(t, setup{gate: plenty})
	w.sim.SetWebhook("", "")
	var again atomic.Int32
	steadyBrowser := func() *browser {
		b := w.browser()
		b.client.Transport = steady{b.client.Transport, &again}
		return b
	}
	type waiting struct {
		*browser
		code string
	}
	var pending []waiting
	for range 20 {
		b := steadyBrowser()
		pending = append(pending, waiting{b, w.askFor(b)})
	}
	resident := steadyBrowser()
	resident.login(freshNumber())

	var stop atomic.Bool
	var walks atomic.Int32
	var group sync.WaitGroup
	check := func(what string, a answer, status int) bool {
		if a.StatusCode != status {
			t.Errorf("%s: %s %s; want %d", what, a.Status, redact(a.body), status)
		}
		return a.StatusCode == status
	}
	for range 6 {
		group.Go(func() {
			for !stop.Load() && !t.Failed() {
				b, number := steadyBrowser(), freshNumber()
				ok := check("a stranger", b.get("/", api), 401) && check("send", b.request(number), 202)
				if !ok {
					return
				}
				code := w.codeFor(number, 1)
				ok = check("status", b.get("/.websms/status", api), 200) &&
					check("a wrong code", b.answerWith(other(code)), 422) &&
					check("resend", b.resend(), 202) && check("the code", b.answerWith(code), 200)
				for range 3 {
					ok = ok && check("the app", b.get("/", api), 200) && check("somebody's", resident.get("/", api), 200)
				}
				if !ok || !check("logout", b.post("/.websms/logout", nil, api), 204) || !check("the app, signed out", b.get("/", api), 401) {
					return
				}
				walks.Add(1)
			}
		})
	}
	for i := range 10 {
		before := walks.Load()
		eventually(t, "people go on", func() bool { return walks.Load() >= before+3 || t.Failed() })
		w.load(fmt.Sprintf("comment \"Version %d.\"\n", i) + plenty)
	}
	stop.Store(true)
	group.Wait()
	for _, p := range pending {
		wantStatus(t, "a code from before all that", p.answerWith(p.code), http.StatusOK)
	}
	wantStatus(t, "a session from before all that", resident.get("/", api), http.StatusOK)
	if c := w.sim.Counts(); c.TokenRequests != 1 {
		t.Errorf("%d tokens were asked for; want 1", c.TokenRequests)
	}
	if got := w.sim.Messages()[0].Comment; !strings.HasPrefix(got, "Version ") {
		t.Errorf("the last message says %q", got)
	}
	for line := range strings.Lines(w.logText()) {
		if strings.Contains(line, `"level":"error"`) || strings.Contains(line, "panic") {
			t.Errorf("it is logged that %s", line)
		}
	}
	w.wantNoSecrets()
	t.Logf("%d walks, %d requests sent again", walks.Load(), again.Load())
}

// A configuration that is refused changes nothing, wherever it is refused.
func TestRefusedConfiguration(t *testing.T) {
	t.Cleanup(wantPoolEmpty(t))
	w := start(t, setup{app: "store memory {\n capacity 2\n}", gate: plenty})
	b, waiting, asking := w.browser(), w.browser(), w.browser()
	b.login("+6421234567")
	code := w.askFor(waiting)
	for name, change := range map[string][2]string{
		"a bad option":             {"company Acme", "company Acme\n code {\n length 99\n}"},
		"an unknown option":        {"company Acme", "company Acme\n colour red"},
		"a file that is missing":   {"company Acme", "company Acme\n numbers {\n allow_file /nowhere\n}"},
		"a variable that is unset": {"client_secret csk_demo", "client_secret {env.WEBSMS_TEST_NEVER_SET}"},
		"an address of another":    {"\tadmin off", "\tadmin off\n\tdefault_bind 192.0.2.1"}, // TEST-NET-1 (RFC 5737)
	} {
		text := strings.Replace(w.config(plenty), change[0], change[1], 1)
		text = strings.Replace(text, "capacity 2", "capacity 1", 1) // which would show
		for range 5 {                                               // the order in which Caddy starts things is random
			if err := loadCaddyfile(text); err == nil {
				t.Fatalf("%s: it is loaded", name)
			} else if strings.Contains(err.Error(), "csk_demo") || strings.Contains(err.Error(), webhookSecret) {
				t.Errorf("%s: the error holds a secret: %v", name, err)
			}
			wantStatus(t, name+": the session", b.get("/", api), http.StatusOK)
			wantStatus(t, name+": the status of a code", waiting.get("/.websms/status", api), http.StatusOK)
			wantStatus(t, name+": another code", asking.request(freshNumber()), http.StatusAccepted)
		}
	}
	wantStatus(t, "the code", waiting.answerWith(code), http.StatusOK)
}

// wantPoolEmpty returns a check that nothing shared is left.
func wantPoolEmpty(t *testing.T) func() {
	return func() {
		shared.Pool.Range(func(key, _ any) bool {
			t.Errorf("after Caddy has stopped, %.40v is still there", key)
			return true
		})
	}
}

// A configuration with another account, or another time-out, goes on with the
// challenges there are, also those whose message is on its way.
func TestReloadToAnotherAccount(t *testing.T) {
	t.Cleanup(wantPoolEmpty(t))
	w := start(t, setup{gate: plenty})
	w.sim.SetWebhook("", "")
	b := w.browser()
	w.sim.Next(websmstest.LateReply(300 * time.Millisecond))
	code := w.askFor(b) // it is there before WebSMS has said so
	plain := w.config
	w.config = func(options string) string {
		return strings.Replace(plain(options), "client_id cid_demo", "timeout 9s\n\t\tclient_id cid_demo", 1)
	}
	w.load(plenty)
	eventually(t, "the message is on its way", func() bool { return b.get("/.websms/status", api).json("status") == "accepted" })
	wantStatus(t, "a resend", b.resend(), http.StatusAccepted)
	wantStatus(t, "the code", b.answerWith(code), http.StatusOK)
}

// When Caddy stops, nothing of ours goes on.
func TestNothingLeaks(t *testing.T) {
	// Caddy's own: the log file's roller, and the keeper of a lock that the
	// storage has let go of, which finds out when it wakes.
	roller := goleak.IgnoreTopFunction("github.com/DeRuina/timberjack.(*Logger).millRun")
	keeper := goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh")
	before := goleak.IgnoreCurrent()
	t.Run("life", func(t *testing.T) {
		t.Cleanup(wantPoolEmpty(t))
		w := start(t, setup{gate: listGate + plenty})
		b := w.browser()
		b.login(listed)
		w.browser().request(unlisted)
		b.ask(listed)
		stream := b.openEvents(t.Context())
		defer stream.close()
		w.load("comment Changed.\n" + plenty)
		w.askFor(b)
		again := b.openEvents(t.Context())
		defer again.close()
		b.post("/.websms/logout", nil, api)
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
		again.ends("stopped")
	})
	if err := goleak.Find(before, roller, keeper); err != nil {
		t.Error(err)
	}
}
