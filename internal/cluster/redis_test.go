package cluster_test

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// Nodes that start without Redis send codes as soon as Redis answers, without a reload. Each node
// logs once that it waits.
func TestRedisComesLate(t *testing.T) {
	t.Parallel()
	w := start(t, setup{away: true})
	number := freshNumber()
	for i, n := range w.nodes {
		p := w.person().at(i)
		p.wantUnavailable(p.send(number))
		p.wantUnavailable(p.get("/")) // without Redis the node cannot open sessions yet
		if got := n.logged("redis is away or cannot be written to"); got != 1 {
			t.Errorf("node %d says %d times that Redis is away, want 1", i, got)
		}
	}
	if sent := w.sim.Counts().Accepted; sent != 0 {
		t.Errorf("%d codes were sent that are nowhere recorded", sent)
	}
	w.redis.Restart()
	w.awaitRedis()
	p := w.person()
	p.login()
	for i, n := range w.nodes {
		p.want(p.at(i).get("/"), http.StatusOK)
		if away, back := n.logged("redis is away or cannot be written to"), n.logged("redis is there again"); away != 1 || back != 1 {
			t.Errorf("node %d says %d times that Redis is away and %d times that it is back, want 1 each", i, away, back)
		}
	}
}

// A node that starts while Redis is down has no keys. It lets nobody in and answers that this is
// temporary. The other node goes on. It gives the new node the keys, even if Redis comes back
// without them.
func TestNodeStartsWithoutRedis(t *testing.T) {
	t.Parallel()
	w := start(t, setup{})
	guest := w.person()
	guest.login()
	w.nodes[1].kill()
	w.redis.Stop()
	w.nodes[1].start()
	guest.want(guest.at(0).get("/"), http.StatusOK)
	guest.wantUnavailable(guest.at(1).get("/"))
	w.redis.Restart()
	eventually(t, "the new node lets guests in", func() bool { return guest.at(1).get("/").StatusCode == http.StatusOK })
	w.awaitRedis()
	w.person().login()
}

// If Redis hangs or is down, requests take no longer and sessions stay valid. When Redis is back,
// all features work again.
func TestRedisStandsStill(t *testing.T) {
	t.Parallel()
	w := start(t, setup{})
	guest, waiting := w.person(), w.person()
	guest.login()
	_, m := waiting.ask()
	code := m.Code
	w.redis.Pause()
	before := w.sim.Counts().OTPRequests
	for i := range w.nodes {
		for range 2 { // the first request notices that Redis is down, so later ones fail at once
			waiting.wantUnavailable(waiting.at(i).verify(otherCode(code)))
			stranger := w.person().at(i)
			stranger.wantUnavailable(stranger.send(freshNumber()))
			stranger.do("/.websms/login", nil, asBrowser) // its cookie shows that the browser keeps cookies
			page := stranger.do("/.websms/send", url.Values{"phone": {"+" + freshNumber()}}, asBrowser)
			stranger.wantUnavailable(page)
			if !strings.Contains(page.body, unavailableHeading) {
				t.Errorf("the page says %s", page.body)
			}
			guest.want(guest.at(i).get("/"), http.StatusOK)
		}
	}
	if sent := w.sim.Counts().OTPRequests - before; sent != 0 {
		t.Errorf("%d codes were sent that could not be recorded", sent)
	}
	w.redis.Resume()
	w.awaitRedis()
	waiting.want(waiting.verify(code), http.StatusOK)
}

// A session needs no Redis: it opens while Redis is down, and it sends Redis no command.
func TestSessionsAskNothingOfRedis(t *testing.T) {
	t.Parallel()
	w := start(t, setup{})
	p := w.person()
	p.login()
	const requests = 1000
	before := commands(w)
	for i := range requests {
		p.want(p.at(i%2).get("/"), http.StatusOK)
	}
	// In this time both nodes have checked several times whether Redis answers, and have
	// looked for changes in it.
	asked := commands(w) - before
	t.Logf("%d commands beside %d requests with a session", asked, requests)
	if asked > requests/2 {
		t.Errorf("%d requests with a session come with %d commands to Redis", requests, asked)
	}
	w.redis.Stop()
	for i := range 100 {
		p.want(p.at(i%2).get("/"), http.StatusOK)
	}
}

// commands returns how many commands Redis has run.
func commands(w *world) int {
	w.t.Helper()
	total := 0
	for line := range strings.Lines(w.redis.Do("INFO", "commandstats").(string)) {
		name, rest, ok := strings.Cut(strings.TrimSpace(line), ":calls=") // cmdstat_set:calls=12,usec=34,…
		if !ok || name == "cmdstat_info" {
			continue
		}
		calls, _, _ := strings.Cut(rest, ",")
		n, err := strconv.Atoi(calls)
		if err != nil {
			w.t.Fatalf("commandstats says %q", line)
		}
		total += n
	}
	return total
}

// If Redis loses all its data, only the challenges are lost. A user without a session asks for a
// new code. A user with a session stays signed in.
func TestRedisIsEmptied(t *testing.T) {
	t.Parallel()
	w := start(t, setup{})
	guest, gone, waiting := w.person(), w.person(), w.person()
	guest.login()
	gone.login()
	before := gone.twin()
	gone.want(gone.logout(), http.StatusNoContent)
	for i := range w.nodes {
		eventually(t, "both know that it is over", func() bool { return before.at(i).get("/").StatusCode == http.StatusUnauthorized })
	}
	number, m := waiting.ask()
	code := m.Code
	w.redis.Restart()
	w.awaitRedis()
	waiting.want(waiting.verify(code), http.StatusConflict)
	waiting.want(waiting.send(number), http.StatusAccepted)
	waiting.want(waiting.verify(w.code(number, 2).Code), http.StatusOK)
	for i := range w.nodes {
		guest.want(guest.at(i).get("/"), http.StatusOK)
		before.want(before.at(i).get("/"), http.StatusUnauthorized)
	}
	// A node that starts now gets the keys and revocations of the other node.
	w.nodes[1].kill()
	w.nodes[1].start()
	eventually(t, "the new node lets guests in, and nobody else", func() bool {
		return guest.at(1).get("/").StatusCode == http.StatusOK && before.at(1).get("/").StatusCode == http.StatusUnauthorized
	})
}
