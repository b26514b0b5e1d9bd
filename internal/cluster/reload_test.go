package cluster_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// While people sign in, look around and sign out at both nodes, the
// configuration of one is replaced, also by one with another way to the same
// Redis. Nobody notices.
func TestReloadUnderTraffic(t *testing.T) {
	t.Parallel()
	w := start(t, setup{})
	resident, waiting := w.person(), w.person()
	resident.login()
	pending := freshNumber()
	waiting.want(waiting.send(pending), http.StatusAccepted)
	code := w.code(pending, 1).Code

	var stop atomic.Bool
	var walks atomic.Int64
	var people sync.WaitGroup
	for range 4 {
		people.Go(func() {
			for !stop.Load() && !t.Failed() && walk(w, resident) {
				walks.Add(1)
			}
		})
	}
	a := w.nodes[0]
	redis := "address " + w.redis.Addr()
	configs := []string{
		a.config("company Acme", "company Acme\n comment \"Another.\""),
		a.config(redis, "address localhost:"+portOf(w.redis.Addr())),
		a.config(redis, redis+"\n db 0\n key_prefix websms:"),
		a.config("client_id cid_demo", "timeout 9s\n client_id cid_demo"),
		a.config(),
	}
	refused := a.config("company Acme", "company Acme\n colour red")
	for range 2 {
		for i, config := range configs {
			before := walks.Load()
			eventually(t, "people go on", func() bool { return walks.Load() >= before+2 || t.Failed() })
			if status, body := w.load(0, config); status != http.StatusOK {
				t.Errorf("configuration %d: status %d: %s", i, status, body)
			}
			if status, _ := w.load(0, refused); status != http.StatusBadRequest {
				t.Errorf("a configuration with an unknown option: status %d", status)
			}
		}
	}
	before := walks.Load()
	eventually(t, "people go on", func() bool { return walks.Load() >= before+2 || t.Failed() })
	stop.Store(true)
	people.Wait()
	for i := range w.nodes {
		resident.want(resident.at(i).get("/"), http.StatusOK)
	}
	waiting.want(waiting.at(0).verify(code), http.StatusOK)
	t.Logf("%d walks, %d requests sent again", walks.Load(), w.again.Load())
}

// walk goes the whole way once, in a goroutine of its own, and reports whether
// everything was as it should be.
func walk(w *world, resident *person) bool {
	p, number := w.person(), freshNumber()
	check := func(what string, a answer, status int) bool {
		if a.StatusCode != status {
			w.t.Errorf("%s: %s %s; want %d", what, a.Status, a.body, status)
		}
		return a.StatusCode == status
	}
	if !check("a stranger", p.get("/"), 401) || !check("send", p.send(number), 202) {
		return false
	}
	message, ok := w.message(number, 1)
	code := message.Code
	if !ok {
		w.t.Error("the message does not come")
		return false
	}
	return check("status", p.get("/.websms/status"), 200) &&
		check("a wrong code", p.verify(another(code)), 422) &&
		check("the code", p.verify(code), 200) &&
		check("the app", p.get("/"), 200) &&
		check("somebody's", resident.get("/"), 200) &&
		check("logout", p.logout(), 204) &&
		check("the app, signed out", p.get("/"), 401)
}

// A configuration that is refused changes nothing, wherever it is refused.
func TestRefusedConfiguration(t *testing.T) {
	t.Parallel()
	w := start(t, setup{})
	guest, waiting := w.person(), w.person()
	guest.login()
	number := freshNumber()
	waiting.want(waiting.send(number), http.StatusAccepted)
	code := w.code(number, 1).Code
	a := w.nodes[0]
	redis := "address " + w.redis.Addr()
	for what, config := range map[string]string{
		"an address that is none":  a.config(redis, "address redis://user@nowhere"),
		"a store without address":  a.config(redis, ""),
		"an option that is none":   a.config(redis, redis+"\n colour red"),
		"a secret that is missing": a.config("client_secret csk_demo", "client_secret {env.WEBSMS_TEST_NEVER_SET}"),
		// What is wrong here shows when Caddy has provisioned all else, and
		// the store is another one.
		"an address of another": a.config("default_bind 127.0.0.1", "default_bind 192.0.2.1", redis, redis+"\n key_prefix other:"), // TEST-NET-1 (RFC 5737)
	} {
		if status, body := w.load(0, config); status < 400 {
			t.Errorf("%s: it is loaded", what)
		} else if strings.Contains(body, "csk_demo") {
			t.Errorf("%s: the error holds a secret: %s", what, body)
		}
		for i := range w.nodes {
			guest.want(guest.at(i).get("/"), http.StatusOK)
			waiting.want(waiting.at(i).get("/.websms/status"), http.StatusOK)
			asking := w.person().at(i)
			asking.want(asking.send(freshNumber()), http.StatusAccepted)
		}
	}
	waiting.want(waiting.at(0).verify(code), http.StatusOK)
	guest.want(guest.at(0).logout(), http.StatusNoContent)
}
