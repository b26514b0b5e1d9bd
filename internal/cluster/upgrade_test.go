package cluster_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/process"
)

// A format is sealed or stored data that nodes of two versions share during a rolling upgrade, and
// the change that its next version makes.
type format struct {
	name string
	file string // source file, relative to the root
	// edits holds old, new, old, new: the changes of the next version in that file. Each old text
	// must occur there once.
	edits []string
}

// nextField is the field that the next version adds to every cookie, as a literal.
const nextField = `"of the next version"`

// nextFieldSize is the size of that field with its tag and its length.
const nextFieldSize = 3 + len("of the next version")

// deviceEntry is the size that one more number adds to a device cookie.
const deviceEntry = 40

// cookieFormats are the formats of cookies. The next version writes one more field and understands
// it when it reads it. Another list of formats looks the same.
var cookieFormats = []format{
	{"session", "session/session.go", []string{
		`if s.Means != SMS || s.unknown != "" {`, `if true {`,
		`return append(plain, s.unknown...)`, `return append(AppendField(plain, 200, ` + nextField + `), s.unknown...)`,
		"\t\tdefault:\n\t\t\ts.unknown", "\t\tcase 200:\n\t\tdefault:\n\t\t\ts.unknown",
	}},
	{"challenge", "internal/cookies/challenge.go", []string{
		`if c.unknown != "" {`, `if true {`,
		`plain = append(plain, c.unknown...)`, `plain = append(session.AppendField(plain, 200, ` + nextField + `), c.unknown...)`,
		`c.unknown = string(rest)`, knows("c.unknown"),
	}},
	{"device", "internal/cookies/device.go", []string{
		`if d.unknown != "" {`, `if true {`,
		`plain = append(plain, d.unknown...)`, `plain = append(session.AppendField(plain, 200, ` + nextField + `), d.unknown...)`,
		`d.unknown = string(rest)`, knows("d.unknown"),
	}},
}

// storedFormats are the formats of the data in Redis. The next version has a higher number and
// states that this version understands its data.
var storedFormats = []format{
	{"schema of Redis", "redisstore/schema.go", []string{"schemaVersion = 2", "schemaVersion = 3"}},
}

// knows is the code by which the next version takes its own field out of the unknown fields.
func knows(unknown string) string {
	return fmt.Sprintf("%s = string(rest)\n"+
		"if tag, _, size, ok := session.CutField(%[1]s); ok && tag == 200 { %[1]s = %[1]s[size:] }", unknown)
}

// buildNext builds a Caddy with the next version of formats, in the background. It returns a
// function that waits for the path.
func buildNext(t *testing.T, formats []format) (wait func() string) {
	t.Helper()
	dir := t.TempDir()
	var overlay struct{ Replace map[string]string } // see go help build, -overlay
	overlay.Replace = make(map[string]string)
	for _, f := range formats {
		source, err := filepath.Abs(filepath.Join(root, f.file))
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(f.edits); i += 2 {
			if n := strings.Count(string(text), f.edits[i]); n != 1 {
				t.Fatalf("%s: %q stands %d times in %s: say anew how the next version differs", f.name, f.edits[i], n, f.file)
			}
		}
		edited := filepath.Join(dir, strings.ReplaceAll(f.file, "/", "_"))
		if err := os.WriteFile(edited, []byte(strings.NewReplacer(f.edits...).Replace(string(text))), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[source] = edited
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	list, path := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "caddy-next")
	if err := os.WriteFile(list, text, 0o600); err != nil {
		t.Fatal(err)
	}
	built := make(chan error, 1)
	go func() {
		_, err := process.SharedCaddy(root) // builds one after the other, because both share most packages
		if err == nil {
			err = process.BuildCaddy(root, path, "-overlay="+list)
		}
		built <- err
	}()
	return func() string {
		t.Helper()
		if err := <-built; err != nil {
			t.Fatal(err)
		}
		return path
	}
}

// During a rolling upgrade some nodes run this version and some the next. Users stay signed in and
// no code is lost, whichever node gets a request. If a node of this version rewrites a cookie of
// the next version, it keeps the new field.
func TestRollingUpgrade(t *testing.T) {
	need(t)
	next := buildNext(t, slices.Concat(cookieFormats, storedFormats)) // while other tests run
	t.Parallel()
	w := start(t, setup{
		gate: "session {\n idle 30s\n}\nlimits {\n per_ip 1000000/1h\n per_number 100/1h\n budget 1000000/1h\n cooldown 0s\n}",
		next: next(),
	})
	const older, newer = 0, 1
	var people [2]*person // the person at i began the session at node i
	var sizes [2]int      // size of that session, as node i wrote it
	for here := range people {
		there := 1 - here
		kept := func(cookie string, got, want int) {
			t.Helper()
			if here == newer && got != want {
				t.Errorf("%s has %d bytes once the older version has written it again, want %d", cookie, got, want)
			}
		}
		p, number, another := w.person(), freshNumber(), freshNumber()
		people[here] = p

		// A code that was requested here can be resent there.
		p.want(p.at(here).send(number), http.StatusAccepted)
		asked := p.size("websms_session_challenge")
		p.want(p.at(there).resend(), http.StatusAccepted)
		kept("the challenge cookie", p.size("websms_session_challenge"), asked)
		p.want(p.at(here).get("/.websms/status"), http.StatusOK)
		p.want(p.at(here).verify(p.code(number, 2).Code), http.StatusOK)

		// A code that was requested here is right there. A browser that is known here is known
		// there.
		known := p.size("websms_session_device")
		p.want(p.at(here).send(another), http.StatusAccepted)
		p.want(p.at(there).verify(p.code(another, 1).Code), http.StatusOK)
		kept("the device cookie", p.size("websms_session_device"), known+deviceEntry)

		// A session that begins here is valid at both.
		p.want(p.at(here).send(number), http.StatusAccepted)
		p.want(p.at(here).verify(p.code(number, 3).Code), http.StatusOK)
		sizes[here] = p.size("websms_session")
		for _, n := range []int{there, here, there} {
			p.want(p.at(n).get("/"), http.StatusOK)
			if a := p.at(n).get("/.websms/session"); a.field("means") != "sms" {
				t.Errorf("the session is %s", a.body)
			}
		}
	}
	if sizes[newer] != sizes[older]+nextFieldSize {
		t.Errorf("the session of the newer version has %d bytes, that of the older %d: want %d more",
			sizes[newer], sizes[older], nextFieldSize)
	}
	// Each node renews the sessions, also sessions that the other node has renewed.
	for _, n := range []int{older, newer} {
		if n == newer {
			sizes[older] += nextFieldSize
		}
		var before [2]string
		for i, p := range people {
			before[i] = p.value("websms_session")
		}
		eventually(t, "the sessions are renewed", func() bool {
			renewed := 0
			for i, p := range people {
				p.want(p.at(n).get("/"), http.StatusOK)
				if p.value("websms_session") != before[i] {
					renewed++
				}
			}
			return renewed == len(people)
		})
		for i, p := range people {
			if got := p.size("websms_session"); got != sizes[i] {
				t.Errorf("the session that began at node %d has %d bytes once node %d has renewed it, want %d", i, got, n, sizes[i])
			}
			p.want(p.at(1-n).get("/"), http.StatusOK)
		}
	}
	// A session that ends at one node ends at both.
	for i, p := range people {
		copied := p.twin()
		p.want(p.at(i).logout(), http.StatusNoContent)
		for n := range w.nodes {
			eventually(t, "the session is over at both nodes", func() bool {
				return copied.at(n).get("/").StatusCode == http.StatusUnauthorized
			})
		}
	}
}

func (p *person) resend() answer {
	p.t.Helper()
	return p.do("/.websms/resend", url.Values{}, asProgram)
}

// value returns the value of one of the person's cookies.
func (p *person) value(cookie string) string {
	p.t.Helper()
	for _, c := range p.client.Jar.Cookies(mustParse(p.t, p.url)) {
		if c.Name == cookie {
			return c.Value
		}
	}
	p.t.Fatalf("no cookie %s", cookie)
	return ""
}

// size returns the size of a cookie in bytes. Sealing adds the same size to each cookie.
func (p *person) size(cookie string) int {
	p.t.Helper()
	return base64.RawURLEncoding.DecodedLen(len(p.value(cookie)))
}
