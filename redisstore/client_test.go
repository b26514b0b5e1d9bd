package redisstore

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

// Each way to a real server, and what a server says of a wrong one.
func TestClientSocket(t *testing.T) {
	dir := startServer(t, "port 0")
	client, err := connect(t, &Store{Address: []string{"unix/" + dir + "/socket"}, DB: 3})
	if err != nil {
		t.Fatal(err)
	}
	wantWorking(t, client)
	if mode := client.Mode(); mode != rueidis.ClientModeStandalone {
		t.Errorf("a single server is taken for %s", mode)
	}
	for db, want := range map[int]int64{3: 1, 0: 0} {
		other, err := connect(t, &Store{Address: []string{"unix/" + dir + "/socket"}, DB: db})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := other.Do(t.Context(), other.B().Dbsize().Build()).ToInt64(); err != nil || n != want {
			t.Errorf("database %d holds %d keys, %v, want %d", db, n, err, want)
		}
	}
	if list, err := client.Do(t.Context(), client.B().ClientList().Build()).ToString(); err != nil || !strings.Contains(list, "name=websms") {
		t.Errorf("the name is not in %s, %v", list, err)
	}
	wantRefused(t, &Store{Address: []string{"unix/" + dir + "/socket"}, DB: 99}, "DB index is out of range")
}

// wantRefused connects and fails, without a word of the password.
func wantRefused(t *testing.T, s *Store, want string) {
	t.Helper()
	_, err := connect(t, s)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the error is %v, want %s", err, want)
	}
	if err != nil && strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error repeats the password: %v", err)
	}
}

func TestClientPassword(t *testing.T) {
	port := freePort(t)
	startServer(t, fmt.Sprintf("port %d\nrequirepass hunter2right", port))
	address := []string{fmt.Sprintf("localhost:%d", port)}
	t.Setenv("REDIS_PASSWORD", "hunter2right")
	client, err := connect(t, &Store{Address: address, Password: "{env.REDIS_PASSWORD}"})
	if err != nil {
		t.Fatal(err)
	}
	wantWorking(t, client)
	wantRefused(t, &Store{Address: address, Password: "hunter2"}, "WRONGPASS")
	wantRefused(t, &Store{Address: address}, "NOAUTH")
}

// The permissions that connecting itself needs: those of docs/caddyfile.md
// have no more of it than +ping and +select.
func TestClientACL(t *testing.T) {
	port := freePort(t)
	startServer(t, fmt.Sprintf("port %d\nuser default off\nuser gate on >hunter2 ~websms:* -@all +ping +select +get +set", port))
	address := []string{fmt.Sprintf("localhost:%d", port)}
	client, err := connect(t, &Store{Address: address, Username: "gate", Password: "hunter2", DB: 1})
	if err != nil {
		t.Fatal(err)
	}
	wantWorking(t, client)
	if err := client.Do(t.Context(), client.B().Get().Key("other").Build()).Error(); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("another key: %v", err)
	}
	wantRefused(t, &Store{Address: address, Username: "nobody", Password: "hunter2"}, "WRONGPASS")
	wantRefused(t, &Store{Address: address, Password: "hunter2"}, "WRONGPASS")
}

func TestClientTLS(t *testing.T) {
	ca, port := newAuthority(t), freePort(t)
	file := writeFile(t, "ca.pem", ca.pem)
	cert, key := ca.issue(t, "redis.example")
	startServer(t, fmt.Sprintf("port 0\ntls-port %d\ntls-cert-file %s\ntls-key-file %s\ntls-ca-cert-file %s\ntls-auth-clients yes", port, cert, key, file))
	mine, mineKey := ca.issue(t, "gate")
	strange, strangeKey := newAuthority(t).issue(t, "gate")
	address := []string{fmt.Sprintf("127.0.0.1:%d", port)}
	client, err := connect(t, &Store{Address: address, TLS: &TLS{CA: file, Cert: mine, Key: mineKey, ServerName: "redis.example"}})
	if err != nil {
		t.Fatal(err)
	}
	wantWorking(t, client)
	wantRefused(t, &Store{Address: address, TLS: &TLS{Cert: mine, Key: mineKey, ServerName: "redis.example"}}, "unknown authority")
	wantRefused(t, &Store{Address: address, TLS: &TLS{CA: file, Cert: mine, Key: mineKey}}, "127.0.0.1")
	for _, c := range []*TLS{{CA: file, ServerName: "redis.example"}, {CA: file, Cert: strange, Key: strangeKey, ServerName: "redis.example"}} {
		if _, err := connect(t, &Store{Address: address, TLS: c}); err == nil {
			t.Errorf("the server lets in %+v", c)
		}
	}
	if _, err := connect(t, &Store{Address: address}); err == nil {
		t.Error("the server answers in clear")
	}
}

// One address of a cluster is enough to see that it is one.
func TestClientCluster(t *testing.T) {
	port := freePort(t)
	dir := startServer(t, fmt.Sprintf("port %d\ncluster-enabled yes\ncluster-port %d", port, freePort(t)))
	address := []string{fmt.Sprintf("127.0.0.1:%d", port)}
	alone, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: address, ForceSingleClient: true, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := alone.Do(ctx, alone.B().Arbitrary("CLUSTER", "ADDSLOTSRANGE", "0", "16383").Build()).Error(); err != nil {
		t.Fatalf("%v, in %s", err, dir)
	}
	for {
		info, err := alone.Do(ctx, alone.B().ClusterInfo().Build()).ToString()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(info, "cluster_state:ok") {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	client, err := connect(t, &Store{Address: address})
	if err != nil {
		t.Fatal(err)
	}
	wantWorking(t, client)
	if mode := client.Mode(); mode != rueidis.ClientModeCluster {
		t.Errorf("a cluster is taken for %s", mode)
	}
	wantRefused(t, &Store{Address: address, DB: 1}, "SELECT is not allowed in cluster mode")
}

// The sentinels name the master; its password is not theirs.
func TestClientSentinel(t *testing.T) {
	port, watch := freePort(t), freePort(t)
	startServer(t, fmt.Sprintf("port %d\nrequirepass hunter2master", port))
	startServer(t, fmt.Sprintf("port %d\nrequirepass hunter2watch\nsentinel monitor gate 127.0.0.1 %d 1\nsentinel auth-pass gate hunter2master", watch, port), "--sentinel")
	store := func(master, password string) *Store {
		return &Store{Address: []string{fmt.Sprintf("127.0.0.1:%d", watch)}, Password: "hunter2master", DB: 2,
			Sentinel: &Sentinel{Master: master, Password: password}}
	}
	client, err := connect(t, store("gate", "hunter2watch"))
	if err != nil {
		t.Fatal(err)
	}
	wantWorking(t, client)
	if mode := client.Mode(); mode != rueidis.ClientModeSentinel {
		t.Errorf("sentinels are taken for %s", mode)
	}
	wantRefused(t, store("gate", "hunter2"), "WRONGPASS")
}
