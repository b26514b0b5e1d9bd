package redisstore

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// parse reads the options of store redis. They begin at line 2.
func parse(options string) (*Store, error) {
	tokens, err := caddyfile.Tokenize([]byte("redis {\n"+options+"\n}\n"), "Caddyfile")
	if err != nil {
		return nil, err
	}
	s := new(Store)
	return s, s.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens))
}

// Options in a Caddyfile become this JSON, and the JSON becomes the same options.
func TestCaddyfile(t *testing.T) {
	for options, want := range map[string]string{
		"address localhost":                       `{"address":["localhost"]}`,
		"address a:1 b [::1]:3\nkey_prefix x/y:":  `{"address":["a:1","b","[::1]:3"],"key_prefix":"x/y:"}`,
		"address unix//run/redis.sock\ndb 3":      `{"address":["unix//run/redis.sock"],"db":3}`,
		"address a\ndb 0\ntls":                    `{"address":["a"],"tls":{}}`,
		"address a\ntls {\n}":                     `{"address":["a"],"tls":{}}`,
		"address a\nusername u\npassword {env.P}": `{"address":["a"],"username":"u","password":"{env.P}"}`,
		"address a\ntls {\nca /ca\ncert /c\nkey {file./k}\nserver_name r.example\n}": `{"address":["a"],` +
			`"tls":{"ca":"/ca","cert":"/c","key":"{file./k}","server_name":"r.example"}}`,
		"address a b\nsentinel mymaster\ndb 2": `{"address":["a","b"],"db":2,"sentinel":{"master":"mymaster"}}`,
		"sentinel {env.M} {\nusername u\npassword p\n}\naddress {env.A}\nkey_prefix {env.X}-": `{"address":["{env.A}"],` +
			`"key_prefix":"{env.X}-","sentinel":{"master":"{env.M}","username":"u","password":"p"}}`,
	} {
		s, err := parse(options)
		if err != nil {
			t.Errorf("%q: %v", options, err)
			continue
		}
		got, err := json.Marshal(s)
		if err != nil || string(got) != want {
			t.Errorf("%q becomes\n%s, %v, want\n%s", options, got, err, want)
		}
		again := new(Store)
		if err := caddy.StrictUnmarshalJSON(got, again); err != nil {
			t.Fatal(err)
		}
		if back, err := json.Marshal(again); err != nil || string(back) != want || again.Validate() != nil {
			t.Errorf("%s comes back as %s, %v, %v", want, back, err, again.Validate())
		}
	}
}

// The error for a mistake names its line, which is marked with "# here", and a remedy.
func TestCaddyfileMistakes(t *testing.T) {
	const (
		noHost = `is no host and port: give such as redis.example.com:6379, [2001:db8::1]:6379 or unix//run/redis/redis.sock`
		isURL  = `is a URL, or holds a user: give host:port alone, and username, password, db and tls as options of their own`
		noPath = `is no absolute path of a Unix socket: write it as unix//run/redis/redis.sock`
		prefix = `store redis: key_prefix is too long, or holds a space, a brace or a character that is not ASCII: ` +
			`give up to 64 characters, such as websms:`
		noValue = ` has no value (a {$VAR} that is not set leaves none): give one, or remove the option`
	)
	type mistake struct{ options, want string }
	cases := []mistake{
		{"port 6379 # here", `store redis: unknown option "port": it knows address, db, key_prefix, password, sentinel, tls, username`},
		{"address a\ntls {\ninsecure # here\n}", `tls: unknown option "insecure": it knows ca, cert, key, server_name`},
		{"address a\nsentinel m {\nmaster m # here\n}", `sentinel: unknown option "master": it knows password, username`},
		{"address a\naddress b # here", "store redis: address stands here and at line 2: keep one of them"},
		{"address # here", "store redis: address" + noValue},
		{"address a\npassword # here", "store redis: password" + noValue},
		{"address a\nkey_prefix \"\" # here", "store redis: key_prefix" + noValue},
		{"address a\nsentinel # here", "store redis: sentinel" + noValue},
		{"address a\npassword a b # here", "store redis: password takes one value: put it in quotes if it holds spaces"},
		{"address a\npassword a { # here\nx\n}", "store redis: password takes no block: remove { … }"},
		{"address a\ntls /ca.pem # here", "store redis: tls: its options stand in a block, { … }, and not on its line"},
		{"address a\nsentinel m s1:26379 # here",
			"store redis: sentinel takes the name of the master alone: " +
				"give the sentinels as address, and their username and password in a block, { … }"},
		{"address a\nsentinel \"my master\" # here",
			"sentinel: master holds a space, a brace or a character that is not ASCII: " +
				"give the name under which the sentinels watch it, such as mymaster"},
		{"address a\nsentinel m {\nusername u # here\n}", "sentinel: username stands without password: add it, such as {env.SENTINEL_PASSWORD}"},
		{"address a\nusername u # here", "store redis: username stands without password: add it, such as {env.REDIS_PASSWORD}"},
		{"address a\ndb -1 # here", `store redis: db is "-1": give the number of a database, from 0`},
		{"address a\ndb one # here", `store redis: db is "one": give the number of a database, from 0`},
		{"address a b\ndb 3 # here\ntls",
			"store redis: db is 3 beside several addresses, which are those of a cluster, and that has only 0: remove it, or give one address"},
		{"address a\ntls {\ncert /c # here\n}", "tls: cert stands without key: add the file with its private key"},
		{"address a\ntls {\nkey /k # here\n}", "tls: key stands without cert: add the file with its certificate"},
		{"address a\ntls {\nserver_name a:1 # here\n}",
			`tls: server_name is "a:1": give the name in the server's certificate, such as redis.example.com`},
		{"address a unix//x # here", "store redis: address has a Unix socket beside others: give the socket alone"},
		{"address unix//x\ntls # here",
			"store redis: tls stands beside the address of a Unix socket, which is always on this machine: remove it"},
		{"address unix//x\nsentinel m # here",
			"store redis: sentinel stands beside the address of a Unix socket: give the sentinels as host:port"},
	}
	for _, value := range []string{"websms{1}:", "{system.hostname}:", "{time.now}", "{env.X", "ä", `"a b"`, strings.Repeat("x", 65)} {
		cases = append(cases, mistake{"address a\nkey_prefix " + value + " # here", prefix})
	}
	for value, want := range map[string]string{
		"redis://u:hunter2@host:6379": isURL, "rediss://host": isURL, "u:hunter2@host": isURL, "host/3": isURL,
		"host:hunter2": noHost, "host:0": noHost, "host:65536": noHost, "host:": noHost, ":6379": noHost, "a:b:c": noHost, "a,b": noHost,
		"{system.hostname}": noHost, "-a": noHost, "[::1": noHost, "hé": noHost, "host:+1": noHost,
		"unix:///run/x": noPath, "unix:/run/x": noPath, "unix/run/x": noPath,
	} {
		cases = append(cases, mistake{"address a " + value + " # here", "store redis: address 2 of 2 " + want})
	}
	for _, c := range cases {
		line := 0
		for i, text := range strings.Split(c.options, "\n") {
			if strings.HasSuffix(text, "# here") {
				line = i + 2
			}
		}
		_, err := parse(c.options)
		if want := c.want + ", at Caddyfile:" + strconv.Itoa(line); err == nil || err.Error() != want {
			t.Errorf("%q:\n%v\nwant\n%s", c.options, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error repeats a secret: %v", err)
		}
	}
	for text, want := range map[string]string{
		"redis":                  "store redis: address is missing: say where Redis is, such as localhost:6379, at Caddyfile:1",
		"redis {\ntls\n}":        "store redis: address is missing: say where Redis is, such as localhost:6379, at Caddyfile:1",
		"redis localhost:6379":   "store redis: its options stand in a block, { … }, and not on its line, at Caddyfile:1",
		"redis redis://:hunter2": "store redis: its options stand in a block, { … }, and not on its line, at Caddyfile:1",
	} {
		tokens, err := caddyfile.Tokenize([]byte(text), "Caddyfile")
		if err != nil {
			t.Fatal(err)
		}
		if err := new(Store).UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// FuzzCaddyfile: options that are accepted are valid, and stay the same through JSON. An
// error names the line of the mistake.
func FuzzCaddyfile(f *testing.F) {
	for _, options := range []string{
		"address localhost:6379 [::1] unix//x {env.X}\ndb 3\nusername u\npassword p\nkey_prefix x:\ntls {\nca x\ncert x\nkey x\nserver_name x\n}",
		"address a\nsentinel m {\nusername u\npassword p\n}\ntls", "address a {\n}", "tls {", "}\n}",
		"key_prefix `{\n}`", "address <<X\n  a\n  X",
		"sentinel m {\n}\naddress {file.x}:1",
	} {
		f.Add(options)
	}
	f.Fuzz(func(t *testing.T, options string) {
		tokens, err := caddyfile.Tokenize([]byte("redis {\n"+options+"\n}\n"), "Fuzzed")
		if err != nil {
			return // Caddy refuses it before we see it
		}
		s := new(Store)
		if err := s.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)); err != nil {
			if _, line, ok := strings.Cut(err.Error(), ", at Fuzzed:"); !ok || line == "" {
				t.Errorf("the error says not where: %v", err)
			}
			return
		}
		written, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		again := new(Store)
		if err := caddy.StrictUnmarshalJSON(written, again); err != nil {
			t.Fatalf("%v in %s", err, written)
		}
		if back, err := json.Marshal(again); err != nil || string(back) != string(written) {
			t.Errorf("%s becomes %s, %v", written, back, err)
		}
		if err := again.Validate(); err != nil {
			t.Errorf("adapts, and does not load: %v", err)
		}
	})
}
