package websms_test

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/websmstest"
)

func init() { caddy.RegisterModule(eventRecorder{}) }

// eventRecorder is an event handler. It records events, or calls a function of the test.
type eventRecorder struct{}

var recorded struct {
	sync.Mutex
	events []caddy.Event
	handle func(context.Context, caddy.Event) error // nil: records the event
}

func (eventRecorder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.recorder", New: func() caddy.Module { return new(eventRecorder) }}
}

func (eventRecorder) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { d.Next(); return nil }

func (eventRecorder) Handle(ctx context.Context, e caddy.Event) error {
	recorded.Lock()
	recorded.events = append(recorded.events, e)
	handle := recorded.handle
	recorded.Unlock()
	if handle != nil {
		return handle(ctx, e)
	}
	return nil
}

var _ caddyevents.Handler = eventRecorder{}

// recordEvents forgets the recorded events. From now on, handle gets the events.
func recordEvents(t *testing.T, handle func(context.Context, caddy.Event) error) {
	set := func(handle func(context.Context, caddy.Event) error) {
		recorded.Lock()
		defer recorded.Unlock()
		recorded.events, recorded.handle = nil, handle
	}
	set(handle)
	t.Cleanup(func() { set(nil) })
}

// eventsNamed returns the data of all recorded events with a name.
func eventsNamed(name string) (data []map[string]any) {
	recorded.Lock()
	defer recorded.Unlock()
	for _, e := range recorded.events {
		if e.Name() == name {
			data = append(data, e.Data)
		}
	}
	return data
}

const onOurs = "events {\n on websms.sent recorder\n on websms.verified recorder\n on websms.failed recorder\n" +
	" on websms.mo recorder\n on websms.dlr recorder\n}"

// Each occurrence causes one event, with the same data as the log: the number of a send is masked,
// the words of a reply are complete.
func TestEvents(t *testing.T) {
	recordEvents(t, nil)
	w := harness.Start(t, harness.Setup{Gate: "realm staff\n" + harness.Plenty, Global: onOurs})
	w.Sim.SetWebhook("", "")
	b := w.Browser()
	code := b.Ask("+6421000555")
	message := w.Sim.Messages()[0]
	once := func(name string) map[string]any {
		t.Helper()
		harness.Eventually(t, name, func() bool { return len(eventsNamed(name)) > 0 })
		return eventsNamed(name)[0]
	}
	sent := once("websms.sent")
	challenge, _ := sent["challenge"].(string)
	if len(challenge) != 32 {
		t.Errorf("the challenge is %q", challenge)
	}
	want := func(name string, fields map[string]any) {
		t.Helper()
		if got := once(name); !reflect.DeepEqual(got, fields) {
			t.Errorf("%s has %v, want %v", name, got, fields)
		}
	}
	whose := func(name string, value any) map[string]any {
		return map[string]any{"realm": "staff", "number": "+64•••555", "user": "", "client_ip": "127.0.0.1", "challenge": challenge, name: value}
	}
	want("websms.sent", whose("message_id", message.ID))
	harness.Deliver(b, fmt.Sprintf(`{"type":"dlr","messageId":%q,"status":"DELIVRD","statusCode":1,"timestamp":1234567890}`, message.ID))
	want("websms.dlr", map[string]any{"message_id": message.ID, "status": "DELIVRD", "status_code": 1,
		"state": "delivered", "timestamp": "2009-02-13T23:31:30Z"})
	harness.WantStatus(t, "verify", b.AnswerWith(code), http.StatusOK)
	var session any
	harness.Eventually(t, "the audit log", func() bool {
		for _, line := range w.Logged("websms.audit") {
			if line["event"] == "verified" {
				session = line["session"]
			}
		}
		return session != nil
	})
	want("websms.verified", whose("session", session))
	for range 2 { // the second one is a repetition
		harness.Deliver(b, `{"type":"mo","messageId":"MO9","from":"+6421000556","to":"321","body":"STOP {env.HOME} $(id)"}`)
	}
	want("websms.mo", map[string]any{"message_id": "MO9", "from": "+6421000556", "to": "321",
		"body": "STOP {env.HOME} $(id)", "timestamp": ""})
	w.Sim.Next(websmstest.InvalidRequest())
	w.Browser().Request("+6421000557")
	if failed := once("websms.failed"); failed["number"] != "+64•••557" || failed["error"] == "" {
		t.Errorf("websms.failed has %v", failed)
	}
	for _, name := range []string{"websms.sent", "websms.verified", "websms.failed", "websms.mo", "websms.dlr"} {
		if n := len(eventsNamed(name)); n != 1 {
			t.Errorf("%d of %s", n, name)
		}
	}
}

// Event handlers may hang, fail or panic. Requests do not wait for them, and nothing else changes.
func TestEventHandlersInTrouble(t *testing.T) {
	release := make(chan struct{})
	recordEvents(t, func(_ context.Context, e caddy.Event) error {
		switch e.Name() {
		case "websms.sent":
			panic("a handler of somebody else's")
		case "websms.verified":
			return fmt.Errorf("did not work")
		}
		<-release
		return nil
	})
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty, Global: onOurs})
	t.Cleanup(func() { close(release) }) // before Caddy is stopped
	b := w.Browser()
	began := time.Now()
	for i := range 4 {
		harness.WantAnswer(t, "a reply",
			harness.Deliver(b, fmt.Sprintf(`{"type":"mo","messageId":"MO%d","from":"+6421000556","body":"hi"}`, i)),
			http.StatusOK, harness.Acknowledged)
	}
	b.Login("+6421000558")
	harness.WantStatus(t, "the app", b.Get("/", harness.Page), http.StatusOK)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	harness.Eventually(t, "the panic in the log", func() bool { return len(w.Logged("http.handlers.websms_otp")) > 0 })
}
