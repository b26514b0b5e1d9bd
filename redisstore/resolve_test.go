package redisstore

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/internal/testca"
)

// writeFile writes a file of the test, and returns its path.
func writeFile(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// provision loads a store, as Caddy does.
func provision(t testing.TB, s *Store) (*Store, error) {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	return s, s.Provision(ctx)
}

func provisioned(t testing.TB, s *Store) *Store {
	t.Helper()
	if _, err := provision(t, s); err != nil {
		t.Fatal(err)
	}
	return s
}

// Caddy replaces placeholders when it loads the configuration. Their values are checked
// like values that are written out.
func TestProvision(t *testing.T) {
	t.Setenv("REDIS_ADDRESS", "Redis.example")
	t.Setenv("REDIS_PASSWORD", "pass{env.X}word")
	t.Setenv("REDIS_PREFIX", "web")
	file := writeFile(t, "user", []byte("gate\n"))
	s := provisioned(t, &Store{
		Address: []string{"{env.REDIS_ADDRESS}", "[::1]"}, Username: "{file." + file + "}", Password: "{env.REDIS_PASSWORD}",
		KeyPrefix: "{env.REDIS_PREFIX}:", Sentinel: &Sentinel{Master: "{env.REDIS_PREFIX}", Password: "x{env.REDIS_PREFIX}"},
	})
	o := s.resolved.options
	if got := strings.Join(o.Address, " "); got != "redis.example:26379 [::1]:26379" {
		t.Errorf("addresses: %s", got)
	}
	if o.Username != "gate" || o.Password != "pass{env.X}word" ||
		o.Sentinel.Master != "web" || o.Sentinel.Password != "xweb" || s.prefix() != "web:" {
		t.Errorf("resolved to %+v %+v", o, o.Sentinel)
	}
	if s.Password != "{env.REDIS_PASSWORD}" || s.Address[0] != "{env.REDIS_ADDRESS}" {
		t.Errorf("the configuration itself was changed: %+v", s)
	}
	bare := provisioned(t, &Store{Address: []string{"localhost"}})
	if bare.prefix() != "websms:" || bare.resolved.options.Address[0] != "localhost:6379" {
		t.Errorf("defaults: %+v", bare.resolved.options)
	}
}

func TestProvisionMistakes(t *testing.T) {
	t.Setenv("REDIS_EMPTY", "")
	t.Setenv("REDIS_URL", "redis://u:hunter2@host")
	t.Setenv("REDIS_TAG", "{hunter2}")
	t.Setenv("REDIS_NESTED", "{env.hunter2}")
	t.Setenv("REDIS_LIST", "a:1 b:2")
	junk := writeFile(t, "junk.pem", []byte("hunter2"))
	at := func(change func(*Store)) *Store {
		s := &Store{Address: []string{"localhost"}}
		change(s)
		return s
	}
	for _, c := range []struct {
		store *Store
		want  string
	}{
		{&Store{}, "store redis: address is missing: say where Redis is, such as localhost:6379"},
		{&Store{Address: []string{""}}, "store redis: address 1 of 1 is no host and port"},
		{at(func(s *Store) { s.DB = -1 }), "store redis: db is -1: give the number of a database, from 0"},
		{at(func(s *Store) { s.Sentinel = new(Sentinel) }),
			"store redis: sentinel: master is missing: give the name under which the sentinels watch it, such as mymaster"},
		{at(func(s *Store) { s.Password = "{env.REDIS_EMPTY}" }), "store redis: password: evaluated placeholder {env.REDIS_EMPTY} is empty"},
		{at(func(s *Store) { s.Username, s.Password = "{file./no/such}", "x" }), "/no/such"},
		{at(func(s *Store) { s.Password = "hunter2{" + "x}" }),
			"store redis: password holds a placeholder that is unknown or empty: give {env.NAME}"},
		{at(func(s *Store) { s.Sentinel = &Sentinel{Master: "m", Password: "{env.REDIS_EMPTY}"} }), "store redis: sentinel: password: "},
		{at(func(s *Store) { s.Address[0] = "{env.REDIS_URL}" }), "store redis: address 1 of 1 is a URL, or holds a user"},
		{at(func(s *Store) { s.Address[0] = "{env.REDIS_LIST}" }), "store redis: address 1 of 1 is no host and port"},
		{at(func(s *Store) { s.Address[0] = "{env.REDIS_NESTED}" }), "store redis: address 1 of 1 is no host and port"},
		{at(func(s *Store) { s.KeyPrefix = "{env.REDIS_TAG}" }), "store redis: key_prefix is too long, or holds a space, a brace"},
		{at(func(s *Store) { s.KeyPrefix = "{env.REDIS_NESTED}" }), "store redis: key_prefix is too long, or holds a space, a brace"},
		{at(func(s *Store) { s.TLS = &TLS{CA: "/no/such/ca.pem"} }),
			"store redis: tls: ca cannot be read: open /no/such/ca.pem: no such file or directory: name a PEM file that Caddy may read"},
		{at(func(s *Store) { s.TLS = &TLS{CA: junk} }), "store redis: tls: ca holds no certificate: name a PEM file that does"},
		{at(func(s *Store) { s.TLS = &TLS{Cert: junk, Key: junk} }), "store redis: tls: cert and key do not make a pair"},
		{at(func(s *Store) { s.TLS = &TLS{Cert: junk, Key: "/no/such/key.pem"} }), "store redis: tls: key cannot be read"},
	} {
		_, err := provision(t, c.store)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v\nwant %s", c.store, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error repeats a secret: %v", err)
		}
	}
}

// TestStoreKey: another value of any option makes another key.
func TestStoreKey(t *testing.T) {
	t.Setenv("REDIS_A", "a")
	base := func() *Store { return &Store{Address: []string{"a", "b:1"}, Password: "hunter2"} }
	first := provisioned(t, base())
	for name, c := range map[string]struct {
		change func(*Store)
		same   bool
	}{
		"same":         {func(*Store) {}, true},
		"spelling":     {func(s *Store) { s.Address, s.KeyPrefix = []string{"{env.REDIS_A}:6379", "B:1"}, "websms:" }, true},
		"order":        {func(s *Store) { s.Address = []string{"b:1", "a", "a"} }, false},
		"password":     {func(s *Store) { s.Password = "q" }, false},
		"user":         {func(s *Store) { s.Username = "q" }, false},
		"tls":          {func(s *Store) { s.TLS = new(TLS) }, false},
		"address":      {func(s *Store) { s.Address = []string{"a", "c:1"} }, false},
		"prefix":       {func(s *Store) { s.KeyPrefix = "x:" }, false},
		"one address":  {func(s *Store) { s.Address = s.Address[:1] }, false},
		"database":     {func(s *Store) { s.Address, s.DB = s.Address[:1], 1 }, false},
		"sentinel":     {func(s *Store) { s.Sentinel = &Sentinel{Master: "m"} }, false},
		"run together": {func(s *Store) { s.Address = []string{"ab:1"} }, false},
	} {
		s := base()
		c.change(s)
		provisioned(t, s)
		if same := s.StoreKey() == first.StoreKey(); same != c.same {
			t.Errorf("%s: the same key is %t", name, same)
		}
		if strings.Contains(s.StoreKey(), "hunter2") {
			t.Errorf("%s: a key holds the password", name)
		}
	}
	tagged := func(password string) string {
		return provisioned(t, &Store{Address: []string{"a"}, Sentinel: &Sentinel{Master: "m", Password: password}}).StoreKey()
	}
	if tagged("x") == tagged("y") {
		t.Error("the sentinels' password makes no other client")
	}
	path := testca.New(t).File
	with := func() string { return provisioned(t, &Store{Address: []string{"a"}, TLS: &TLS{CA: path}}).StoreKey() }
	before := with()
	if before != with() {
		t.Error("the same file makes another client")
	}
	if err := os.Rename(testca.New(t).File, path); err != nil {
		t.Fatal(err)
	}
	if before == with() {
		t.Error("a file that was replaced makes no other client")
	}
}

// A Redis on another machine without TLS is one risk. Its text does not show the password.
func TestRisks(t *testing.T) {
	for _, c := range []struct {
		store Store
		risks int
	}{
		{Store{Address: []string{"localhost:1", "127.0.0.2:1", "[::1]:1", "unix//x"}, Password: "hunter2"}, 0},
		{Store{Address: []string{"localhost:1", "redis:1", "10.0.0.1:1"}, Password: "hunter2"}, 1},
		{Store{Address: []string{"10.0.0.1:1"}, Sentinel: &Sentinel{Password: "hunter2"}}, 1},
		{Store{Address: []string{"10.0.0.1:1"}, Password: "hunter2", TLS: new(TLS)}, 0},
		{Store{Address: []string{"10.0.0.1:1"}}, 1},
	} {
		list := c.store.Risks()
		if len(list) != c.risks {
			t.Errorf("%v has %d risks, want %d", c.store.Address, len(list), c.risks)
		}
		for _, r := range list {
			if !strings.Contains(r.Text, "without TLS") || strings.Contains(r.Text, "hunter2") || r.Do == "" {
				t.Errorf("it says %q, %q", r.Text, r.Do)
			}
		}
	}
}
