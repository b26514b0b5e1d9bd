package websms

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/memorystore"
	"github.com/caddy-websms/websms/redisstore"
)

// documented is one row of docs/caddyfile.md.
type documented struct {
	option, defaultValue, example, jsonPath string
}

// readDocs returns the rows of docs/caddyfile.md by block.
func readDocs(t *testing.T) map[string][]documented {
	t.Helper()
	text, err := os.ReadFile("docs/caddyfile.md")
	if err != nil {
		t.Fatal(err)
	}
	heading, row := regexp.MustCompile("^##+ `(.*)`$"), regexp.MustCompile("^\\| `")
	code := func(cell string) string {
		cell = strings.TrimSpace(cell)
		if inner, ok := strings.CutPrefix(cell, "`"); ok {
			return strings.TrimSuffix(inner, "`")
		}
		return ""
	}
	docs, block := make(map[string][]documented), ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if m := heading.FindStringSubmatch(line); m != nil {
			block = m[1]
		}
		if !row.MatchString(line) {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 6 {
			t.Fatalf("%d cells, want 6: %s", len(cells), line)
		}
		docs[block] = append(docs[block], documented{code(cells[0]), code(cells[1]), code(cells[4]), code(cells[5])})
	}
	return docs
}

// blocks tells for each block how to write options into it, and the Go type of its JSON.
var blocks = map[string]struct {
	wrap func(options string) string
	json any
}{
	"websms":       {harness.InApp, App{}},
	"store memory": {func(o string) string { return harness.InApp(harness.In("store memory", o)) }, memorystore.Store{}},
	"store redis":  {inRedis, redisstore.Store{}},
	"tls": {func(o string) string {
		switch { // these options need each other
		case strings.HasPrefix(o, "cert "):
			o += "\nkey /key.pem"
		case strings.HasPrefix(o, "key "):
			o += "\ncert /cert.pem"
		}
		return inRedis(harness.In("tls", o))
	}, redisstore.Store{}},
	"sentinel": {func(o string) string {
		if strings.HasPrefix(o, "username ") {
			o += "\npassword x"
		}
		return inRedis(harness.In("sentinel mymaster", o))
	}, redisstore.Store{}},
	"websms_otp": {func(o string) string { return harness.In(":80 {\nwebsms_otp", o) + "}" }, Gate{}},
	"code":       {func(o string) string { return harness.InGate(harness.In("code", o)) }, Gate{}},
	"numbers":    {func(o string) string { return harness.InGate(harness.In("numbers", o)) }, Gate{}},
	"second_factor": {func(o string) string {
		if strings.HasPrefix(o, "user ") { // it needs one of the other options
			o += "\nphone {http.auth.user.phone}"
		}
		return harness.InGate(harness.In("second_factor", o))
	}, Gate{}},
	"session":        {func(o string) string { return harness.InGate(harness.In("session", o)) }, Gate{}},
	"limits":         {func(o string) string { return harness.InGate(harness.In("limits", o)) }, Gate{}},
	"headers":        {func(o string) string { return harness.InGate(harness.In("headers", o)) }, Gate{}},
	"websms_webhook": {func(o string) string { return harness.In(":80 {\nwebsms_webhook", o) + "}" }, Webhook{}},
}

// inRedis writes options into the Redis store, together with the options that they need.
func inRedis(options string) string {
	if !strings.HasPrefix(options, "address ") {
		options = "address localhost\n" + options
	}
	if strings.Contains(options, "\nusername ") {
		options += "\npassword x"
	}
	return harness.InApp(harness.In("store redis", options))
}

// knownOptions returns the options that the parser knows in a block.
func knownOptions(t *testing.T, block string) []string {
	t.Helper()
	_, err := harness.Adapt(blocks[block].wrap("what_do_you_know"))
	if err == nil {
		t.Fatalf("%s: an unknown option is accepted", block)
	}
	_, list, _ := strings.Cut(err.Error(), "it knows ")
	list, _, ok := strings.Cut(list, ", at Caddyfile")
	if !ok {
		t.Fatalf("%s: %v", block, err)
	}
	return strings.Split(list, ", ")
}

// The documentation names every option that the parser knows, and no other.
func TestDocsComplete(t *testing.T) {
	docs := readDocs(t)
	if documented, known := slices.Sorted(maps.Keys(docs)), slices.Sorted(maps.Keys(blocks)); !slices.Equal(documented, known) {
		t.Fatalf("documented are the blocks %q, known are %q", documented, known)
	}
	for block, rows := range docs {
		var names []string
		for _, row := range rows {
			names = append(names, row.option)
		}
		slices.Sort(names)
		if known := knownOptions(t, block); !slices.Equal(names, known) {
			t.Errorf("%s: documented are %q, the parser knows %q", block, names, known)
		}
	}
}

// Each option has the JSON path that the documentation gives, and its example is accepted.
func TestDocsExamples(t *testing.T) {
	for block, rows := range readDocs(t) {
		for _, row := range rows {
			if row.example == "" && !strings.Contains("code numbers second_factor session limits bypass headers", row.option) {
				t.Errorf("%s: %s has no example", block, row.option)
				continue
			}
			path := row.jsonPath
			if reflect.TypeOf(blocks[block].json) != reflect.TypeFor[App]() {
				path = strings.TrimPrefix(path, "store.")
			}
			if !hasJSON(reflect.TypeOf(blocks[block].json), path) {
				t.Errorf("%s: %s is not at %q in JSON", block, row.option, row.jsonPath)
			}
			example := row.example
			switch {
			case block == "websms_webhook" && row.option != "secret":
				example = "secret x\n" + example
			case block == "websms_otp" && row.option != "company":
				example = "company Acme\n" + example
			}
			if _, err := harness.Adapt(blocks[block].wrap(example)); err != nil {
				t.Errorf("%s: the example %q: %v", block, row.example, err)
			}
		}
	}
}

// hasJSON reports whether t has a field at a path of JSON names.
func hasJSON(t reflect.Type, path string) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name, rest, more := strings.Cut(path, ".")
	for i := range t.NumField() {
		tag, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if tag == name {
			return !more || hasJSON(t.Field(i).Type, rest)
		}
	}
	return false
}

// Writing out the documented defaults changes nothing.
func TestDocsDefaults(t *testing.T) {
	docs := readDocs(t)
	defaults := func(block string) string {
		options, n := "", 0
		for _, row := range docs[block] {
			if row.defaultValue != "" {
				options += row.option + " " + row.defaultValue + "\n"
				n++
			}
		}
		if n == 0 {
			t.Errorf("%s: no defaults", block)
		}
		return options
	}
	gateOf := func(options string) *Gate {
		g := new(Gate)
		if err := g.UnmarshalCaddyfile(caddyfile.NewTestDispenser(harness.In("websms_otp", "company Acme\n"+options))); err != nil {
			t.Fatal(err)
		}
		return g
	}
	written := defaults("websms_otp")
	for _, block := range []string{"code", "numbers", "session", "limits", "headers"} {
		written += harness.In(block, defaults(block))
	}
	// The defaults of second_factor apply only if the block is there.
	silent := gateOf("second_factor {\nphone {http.auth.user.phone}\n}")
	spoken := gateOf(written + harness.In("second_factor", defaults("second_factor")+"phone {http.auth.user.phone}\n"))
	for name, same := range map[string]bool{
		"policy":    reflect.DeepEqual(silent.challengePolicy(), spoken.challengePolicy()),
		"countries": slices.Equal(silent.Numbers.countries(), spoken.Numbers.countries()),
		"session":   silent.Session.life() == spoken.Session.life(),
		"cookies":   silent.Session.cookies() == spoken.Session.cookies(),
		"headers":   silent.Headers.identity() == spoken.Headers.identity(),
		"user":      silent.SecondFactor.user() == spoken.SecondFactor.user(),
		"prefix":    silent.prefix() == spoken.prefix(),
	} {
		if !same {
			t.Errorf("%s: the defaults are others than documented", name)
		}
	}

	parsed, err := parseApp(caddyfile.NewTestDispenser(harness.In("websms", defaults("websms"))), nil)
	if err != nil {
		t.Fatal(err)
	}
	var app App
	if err := json.Unmarshal(parsed.(httpcaddyfile.App).Value, &app); err != nil {
		t.Fatal(err)
	}
	if app.BaseURL != connexus.DefaultBaseURL || time.Duration(app.Timeout) != connexus.DefaultTimeout ||
		string(app.StoreRaw) != defaultStore {
		t.Errorf("websms: the defaults are others than documented: %+v", app)
	}
	store, hook := new(memorystore.Store), new(Webhook)
	if err := store.UnmarshalCaddyfile(caddyfile.NewTestDispenser(harness.In("memory", defaults("store memory")))); err != nil ||
		store.Capacity != memorystore.DefaultCapacity {
		t.Errorf("store memory: %+v, %v: the default is another than documented", store, err)
	}
	redis := new(redisstore.Store)
	if err := redis.UnmarshalCaddyfile(caddyfile.NewTestDispenser(harness.In("redis",
		"address localhost\n"+defaults("store redis")))); err != nil || redis.DB != 0 || redis.KeyPrefix != redisstore.DefaultKeyPrefix {
		t.Errorf("store redis: %+v, %v: the default is another than documented", redis, err)
	}
	options := "secret x\n" + defaults("websms_webhook")
	if err := hook.UnmarshalCaddyfile(caddyfile.NewTestDispenser(harness.In("websms_webhook", options))); err != nil ||
		hook.Dedupe != defaultDedupe {
		t.Errorf("websms_webhook: %+v, %v: the default is another than documented", hook, err)
	}
}

// Together, the fixtures have each option of each block.
func TestFixtureComplete(t *testing.T) {
	var text []byte
	for _, name := range []string{"all", "second_factor", "store_redis"} {
		more, err := os.ReadFile("testdata/caddyfile/" + name + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, more...)
	}
	for block := range blocks {
		for _, option := range knownOptions(t, block) {
			if !regexp.MustCompile(`(?m)^\t+` + option + `\b`).Match(text) {
				t.Errorf("the fixtures lack %s of %s", option, block)
			}
		}
	}
}
