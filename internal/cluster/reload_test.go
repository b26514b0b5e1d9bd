package cluster_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// People sign in, use the app and sign out at both nodes while the configuration of one node is
// replaced. One of the configurations reaches the same Redis in another way. No request fails.
func TestReloadUnderTraffic(t *testing.T) {
	t.Parallel()
	w := start(t, setup{})
	resident, waiting := w.person(), w.person()
	resident.login()
	_, m := waiting.ask()
	code := m.Code

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

// walk signs in and out once, in a goroutine of its own. It returns false if any answer is wrong.
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
		check("a wrong code", p.verify(otherCode(code)), 422) &&
		check("the code", p.verify(code), 200) &&
		check("the app", p.get("/"), 200) &&
		check("somebody's", resident.get("/"), 200) &&
		check("logout", p.logout(), 204) &&
		check("the app, signed out", p.get("/"), 401)
}

// A refused configuration changes nothing, at any step of the load.
func TestRefusedConfiguration(t *testing.T) {
	t.Parallel()
	w := start(t, setup{})
	guest, waiting := w.person(), w.person()
	guest.login()
	_, m := waiting.ask()
	code := m.Code
	a := w.nodes[0]
	redis := "address " + w.redis.Addr()
	for what, config := range map[string]string{
		"an address that is none":  a.config(redis, "address redis://user@nowhere"),
		"a store without address":  a.config(redis, ""),
		"an option that is none":   a.config(redis, redis+"\n colour red"),
		"a secret that is missing": a.config("client_secret csk_demo", "client_secret {env.WEBSMS_TEST_NEVER_SET}"),
		// Caddy finds this error after all modules are provisioned, and the configuration names
		// another store. The address is of TEST-NET-1 (RFC 5737).
		"an address of another": a.config("default_bind 127.0.0.1", "default_bind 192.0.2.1",
			redis, redis+"\n key_prefix other:"),
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
