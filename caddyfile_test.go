package websms_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-websms/websms/internal/harness"
)

// Each file holds a Caddyfile, a line of dashes, and the JSON that it adapts to. The JSON loads.
func TestCaddyfileAdapts(t *testing.T) {
	harness.SetAccount(t)
	harness.SetCertificates(t)
	files, err := filepath.Glob("testdata/caddyfile/*.txt")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d fixtures, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text, want, ok := bytes.Cut(data, []byte("\n----------\n"))
			if !ok {
				t.Fatal("no line of ten dashes")
			}
			got, err := harness.Adapt(string(text) + "\n")
			if err != nil {
				t.Fatal(err)
			}
			if got, want := harness.Indented(t, got), harness.Indented(t, want); got != want {
				t.Errorf("adapted to\n%s\nwant\n%s", got, want)
			}
			if formatted := caddyfile.Format(append(text, '\n')); string(formatted) != string(text)+"\n" {
				t.Errorf("caddy fmt would make of it\n%s", formatted)
			}
			for _, secret := range []string{"cid_test", "csk_test", "csk_for_tests", harness.WebhookSecret} {
				if bytes.Contains(got, []byte(secret)) {
					t.Errorf("a secret is in the JSON: %s", got)
				}
			}
			var config map[string]map[string]any
			if err := json.Unmarshal(want, &config); err != nil {
				t.Fatal(err)
			}
			if config["apps"]["websms"] == nil { // not every file has an account
				config["apps"]["websms"] = map[string]string{"client_id": "cid", "client_secret": "csk"}
			}
			if err := harness.Validate(t, caddyconfig.JSON(config, nil)); err != nil {
				t.Errorf("the JSON does not load: %v", err)
			}
			harness.WantPool(t, nil)
		})
	}
}

// The error for each mistake names the file and the line, which is marked with "# here". It says
// what to write instead.
func TestCaddyfileMistakes(t *testing.T) {
	t.Setenv("WEBSMS_UNSET", "")
	for _, c := range []struct{ name, text, want string }{
		// unknown
		{"app option", harness.InApp("clientid x # here"),
			`unknown option "clientid": it knows base_url, client_id, client_secret, sandbox, store, timeout`},
		{"gate option", harness.InGate("per_number 3/10m # here"), `unknown option "per_number": it knows bypass, code, comment, company`},
		{"code option", harness.InGate("code {\ndigits 6 # here\n}"), `code: unknown option "digits": it knows attempts, length, source, ttl`},
		{"numbers option", harness.InGate("numbers {\ncountry NZ # here\n}"),
			`numbers: unknown option "country": it knows allow, allow_file, countries`},
		{"session option", harness.InGate("session {\nname x # here\n}"),
			`session: unknown option "name": it knows cookie, domain, idle, remember, ttl`},
		{"limits option", harness.InGate("limits {\nper_day 3 # here\n}"),
			`limits: unknown option "per_day": it knows budget, cooldown, lockout, max_failures, per_ip, per_number`},
		{"headers option", harness.InGate("headers {\nphone X-Phone # here\n}"), `headers: unknown option "phone": it knows number, user`},
		{"webhook option", harness.InHook("token x # here"), `unknown option "token": it knows dedupe, passthrough, secret`},
		{"store option", harness.InApp("store memory {\nsize 5 # here\n}"), `store memory: unknown option "size": it knows capacity`},
		{"store", harness.InApp("store mysql # here"), `store "mysql" is not built into this Caddy, which has: `},
		{"matcher", ":80 {\nwebsms_otp @nobody { # here\ncompany Acme\n}\n}", `unrecognized matcher name: @nobody`},

		// repeated
		{"app twice", "{\nwebsms {\n}\nwebsms { # here\n}\n}", "twice: put all in one block"},
		{"app option twice", harness.InApp("client_id x\ntimeout 5s\nclient_id y # here"),
			"client_id stands here and at line 3: keep one of them"},
		{"gate option twice", harness.InGate("company Acme # here"), "company stands here and at line 3: keep one of them"},
		{"gate block twice", harness.InGate("code {\nlength 6\n}\ncode { # here\nttl 5m\n}"), "code stands here and at line 4: keep one of them"},
		{"code option twice", harness.InGate("code {\nlength 6\nlength 8 # here\n}"), "code: length stands here and at line 5: keep one of them"},
		{"countries twice", harness.InGate("numbers {\ncountries NZ\ncountries AU # here\n}"),
			"countries stands here and at line 5: keep one of them"},
		{"bypass twice", harness.InGate("bypass {\npath /a\n}\nbypass { # here\npath /b\n}"), "bypass stands here and at line 4"},
		{"webhook option twice", harness.InHook("passthrough\npassthrough # here"), "passthrough stands here and at line 4: keep one of them"},

		// missing
		{"company", ":80 {\nwebsms_otp { # here\ncomment x\n}\n}", "company is missing: say who sends the code"},
		{"company and block", ":80 {\nrespond ok\nwebsms_otp # here\n}", "company is missing"},
		{"blank company", ":80 {\nwebsms_otp {\ncompany \" \" # here\n}\n}", "company is missing"},
		{"secret", ":80 {\nwebsms_webhook /hook { # here\ndedupe 1h\n}\n}",
			"secret is missing: without it anybody could post delivery reports; give {env.WEBSMS_WEBHOOK_SECRET}"},
		{"value", harness.InGate("comment # here"), "comment has no value"},
		{"empty value", harness.InGate(`comment "" # here`), "comment has no value"},
		{"unset variable", ":80 {\nwebsms_webhook {\nsecret {$WEBSMS_UNSET} # here\n}\n}",
			"secret has no value (a {$VAR} that is not set leaves none)"},
		{"countries of none", harness.InGate("numbers {\ncountries # here\n}"), "countries has no value"},
		{"rates of none", harness.InGate("limits {\nbudget # here\n}"), "budget has no value: give a count and a time, such as 3/10m"},
		{"store name", harness.InApp("store # here"), "store has no value"},
		{"bypass matchers", harness.InGate("bypass { # here\n}"),
			"bypass holds no matcher, which would let everybody through: give one, or remove the option"},
		{"bypass block", harness.InGate("bypass # here"), "bypass holds no matcher"},

		// too much
		{"app on its line", "{\nwebsms cid_demo { # here\n}\n}", "its options stand in a block, { … }, and not on its line"},
		{"gate on its line", ":80 {\nwebsms_otp Acme # here\n}",
			"its options stand in a block, { … }, and not on its line; a matcher begins with @ or /, or is *"},
		{"webhook on its line", ":80 {\nwebsms_webhook /hook x { # here\n}\n}", "its options stand in a block"},
		{"code on its line", harness.InGate("code 6 # here"), "code: its options stand in a block"},
		{"bypass on its line", harness.InGate("bypass /healthz # here"), "bypass: its matchers stand in a block, { … }, and not on its line"},
		{"store on its line", harness.InApp("store memory 5000 # here"), "store memory: its options stand in a block"},
		{"two words", harness.InGate("comment Never share it # here"), "comment takes one value: put it in quotes if it holds spaces"},
		{"value of a flag", harness.InApp("sandbox off # here"), "sandbox takes no value: to turn it off, remove the option"},
		{"block of a value", harness.InGate("realm staff { # here\nx\n}"), "realm takes no block"},

		// wrong type, or out of range
		{"timeout without unit", harness.InApp("timeout 10 # here"), `timeout is "10": give a duration with its unit, such as 30s`},
		{"timeout too long", harness.InApp("client_id x\ntimeout 90s # here\nsandbox"), "timeout is 1m30s: give 1s to 60s"},
		{"base_url", harness.InApp("base_url websms.co.nz # here"), "base_url needs a scheme and a host: write it like https://"},
		{"capacity of none", harness.InApp("store memory {\ncapacity 0 # here\n}"), `capacity is "0": give a whole number above 0`},
		{"capacity", harness.InApp("store memory {\ncapacity 10000001 # here\n}"), "capacity is 10000001: give 1 to 10000000"},
		{"length in words", harness.InGate("code {\nlength six # here\n}"), `code: length is "six": give a whole number above 0`},
		{"length", harness.InGate("code {\nlength 9 # here\nttl 1m\n}"), "code: length is 9: give 4 to 8 digits"},
		{"length of theirs", harness.InGate("code {\nsource websms\nlength 8 # here\n}"), "length is 8, with source websms"},
		{"code ttl", harness.InGate("code {\nlength 6\nttl 11m # here\n}"), "code: ttl is 11m: give 30s to 10m"},
		{"negative ttl", harness.InGate("code {\nttl -5m # here\n}"), `code: ttl is "-5m": give a duration with its unit`},
		{"attempts", harness.InGate("code {\nattempts 11 # here\n}"), "code: attempts is 11: give 1 to 10"},
		{"source", harness.InGate("code {\nsource remote # here\n}"), `code: source is "remote": give local or websms`},
		{"session ttl", harness.InGate("session {\nttl 721h # here\n}"), "session: ttl is 721h: give 1m to 720h"},
		{"idle", harness.InGate("session {\nidle 1s # here\n}"), "session: idle is 1s: give 10s or more, or 0 to turn it off"},
		{"remember", harness.InGate("session {\nremember 6h # here\nttl 8h\n}"),
			"session: remember is 6h: give the ttl, which is 8h, to 8760h, or remove the option"},
		{"cookie", harness.InGate("session {\ncookie \"my session\" # here\n}"),
			`session: cookie is "my session": give letters, digits, - and _`},
		{"cookie prefix", harness.InGate("session {\ncookie __Host-sid # here\n}"), "no __Host- or __Secure-: it is added where it belongs"},
		{"domain", harness.InGate("session {\ndomain .example.com # here\nidle 0\n}"),
			`session: domain is ".example.com": give a domain in lower case, such as example.com`},
		{"domain as address", harness.InGate("session {\ndomain https://example.com # here\n}"), "without scheme, port or leading dot"},
		{"rate without a time", harness.InGate("limits {\nper_number 3/10m 10 # here\n}"),
			`limits: per_number: rate "10": give a count and a time, such as 3/10m; the count 1 to 10000000, the time 1s to 720h`},
		{"rate of none", harness.InGate("limits {\nbudget 0/1h # here\n}"), `limits: budget: rate "0/1h": give a count and a time`},
		{"cooldown", harness.InGate("limits {\ncooldown 1h # here\n}"), "limits: cooldown is 1h: give 0s to 10m"},
		{"prefix", harness.InGate("prefix login # here"), `prefix is "login": give an absolute path of its own, such as /.websms`},
		{"prefix of all", harness.InGate("prefix / # here"), `prefix is "/": give an absolute path of its own`},
		{"web_otp", harness.InGate("web_otp https://app.example.com # here"),
			"give a bare host name in lower case, such as app.example.com, or off"},
		{"comment", harness.InGate(`comment "` + strings.Repeat("x", 121) + `" # here`),
			"comment is too long, or of several lines: give at most 120 characters on one line"},
		{"country", harness.InGate("numbers {\ncountries NZ Atlantis # here\nallow +6421234567\n}"),
			`numbers: countries has a mistake: "Atlantis" is not a country; give its two-letter ISO 3166 code, such as NZ`},
		{"number", harness.InGate("numbers {\nallow +6421234567\nallow 0211 # here\ncountries NZ\n}"),
			"numbers: allow number 2 of 2: not a mobile number; give one such as +6421234567, of countries, which is NZ"},
		{"header", harness.InGate("headers {\nnumber \"X Phone\" # here\n}"),
			`headers: number is "X Phone": give the name of a request header, such as X-Verified-Number`},
		{"header with a meaning", harness.InGate("headers {\nuser Cookie # here\n}"),
			`headers: user is "Cookie": give the name of a request header`},
		{"same header", harness.InGate("headers {\nnumber X-Who\nuser X_Who # here\n}"),
			"headers: user is the same header as number, to servers that read - and _ alike: give two names"},
		{"header of the other's default", harness.InGate("headers {\nnumber X-Verified-User # here\n}"),
			"headers: number is the same header as user"},
		{"bypass matcher", harness.InGate("bypass {\npath /x\npaths /y # here\nmethod GET\n}"),
			`bypass: "paths" is not a matcher: give one, such as path or remote_ip`},
		{"dedupe", harness.InHook("dedupe 30s # here"), "dedupe is 30s: give 1m to 168h"},
	} {
		t.Run(c.name, func(t *testing.T) {
			line := 0
			for i, text := range strings.Split(c.text, "\n") {
				if strings.HasSuffix(text, "# here") {
					line = i + 1
				}
			}
			_, err := harness.Adapt(c.text)
			if err == nil {
				t.Fatalf("accepted:\n%s", c.text)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\nwant: %s", err, c.want)
			}
			if at := ", at Caddyfile:" + strconv.Itoa(line); !strings.HasSuffix(err.Error(), at) {
				t.Errorf("%v\nwant at the end: %q", err, at)
			}
		})
	}
}

// The error for a mistake in an imported snippet names the line in the snippet and the import.
func TestCaddyfileMistakeImported(t *testing.T) {
	_, err := harness.Adapt("(gate) {\nwebsms_otp {\ncompany Acme\ncode {\nlength 3\n}\n}\n}\n:80 {\nimport gate\n}\n")
	if err == nil || !strings.Contains(err.Error(),
		"length is 3: give 4 to 8 digits, at Caddyfile:5 import chain ['Caddyfile:10 (import gate)']") {
		t.Errorf("the error is %v", err)
	}
}

// An error does not repeat a secret that stands in the wrong place.
func TestCaddyfileMistakesKeepSecrets(t *testing.T) {
	const secret = "csk_9f8e7d"
	for _, text := range []string{
		"{\nwebsms " + secret + "\n}",
		harness.InApp("client_secret csk " + secret),
		harness.InApp("client_secret " + secret + "\nclient_secret " + secret),
		harness.InApp("client_secret " + secret + "\ntimeout 1h"),
		harness.InApp("sandbox " + secret),
		harness.InApp("base_url https://cid:" + secret + "@websms.co.nz"),
		harness.InApp("base_url ://" + secret),
		":80 {\nwebsms_webhook " + secret + "\n}",
		":80 {\nwebsms_webhook /hook " + secret + " {\n}\n}",
		harness.InHook("dedupe 24h " + secret),
		harness.InHook("passthrough " + secret),
		":80 {\nwebsms_webhook {\nsecret two " + secret + "\n}\n}",
		harness.InGate("numbers {\nallow +6421234567 +6131234567\n}"),
	} {
		_, err := harness.Adapt(text)
		if err == nil {
			t.Errorf("accepted: %s", text)
		} else if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "131234567") {
			t.Errorf("the error repeats the secret: %v", err)
		}
	}
}
