package websms

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-websms/websms/redisstore/redistest"
	"github.com/caddy-websms/websms/session"
)

// BenchmarkPassByStore measures the whole decision for a request with a session, with the engine
// and the keys of a running configuration. The kind of store must not change the result, and
// neither must an outage of the store.
func BenchmarkPassByStore(b *testing.B) {
	for _, c := range []struct {
		name  string
		redis bool
		dead  bool
	}{{"memory", false, false}, {"redis", true, false}, {"redis dead", true, true}} {
		b.Run("store="+c.name, func(b *testing.B) {
			store, kill := `{"module": "memory"}`, func() {}
			if c.redis {
				redis := redistest.Server(b)
				store = fmt.Sprintf(`{"module": "redis", "address": [%q]}`, redis.Addr())
				if c.dead {
					kill = redis.Stop
				}
			}
			err := caddy.Load(fmt.Appendf(nil, `{
				"admin": {"disabled": true, "config": {"persist": false}},
				"logging": {"logs": {"default": {"level": "FATAL"}}},
				"storage": {"module": "file_system", "root": %q},
				"apps": {"websms": {"client_id": "cid", "client_secret": "csk", "store": %s}}
			}`, b.TempDir(), store), true)
			if err != nil {
				b.Fatal(err)
			}
			defer caddy.Stop()
			app, err := caddy.ActiveContext().App("websms")
			if err != nil {
				b.Fatal(err)
			}
			g, _ := benchGate(b)
			g.engine = app.(*App).engine
			g.jar.Vault = g.engine.vault
			for !g.engine.vault.Ring.Ready() {
				time.Sleep(time.Millisecond)
			}
			s := session.Session{ID: session.NewID(), Number: "+6421234567", Region: "NZ"}
			g.jar.Life.Begin(&s, time.Now())
			cookie, err := s.Seal(g.engine.vault.Ring, "app.example.com")
			if err != nil {
				b.Fatal(err)
			}
			r := benchRequest(cookie)
			header := r.Header["Cookie"]
			next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
			w := httptest.NewRecorder()
			kill()
			b.ReportAllocs()
			for b.Loop() {
				r.Header["Cookie"] = header
				if err := g.ServeHTTP(w, r, next); err != nil || w.Code != http.StatusOK {
					b.Fatal(w.Code, err)
				}
			}
		})
	}
}
