package redisstore

import (
	"context"
	"crypto/x509"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/caddy-websms/websms/internal/testca"
	"github.com/caddy-websms/websms/redisstore/redistest"
)

// connect makes a client from the options of a store.
func connect(t *testing.T, s *Store) (rueidis.Client, error) {
	t.Helper()
	option, err := provisioned(t, s).clientOption()
	if err != nil {
		t.Fatal(err)
	}
	client, err := rueidis.NewClient(option)
	if err == nil {
		t.Cleanup(client.Close)
	}
	return client, err
}

// wantWorking writes and reads a key.
func wantWorking(t *testing.T, client rueidis.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := client.Do(ctx, client.B().Set().Key("websms:x").Value("1").ExSeconds(60).Build()).Error(); err != nil {
		t.Fatal(err)
	}
	if got, err := client.Do(ctx, client.B().Get().Key("websms:x").Build()).ToString(); err != nil || got != "1" {
		t.Fatalf("%q, %v", got, err)
	}
}

// Clients reach a real server in each way. Wrong options return the server's error.
func TestClientSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "redis") // t.TempDir is too long a path for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	redistest.Server(t, "--unixsocket", dir+"/socket")
	address := []string{"unix/" + dir + "/socket"}
	client, err := connect(t, &Store{Address: address, DB: 3})
	if err != nil {
		t.Fatal(err)
	}
	wantWorking(t, client)
	if mode := client.Mode(); mode != rueidis.ClientModeStandalone {
		t.Errorf("a single server is taken for %s", mode)
	}
	for db, want := range map[int]int64{3: 1, 0: 0} {
		other, err := connect(t, &Store{Address: address, DB: db})
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
	wantRefused(t, &Store{Address: address, DB: 99}, "DB index is out of range")
}

// wantRefused checks that connecting fails, and that the error does not show the password.
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
	address := []string{redistest.Server(t, "--requirepass", "hunter2right").Addr()}
	t.Setenv("REDIS_PASSWORD", "hunter2right")
	client, err := connect(t, &Store{Address: address, Password: "{env.REDIS_PASSWORD}"})
	if err != nil {
		t.Fatal(err)
	}
	wantWorking(t, client)
	wantRefused(t, &Store{Address: address, Password: "hunter2"}, "WRONGPASS")
	wantRefused(t, &Store{Address: address}, "NOAUTH")
}

// Connecting needs few permissions. Of those in docs/caddyfile.md, it needs only +ping and
// +select.
func TestClientACL(t *testing.T) {
	redis := redistest.Server(t)
	redis.Do("ACL", "SETUSER", "gate", "on", ">hunter2", "~websms:*", "-@all", "+ping", "+select", "+get", "+set")
	redis.Do("ACL", "SETUSER", "default", "off")
	address := []string{redis.Addr()}
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
	redis := redistest.TLSServer(t, "--tls-auth-clients", "yes", "--bind", "127.0.0.1", "127.0.0.2")
	ca, cert, key := redis.CAFile, redis.CertFile, redis.KeyFile
	strange, strangeKey := testca.New(t).Files(t, x509.Certificate{})
	address := []string{redis.Addr()}
	other := []string{strings.Replace(redis.Addr(), "127.0.0.1", "127.0.0.2", 1)} // its certificate does not name this address
	for _, c := range []*Store{
		{Address: address, TLS: &TLS{CA: ca, Cert: cert, Key: key}},
		{Address: other, TLS: &TLS{CA: ca, Cert: cert, Key: key, ServerName: "localhost"}},
	} {
		client, err := connect(t, c)
		if err != nil {
			t.Fatal(err)
		}
		wantWorking(t, client)
	}
	wantRefused(t, &Store{Address: address, TLS: &TLS{Cert: cert, Key: key}}, "unknown authority")
	wantRefused(t, &Store{Address: address, TLS: &TLS{CA: ca, Cert: cert, Key: key, ServerName: "redis.example"}}, "redis.example")
	wantRefused(t, &Store{Address: other, TLS: &TLS{CA: ca, Cert: cert, Key: key}}, "127.0.0.2")
	for _, c := range []*TLS{{CA: ca}, {CA: ca, Cert: strange, Key: strangeKey}} {
		if _, err := connect(t, &Store{Address: address, TLS: c}); err == nil {
			t.Errorf("the server lets in %+v", c)
		}
	}
	if _, err := connect(t, &Store{Address: address}); err == nil {
		t.Error("the server answers in clear")
	}
}

// One address of a cluster is enough.
func TestClientCluster(t *testing.T) {
	address := redistest.Cluster(t).Addrs()[:1]
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

// The sentinels name the master. They have another password than the master.
func TestClientSentinel(t *testing.T) {
	redis := redistest.Sentinel(t, "--requirepass", "hunter2master", "--masterauth", "hunter2master")
	redis.Do("ACL", "SETUSER", "default", "resetpass", ">hunter2watch")
	store := func(password string) *Store {
		sentinel := &Sentinel{Master: redis.Name(), Password: password}
		return &Store{Address: []string{redis.Addr()}, Password: "hunter2master", DB: 2, Sentinel: sentinel}
	}
	client, err := connect(t, store("hunter2watch"))
	if err != nil {
		t.Fatal(err)
	}
	wantWorking(t, client)
	if mode := client.Mode(); mode != rueidis.ClientModeSentinel {
		t.Errorf("sentinels are taken for %s", mode)
	}
	wantRefused(t, store("hunter2"), "WRONGPASS")
}
