package websms

import (
	"encoding/json"
	"reflect"
	"regexp"
	"testing"

	"github.com/caddy-websms/websms/memorystore"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// placedError matches the end of an error about a Caddyfile: its file and line.
var placedError = regexp.MustCompile(`, at Fuzzed:[1-9][0-9]*$`)

// FuzzCaddyfile puts any text into each of our blocks. Accepted options stay the same through JSON.
// An error names the line of the mistake.
func FuzzCaddyfile(f *testing.F) {
	for _, block := range []string{
		"client_id x\nclient_secret {env.X}\nbase_url http://localhost\ntimeout 5s\nsandbox\nstore memory {\ncapacity 10\n}",
		"company \"Acme Ltd\"\ncomment x\nprefix /login\nrealm r\nweb_otp off\ncode {\nlength 6\nttl 5m\nattempts 3\nsource websms\n}",
		"company Acme\nnumbers {\ncountries NZ AU\nallow +6421234567 021234568\nallow +61412345678\nallow_file x\n}",
		"company Acme\nsession {\nttl 12h\nidle 0\ncookie x\ndomain example.com\nremember 30d\n}\nheaders {\nnumber X-A\nuser X-B\n}",
		"company Acme\nlimits {\nper_number 3/10m 10/24h\nbudget 5/1d\ncooldown 0\n}\nbypass {\npath /x\nnot method GET\n`true`\n}",
		"company Acme\nsecond_factor {\nuser {http.auth.user.id}\nphone {http.auth.user.phone}\n}",
		"company Acme\nsecond_factor {\ndirectory users.csv\n}", "company Acme\nsecond_factor {\ndirectory file users\n}",
		"secret x\ndedupe 1h\npassthrough",
		"capacity 5",
		"code", "code {", "}\n}", "bypass", "company `a\nb`", "company <<X\n  a\n  X\ncode 6", "company a {\n}", "allow \\\n  1", "import x",
	} {
		f.Add(block)
	}
	f.Fuzz(func(t *testing.T, text string) {
		read := func(opening string, into any, unmarshal func(d *caddyfile.Dispenser) error) {
			tokens, err := caddyfile.Tokenize([]byte(opening+" {\n"+text+"\n}\n"), "Fuzzed")
			if err != nil {
				return // Caddy refuses it before we see it
			}
			if err := unmarshal(caddyfile.NewDispenser(tokens)); err != nil {
				if !placedError.MatchString(err.Error()) {
					t.Errorf("%s: the error says not where: %v", opening, err)
				}
				return
			}
			written, err := json.Marshal(into)
			if err != nil {
				t.Fatalf("%s: %v", opening, err)
			}
			again := reflect.New(reflect.TypeOf(into).Elem()).Interface()
			if err := caddy.StrictUnmarshalJSON(written, again); err != nil {
				t.Fatalf("%s: %v in %s", opening, err, written)
			}
			if rewritten, err := json.Marshal(again); err != nil || string(rewritten) != string(written) {
				t.Errorf("%s: %s becomes %s, %v", opening, written, rewritten, err)
			}
			if c, ok := again.(interface{ check() error }); ok {
				if err := c.check(); err != nil {
					t.Errorf("%s: adapts, and does not load: %v", opening, err)
				}
			}
		}
		gate, hook, store, app := new(Gate), new(Webhook), new(memorystore.Store), new(App)
		read("websms_otp", gate, gate.UnmarshalCaddyfile)
		read("websms_webhook", hook, hook.UnmarshalCaddyfile)
		read("memory", store, store.UnmarshalCaddyfile)
		read("websms", app, func(d *caddyfile.Dispenser) error {
			value, err := parseApp(d, nil)
			if err != nil {
				return err
			}
			return json.Unmarshal(value.(httpcaddyfile.App).Value, app)
		})
	})
}
