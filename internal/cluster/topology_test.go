package cluster_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/redisstore/redistest"
)

// Two Caddys on a Redis Cluster act as one gate. A reload that names another node of the Redis
// Cluster keeps all data.
func TestRedisCluster(t *testing.T) {
	t.Parallel()
	need(t)
	c := redistest.Cluster(t)
	w := start(t, setup{store: "address " + c.Addrs()[0]})
	guest, waiting := w.person(), w.person()
	guest.login()
	_, m := waiting.at(0).ask()
	w.report(1, m.ID)
	eventually(t, "the report is shown", func() bool { return waiting.at(0).get("/.websms/status").field("status") == "delivered" })

	more := w.nodes[0].config("address "+c.Addrs()[0], "address "+strings.Join(c.Addrs()[1:], " "))
	if status, body := w.load(0, more); status != http.StatusOK {
		t.Fatalf("a configuration with other addresses: status %d: %s", status, body)
	}
	guest.want(guest.at(0).get("/"), http.StatusOK)
	eventually(t, "the node reaches Redis by the other addresses", func() bool {
		return waiting.at(0).get("/.websms/status").StatusCode == http.StatusOK
	})
	waiting.want(waiting.at(0).verify(m.Code), http.StatusOK)
	for i := range w.nodes {
		waiting.want(waiting.at(i).get("/"), http.StatusOK)
	}
	copied := waiting.twin().at(1)
	waiting.want(waiting.at(0).logout(), http.StatusNoContent)
	eventually(t, "the other node knows", func() bool { return copied.get("/").StatusCode == http.StatusUnauthorized })
}

// After the master dies and its replica becomes the master, pending codes are still valid, and new
// codes are sent.
func TestFailover(t *testing.T) {
	t.Parallel()
	need(t)
	s := redistest.Sentinel(t)
	w := start(t, setup{store: "address " + s.Addr() + "\n sentinel " + s.Name()})
	guest, waiting := w.person(), w.person()
	guest.login()
	_, m := waiting.ask()
	code := m.Code
	waiting.want(waiting.verify(otherCode(code)), http.StatusUnprocessableEntity)
	s.Master().Do("WAIT", "1", "10000") // Redis replicates after it has answered
	s.Failover()
	for i := range w.nodes {
		guest.want(guest.at(i).get("/"), http.StatusOK)
	}
	w.awaitRedis()
	waiting.want(waiting.verify(code), http.StatusOK)
	w.person().login()
	for i := range w.nodes {
		guest.want(guest.at(i).get("/"), http.StatusOK)
	}
}
