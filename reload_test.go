package websms_test

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

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/shared"
	"github.com/caddy-websms/websms/websmstest"
)

// steady sends a request again if its connection was closed before an answer. Caddy causes this at
// a reload: when the old server closes its socket, the connections in the queue of that socket are
// lost unread.
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

// The configuration is replaced ten times while people sign in, load pages and sign out. No request
// fails.
func TestReloadUnderTraffic(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	w.Sim.SetWebhook("", "")
	var again atomic.Int32
	steadyBrowser := func() *harness.Browser {
		b := w.Browser()
		b.Client.Transport = steady{b.Client.Transport, &again}
		return b
	}
	type waiting struct {
		*harness.Browser
		code string
	}
	var pending []waiting
	for range 20 {
		b := steadyBrowser()
		pending = append(pending, waiting{b, harness.AskFor(w, b)})
	}
	resident := steadyBrowser()
	resident.Login(harness.FreshNumber())

	var stop atomic.Bool
	var walks atomic.Int32
	var group sync.WaitGroup
	check := func(what string, a harness.Answer, status int) bool {
		if a.StatusCode != status {
			t.Errorf("%s: %s %s; want %d", what, a.Status, harness.Excerpt(a.Text), status)
		}
		return a.StatusCode == status
	}
	for range 6 {
		group.Go(func() {
			for !stop.Load() && !t.Failed() {
				b, number := steadyBrowser(), harness.FreshNumber()
				ok := check("a stranger", b.Get("/", harness.API), 401) && check("send", b.Request(number), 202)
				if !ok {
					return
				}
				code := w.CodeFor(number, 1)
				ok = check("status", b.Get("/.websms/status", harness.API), 200) &&
					check("a wrong code", b.AnswerWith(harness.OtherCode(code)), 422) &&
					check("resend", b.Resend(), 202) && check("the code", b.AnswerWith(code), 200)
				for range 3 {
					ok = ok && check("the app", b.Get("/", harness.API), 200) && check("somebody's", resident.Get("/", harness.API), 200)
				}
				if !ok || !check("logout", b.Post("/.websms/logout", nil, harness.API), 204) ||
					!check("the app, signed out", b.Get("/", harness.API), 401) {
					return
				}
				walks.Add(1)
			}
		})
	}
	for i := range 10 {
		before := walks.Load()
		harness.Eventually(t, "people go on", func() bool { return walks.Load() >= before+3 || t.Failed() })
		w.Load(fmt.Sprintf("comment \"Version %d.\"\n", i) + harness.Plenty)
	}
	stop.Store(true)
	group.Wait()
	for _, p := range pending {
		harness.WantStatus(t, "a code from before all that", p.AnswerWith(p.code), http.StatusOK)
	}
	harness.WantStatus(t, "a session from before all that", resident.Get("/", harness.API), http.StatusOK)
	if c := w.Sim.Counts(); c.TokenRequests != 1 {
		t.Errorf("%d tokens were asked for; want 1", c.TokenRequests)
	}
	if got := w.Sim.Messages()[0].Comment; !strings.HasPrefix(got, "Version ") {
		t.Errorf("the last message says %q", got)
	}
	for line := range strings.Lines(w.LogText()) {
		if strings.Contains(line, `"level":"error"`) || strings.Contains(line, "panic") {
			t.Errorf("it is logged that %s", line)
		}
	}
	w.WantNoSecrets()
	t.Logf("%d walks, %d requests sent again", walks.Load(), again.Load())
}

// A refused configuration changes nothing, at any step of the load.
func TestRefusedConfiguration(t *testing.T) {
	t.Cleanup(wantPoolEmpty(t))
	w := harness.Start(t, harness.Setup{App: "store memory {\n capacity 2\n}", Gate: harness.Plenty})
	b, waiting, asking := w.Browser(), w.Browser(), w.Browser()
	b.Login("+6421234567")
	code := harness.AskFor(w, waiting)
	for name, change := range map[string][2]string{
		"a bad option":             {"company Acme", "company Acme\n code {\n length 99\n}"},
		"an unknown option":        {"company Acme", "company Acme\n colour red"},
		"a file that is missing":   {"company Acme", "company Acme\n numbers {\n allow_file /nowhere\n}"},
		"a variable that is unset": {"client_secret csk_demo", "client_secret {env.WEBSMS_TEST_NEVER_SET}"},
		"an address of another":    {"\tadmin off", "\tadmin off\n\tdefault_bind 192.0.2.1"}, // TEST-NET-1 (RFC 5737)
	} {
		text := strings.Replace(w.Config(harness.Plenty), change[0], change[1], 1)
		text = strings.Replace(text, "capacity 2", "capacity 1", 1) // if it were applied, the test would notice
		for range 5 {                                               // Caddy starts apps in random order
			if err := harness.LoadCaddyfile(text); err == nil {
				t.Fatalf("%s: it is loaded", name)
			} else if strings.Contains(err.Error(), "csk_demo") || strings.Contains(err.Error(), harness.WebhookSecret) {
				t.Errorf("%s: the error holds a secret: %v", name, err)
			}
			harness.WantStatus(t, name+": the session", b.Get("/", harness.API), http.StatusOK)
			harness.WantStatus(t, name+": the status of a code", waiting.Get("/.websms/status", harness.API), http.StatusOK)
			harness.WantStatus(t, name+": another code", asking.Request(harness.FreshNumber()), http.StatusAccepted)
		}
	}
	harness.WantStatus(t, "the code", waiting.AnswerWith(code), http.StatusOK)
}

// wantPoolEmpty returns a check that the shared pool is empty.
func wantPoolEmpty(t *testing.T) func() {
	return func() {
		shared.Pool.Range(func(key, _ any) bool {
			t.Errorf("after Caddy has stopped, %.40v is still there", key)
			return true
		})
	}
}

// A configuration with another account or timeout keeps the existing challenges, even while their
// messages are being sent.
func TestReloadToAnotherAccount(t *testing.T) {
	t.Cleanup(wantPoolEmpty(t))
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	w.Sim.SetWebhook("", "")
	b := w.Browser()
	w.Sim.Next(websmstest.LateReply(300 * time.Millisecond))
	code := harness.AskFor(w, b) // the code arrives before WebSMS has replied
	plain := w.Config
	w.Config = func(options string) string {
		return strings.Replace(plain(options), "client_id cid_demo", "timeout 9s\n\t\tclient_id cid_demo", 1)
	}
	w.Load(harness.Plenty)
	harness.Eventually(t, "the message is on its way",
		func() bool { return b.Get("/.websms/status", harness.API).JSON("status") == "accepted" })
	harness.WantStatus(t, "a resend", b.Resend(), http.StatusAccepted)
	harness.WantStatus(t, "the code", b.AnswerWith(code), http.StatusOK)
}

// When Caddy stops, none of our goroutines stays.
func TestNothingLeaks(t *testing.T) {
	// These are Caddy's own: the roller of the log file, and the goroutine that refreshes a lock of
	// the storage. The latter notices only later that the lock was released.
	roller := goleak.IgnoreTopFunction("github.com/DeRuina/timberjack.(*Logger).millRun")
	keeper := goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh")
	before := goleak.IgnoreCurrent()
	t.Run("life", func(t *testing.T) {
		t.Cleanup(wantPoolEmpty(t))
		w := harness.Start(t, harness.Setup{Gate: harness.ListGate + harness.Plenty})
		b := w.Browser()
		b.Login(harness.Listed)
		w.Browser().Request(harness.Unlisted)
		b.Ask(harness.Listed)
		stream := harness.OpenEvents(b, t.Context())
		defer stream.Close()
		w.Load("comment Changed.\n" + harness.Plenty)
		harness.AskFor(w, b)
		again := harness.OpenEvents(b, t.Context())
		defer again.Close()
		b.Post("/.websms/logout", nil, harness.API)
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
		again.Ends("stopped")
	})
	if err := goleak.Find(before, roller, keeper); err != nil {
		t.Error(err)
	}
}
