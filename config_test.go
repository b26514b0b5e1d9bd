package websms_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/caddy-websms/websms"
	"github.com/caddy-websms/websms/internal/harness"
)

func appJSON(options string) []byte {
	return fmt.Appendf(nil, `{"apps":{"websms":%s}}`, options)
}

// JSON with a misspelt field is refused, as in a Caddyfile.
func TestJSONUnknownFields(t *testing.T) {
	const gate, hook = "websms_otp", "websms_webhook"
	for _, c := range []struct {
		config []byte
		field  string
	}{
		{appJSON(`{"clientid":"x"}`), "clientid"},
		{appJSON(`{"store":{"module":"memory","size":1}}`), "size"},
		{harness.HandlerJSON(t, gate, `{"company":"A","compny":"A"}`), "compny"},
		{harness.HandlerJSON(t, gate, `{"company":"A","code":{"lenght":6}}`), "lenght"},
		{harness.HandlerJSON(t, gate, `{"company":"A","numbers":{"country":"NZ"}}`), "country"},
		{harness.HandlerJSON(t, gate, `{"company":"A","session":{"name":"x"}}`), "name"},
		{harness.HandlerJSON(t, gate, `{"company":"A","limits":{"per_day":[]}}`), "per_day"},
		{harness.HandlerJSON(t, gate, `{"company":"A","headers":{"phone":"x"}}`), "phone"},
		{harness.HandlerJSON(t, hook, `{"secret":"x","pass":true}`), "pass"},
	} {
		if err := harness.Validate(t, c.config); err == nil || !strings.Contains(err.Error(), `unknown field "`+c.field+`"`) {
			t.Errorf("%s: %v", c.config, err)
		}
	}
	harness.WantPool(t, nil)
}

// Each range is checked at both ends, in JSON.
func TestJSONRanges(t *testing.T) {
	gate := func(options string) func() []byte {
		return func() []byte { return harness.HandlerJSON(t, "websms_otp", `{"company":"A",`+options+`}`) }
	}
	hook := func(options string) func() []byte {
		return func() []byte { return harness.HandlerJSON(t, "websms_webhook", `{"secret":"x",`+options+`}`) }
	}
	app := func(options string) func() []byte {
		return func() []byte { return appJSON(`{` + options + `}`) }
	}
	for _, c := range []struct {
		within  func(string) func() []byte
		option  string // %s is the value
		good    []string
		refused []string
		want    string
	}{
		{app, `"timeout":%s`, []string{`"1s"`, `"60s"`, `10000000000`}, []string{`"999ms"`, `"61s"`, `-1`}, "give 1s to 60s"},
		{app, `"store":{"module":"memory","capacity":%s}`, []string{`1`, `100000`}, []string{`-1`, `10000001`}, "give 1 to 10000000"},
		{gate, `"code":{"length":%s}`, []string{`4`, `8`}, []string{`3`, `9`, `-6`}, "give 4 to 8 digits"},
		{gate, `"code":{"ttl":%s}`, []string{`"30s"`, `"10m"`}, []string{`"29s"`, `"10m1s"`, `-1`}, "give 30s to 10m"},
		{gate, `"code":{"attempts":%s}`, []string{`1`, `10`}, []string{`-1`, `11`}, "give 1 to 10"},
		{gate, `"code":{"source":%s}`, []string{`"local"`, `"websms"`}, []string{`"LOCAL"`}, "give local or websms"},
		{gate, `"session":{"ttl":%s}`, []string{`"1m"`, `"720h"`}, []string{`"59s"`, `"721h"`, `-1`}, "give 1m to 720h"},
		{gate, `"session":{"idle":%s}`, []string{`"10s"`, `0`, `"9000h"`}, []string{`"9s"`, `-1`}, "give 10s or more"},
		{gate, `"session":{"remember":%s}`, []string{`"12h"`, `"8760h"`}, []string{`"11h"`, `"8761h"`, `-1`}, "to 8760h"},
		{gate, `"session":{"cookie":%s}`, []string{`"a"`, `"A-b_9"`},
			[]string{`"a b"`, `"a;b"`, `"a=b"`, `"__Secure-a"`, `"å"`}, "give letters, digits"},
		{gate, `"session":{"domain":%s}`, []string{`"example.com"`, `"a.b.example.com"`},
			[]string{`".a.com"`, `"A.com"`, `"a.com:80"`, `"a..com"`, `"a.com."`, `"-a.com"`}, "give a domain"},
		{gate, `"limits":{"cooldown":%s}`, []string{`0`, `"10m"`}, []string{`"601s"`, `-1`}, "give 0s to 10m"},
		{gate, `"limits":{"budget":[%s]}`, []string{`"1/1s"`, `"10000000/720h"`, `"5/30d"`},
			[]string{`"0/1h"`, `"-1/1h"`, `"10000001/1h"`, `"1/999ms"`, `"1/721h"`, `"1"`, `"1/"`, `"/1h"`, `"1/2/3"`, `"one/1h"`, `""`},
			"give a count and a time"},
		{gate, `"headers":{"number":%s}`, []string{`"X-A"`, `"remote-user"`},
			[]string{`"X A"`, `"X:A"`, `"Cookie"`, `"host"`, `"TRANSFER-ENCODING"`, `"é"`}, "give the name of a request header"},
		{gate, `"headers":{"user":%s}`, []string{`"X-A"`}, []string{`"X_Verified_Number"`, `"x-verified.number"`},
			"is the same header as number"},
		{gate, `"prefix":%s`, []string{`"/a"`, `"/a/b.c"`, `"/~x"`},
			[]string{`"a"`, `"/"`, `"/a/"`, `"/a//b"`, `"/a/../b"`, `"/a b"`, `"/a?b"`, `"/a%20"`, `"/*"`, `"/{x}"`}, "give an absolute path"},
		{gate, `"web_otp":%s`, []string{`"off"`, `"localhost"`, `"a.example.com"`},
			[]string{`"https://a"`, `"a:80"`, `"A.com"`, `"a b"`, `"*.a.com"`}, "give a bare host name"},
		{gate, `"realm":%s`, []string{`"a"`, `"` + strings.Repeat("ā", 120) + `"`},
			[]string{`"a\nb"`, `"a\u0000"`, `"\u0085"`, `"` + strings.Repeat("ā", 121) + `"`}, "give at most 120 characters on one line"},
		{gate, `"numbers":{"countries":[%s]}`, []string{`"NZ"`, `"nz","AU"`},
			[]string{`"New Zealand"`, `""`, `"NZ","XX"`, `"ZZ"`, `"001"`}, "is not a country"},
		{gate, `"numbers":{"allow":[%s]}`, []string{`"+6421234567"`, `"021 234 567"`},
			[]string{`"+6421234567","0800"`, `""`, `"abc"`, `"+61412345678"`}, "give one such as +6421234567"},
		{hook, `"dedupe":%s`, []string{`"1m"`, `"168h"`}, []string{`"59s"`, `"169h"`, `-1`}, "give 1m to 168h"},
	} {
		for _, value := range c.good {
			if err := harness.Validate(t, c.within(fmt.Sprintf(c.option, value))()); err != nil {
				t.Errorf(c.option+": %v", value, err)
			}
		}
		for _, value := range c.refused {
			if err := harness.Validate(t, c.within(fmt.Sprintf(c.option, value))()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf(c.option+": %v, want %s", value, err, c.want)
			}
		}
	}
	harness.WantPool(t, nil)
}

// The fixture with every option stays the same through our structs. Durations may be text.
func TestJSONRoundTrip(t *testing.T) {
	data, err := os.ReadFile("testdata/caddyfile/all.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, data, _ = bytes.Cut(data, []byte("\n----------\n"))
	var config struct {
		Apps struct {
			WebSMS json.RawMessage
			HTTP   struct {
				Servers map[string]struct {
					Routes []struct{ Handle []json.RawMessage }
				}
			}
		}
	}
	if err := json.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	handlers := config.Apps.HTTP.Servers["srv0"].Routes[0].Handle
	for i, c := range []struct {
		data json.RawMessage
		into any
	}{{config.Apps.WebSMS, new(websms.App)}, {handlers[0], new(websms.Webhook)}, {handlers[1], new(websms.Gate)}} {
		want := make(map[string]any)
		if err := json.Unmarshal(c.data, &want); err != nil {
			t.Fatal(err)
		}
		delete(want, "handler")
		if err := caddy.StrictUnmarshalJSON(caddyconfig.JSON(want, nil), c.into); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		got := caddyconfig.JSON(c.into, nil)
		if got, want := harness.Indented(t, got), harness.Indented(t, caddyconfig.JSON(want, nil)); got != want {
			t.Errorf("%d: becomes\n%s, want\n%s", i, got, want)
		}
	}
	var g websms.Gate
	text := `{"code":{"ttl":"4m"},"session":{"ttl":"1d","idle":"0s","remember":"30d"},"limits":{"cooldown":"90s","budget":["5/1d"]}}`
	if err := caddy.StrictUnmarshalJSON([]byte(text), &g); err != nil {
		t.Fatal(err)
	}
	got := []time.Duration{time.Duration(g.Code.TTL), time.Duration(g.Session.TTL), time.Duration(*g.Session.Idle),
		time.Duration(g.Session.Remember), time.Duration(*g.Limits.Cooldown), g.Limits.Budget[0].Window}
	want := []time.Duration{4 * time.Minute, 24 * time.Hour, 0, 720 * time.Hour, 90 * time.Second, 24 * time.Hour}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("durations are %v, want %v", got, want)
	}
}

// Codes that are shorter, and sessions that are longer, than the standards ask for are allowed but
// logged as a warning. So is an empty list of numbers.
func TestWarnings(t *testing.T) {
	empty := t.TempDir() + "/none"
	harness.WriteFile(t, empty, "# nobody yet\n")
	w := harness.Start(t, harness.Setup{})
	for options, want := range map[string]string{
		"code {\nlength 5\n}":                    "codes are shorter than 6 digits, which NIST SP 800-63B asks for",
		"session {\nttl 25h\n}":                  "sessions last longer than 24h, which NIST SP 800-63B allows at AAL2",
		"numbers {\nallow_file " + empty + "\n}": "the list of allowed numbers is empty: nobody will get a code",
	} {
		before := len(w.Logged("http.handlers.websms_otp"))
		w.Load(options)
		lines := w.Logged("http.handlers.websms_otp")[before:]
		if len(lines) != 1 || lines[0]["level"] != "warn" || lines[0]["msg"] != want {
			t.Errorf("%s: logged is %v, want a warning %q", options, lines, want)
		}
	}
}
