package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/process"
	"github.com/caddy-websms/websms/redisstore/redistest"
)

// said is the output and the exit code of a command.
type said struct {
	out, err string
	code     int
}

// caddy runs a Caddy command, as an operator does in a shell.
func (s *site) caddy(t *testing.T, stdin string, args ...string) said {
	t.Helper()
	program, err := process.SharedCaddy(root)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	home := filepath.Dir(s.file)
	cmd.Dir, cmd.Stdin = root, strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home)
	var out, failures bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failures
	err = cmd.Run()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return said{out.String(), failures.String(), cmd.ProcessState.ExitCode()}
}

// variant writes the Caddyfile of the site with some texts replaced.
func (s *site) variant(t *testing.T, oldNew ...string) string {
	t.Helper()
	data, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for i := 0; i < len(oldNew); i += 2 {
		if !strings.Contains(text, oldNew[i]) {
			t.Fatalf("the Caddyfile has no %q", oldNew[i])
		}
		text = strings.ReplaceAll(text, oldNew[i], oldNew[i+1])
	}
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// The doctor finds no fault in the demo: each line is ok, and the exit code is 0.
func TestDoctorOfTheDemo(t *testing.T) {
	t.Parallel()
	s := demo(t)
	got := s.caddy(t, "", "websms", "doctor", "--config", s.file)
	for line := range strings.Lines(got.out) {
		if !strings.HasPrefix(line, "✓ ") {
			t.Errorf("it says %s", line)
		}
	}
	if got.code != 0 || strings.Count(got.out, "\n") != 9 {
		t.Errorf("it ends with %d, and says\n%s%s", got.code, got.out, got.err)
	}
	var found []struct{ Check, State, Found, Do string }
	got = s.caddy(t, "", "websms", "doctor", "--config", s.file, "--json")
	err := json.Unmarshal([]byte(got.out), &found)
	if err != nil || len(found) != 9 || found[0].Check != "configuration" || found[0].State != "ok" {
		t.Errorf("as JSON (%v): %s", err, got.out)
	}
}

// withRedis replaces the beginning of the app's options by one with a store redis.
func withRedis(options ...string) []string {
	const app = "\twebsms {\n"
	return []string{app, app + "\t\tstore redis {\n\t\t\t" + strings.Join(options, "\n\t\t\t") + "\n\t\t}\n"}
}

// The doctor names each fault and says how to repair it. It shows no secret.
func TestDoctorFinds(t *testing.T) {
	t.Parallel()
	s := demo(t)
	closed, err := process.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	redis := redistest.Server(t, "--requirepass", "redis-password")
	for name, c := range map[string]struct {
		changes []string
		finds   []string // the beginning of a line, and words in it
	}{
		"a wrong secret": {[]string{"\t\tclient_secret csk_demo\n\t\tbase_url", "\t\tclient_secret csk_wrong\n\t\tbase_url"},
			[]string{"✗ WebSMS:", "credentials are refused"}},
		"no secret": {[]string{"\t\tclient_secret csk_demo\n\t\tbase_url", "\t\tclient_secret {env.NOT_SET_AT_ALL}\n\t\tbase_url"},
			[]string{"✗ credentials:", "NOT_SET_AT_ALL"}},
		"a dead API": {[]string{"base_url " + s.inbox, fmt.Sprintf("base_url http://localhost:%d", closed)},
			[]string{"✗ WebSMS:", "connection refused"}},
		"a dead store": {withRedis(fmt.Sprintf("address localhost:%d", closed)),
			[]string{"✗ store redis:", "connection refused"}},
		"a store's wrong password": {withRedis("address "+redis.Addr(), "password other-password"),
			[]string{"✗ store redis:", "WRONGPASS"}},
		"a store that lives": {withRedis("address "+redis.Addr(), "password redis-password"),
			[]string{"✓ store redis:", "answers"}},
		"a closed webhook": {[]string{s.app, fmt.Sprintf("http://localhost:%d", closed)},
			[]string{fmt.Sprintf("✗ webhook http://localhost:%d/webhook:", closed), "connection refused"}},
		"another webhook secret": {[]string{"\t\tsecret demo-webhook-secret", "\t\tsecret another-webhook-secret"},
			[]string{"✗ webhook " + s.app + "/webhook:", "does not take the secret"}},
		"another path": {[]string{"websms_webhook /webhook", "websms_webhook /hook"},
			[]string{"✗ webhook " + s.app + "/hook:", "is behind the gate"}},
		"a mistake": {[]string{"\t\tlimits {\n", "\t\tlimits {\n\t\t\tper_numbr 3/10m\n"},
			[]string{"✗ configuration:", "per_numbr"}},
		"what is out of range": {[]string{"\tremember 720h", "\tremember 720h\n\t\t\tttl 1s"},
			[]string{"✗ configuration:", "ttl"}},
		"a missing file": {[]string{"\t\tnumbers {\n", "\t\tnumbers {\n\t\t\tallow_file /nowhere/numbers\n"},
			[]string{"✗ configuration:", "/nowhere/numbers"}},
		"short codes": {[]string{"\t\tweb_otp localhost\n", "\t\tweb_otp off\n\t\tcode {\n\t\t\tlength 4\n\t\t}\n"},
			[]string{"! gate:", "shorter than 6"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := s.caddy(t, "", "websms", "doctor", "--address", s.admin, "--config", s.variant(t, c.changes...))
			var line string
			for l := range strings.Lines(got.out) {
				if strings.HasPrefix(l, c.finds[0]) && strings.Contains(l, c.finds[1]) {
					line = l
				}
			}
			if line == "" {
				t.Errorf("no line %q with %q in\n%s%s", c.finds[0], c.finds[1], got.out, got.err)
			}
			want := 0
			if strings.HasPrefix(line, "✗") {
				want = 1
			}
			if got.code != want || strings.Contains(got.out, "✗") != (want == 1) {
				t.Errorf("it ends with %d, and finds\n%s", got.code, got.out)
			}
			for _, secret := range []string{"csk_", "webhook-secret", "redis-password", "other-password"} {
				if strings.Contains(got.out+got.err, secret) {
					t.Errorf("it shows a secret:\n%s%s", got.out, got.err)
				}
			}
		})
	}
}

// visitor is a program that walks through the demo.
type visitor struct {
	t *testing.T
	s *site
	http.Client
}

func (s *site) visitor(t *testing.T) *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	noRedirect := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &visitor{t, s, http.Client{Jar: jar, Timeout: 20 * time.Second, CheckRedirect: noRedirect}}
}

// post posts to an endpoint of the gate and returns the status of the answer.
func (v *visitor) post(endpoint string, fields ...string) int {
	v.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	req, err := http.NewRequestWithContext(v.t.Context(), http.MethodPost, v.s.app+"/.websms/"+endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	return v.status(req)
}

func (v *visitor) get(path string) int {
	v.t.Helper()
	req, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, v.s.app+path, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	return v.status(req)
}

func (v *visitor) status(req *http.Request) int {
	v.t.Helper()
	res, err := v.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}

// want checks the exit code and the output of a command.
func (g said) want(t *testing.T, what string, code int, words ...string) {
	t.Helper()
	if g.code != code {
		t.Errorf("%s ends with %d, want %d:\n%s%s", what, g.code, code, g.out, g.err)
	}
	for _, w := range words {
		if !strings.Contains(g.out+g.err, w) {
			t.Errorf("%s does not say %q:\n%s%s", what, w, g.out, g.err)
		}
	}
}

// An operator helps three people: one is locked out, one has no phone, one has left the company.
func TestCommands(t *testing.T) {
	t.Parallel()
	s := ownDemo(t, "limits {", "limits {\nlockout 3 15m\ncooldown 0s",
		"\t\t# Messages are bound", "\t\tcode {\n\t\t\tattempts 10\n\t\t}\n\t\t# Messages are bound")
	run := func(stdin string, args ...string) said {
		t.Helper()
		return s.caddy(t, stdin, append([]string{"websms"}, append(args, "--address", s.admin)...)...)
	}
	run("", "status").want(t, "status", 0, "memory, answers", "number", "0 of 500/1h", "none held")
	run("", "challenges", "021234901").want(t, "challenges of nobody", 4, "no code is awaited")

	locked := s.visitor(t)
	if status := locked.post("send", "phone", "+6421234901"); status != http.StatusAccepted {
		t.Fatalf("send: %d", status)
	}
	for _, wrong := range []string{"000000", "111111", "222222"} { // one of them is right once in 300,000 runs
		if status := locked.post("verify", "code", wrong); status != http.StatusUnprocessableEntity {
			t.Fatalf("verify: %d", status)
		}
	}
	run("021 234 901\n", "challenges", "-").want(t, "challenges", 0, "7 tries left", "1 of 20/10m")
	if status := s.visitor(t).post("send", "phone", "+6421234901"); status != http.StatusTooManyRequests {
		t.Fatalf("send, while locked: %d", status)
	}
	run("", "unlock", "021234901").want(t, "unlock", 0, "Unlocked")
	run("", "unlock", "021234901").want(t, "unlock again", 4, "no wrong code counts")
	if status := s.visitor(t).post("send", "phone", "+6421234901"); status != http.StatusAccepted {
		t.Fatalf("send, unlocked: %d", status)
	}

	got := run("", "recovery-code", "--number", "021234902")
	got.want(t, "recovery-code", 0, "once", "/.websms/recover")
	code := regexp.MustCompile("[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]").FindString(got.out)
	v := s.visitor(t)
	if status := v.post("recover", "code", code); status != http.StatusOK {
		t.Errorf("recover: %d", status)
	}
	if status := v.get("/timesheet"); status != http.StatusOK {
		t.Errorf("the app: %d", status)
	}
	if status := s.visitor(t).post("recover", "code", code); status != http.StatusUnprocessableEntity {
		t.Errorf("recover again: %d", status)
	}
	run("", "recovery-code", "--user", "bob").want(t, "recovery-code where no user is named", 4, "no gate would take it")
	run("", "revoke", "--number", "+6421234902", "--json").want(t, "revoke", 0, `"revoked": true`)
	if status := v.get("/timesheet"); status == http.StatusOK {
		t.Error("who is revoked is in")
	}

	run("", "unlock").want(t, "no number", 2, "--help")
	run("", "unlock", "--budget", "021234901").want(t, "a number and the budget", 2, "--help")
	run("", "unlock", "12").want(t, "what is no number", 2, "no mobile number")
	run("", "revoke").want(t, "nobody to revoke", 2, "give one of")
	run("", "revoke", "--numbr", "1").want(t, "an unknown flag", 2, "--numbr")
	s.caddy(t, "", "websms", "cure").want(t, "an unknown command", 2, "cure")
	s.caddy(t, "", "websms", "status", "--address", "localhost:1").want(t, "without Caddy", 3, "does not answer")
	s.caddy(t, "", "websms", "status", "--address", strings.TrimPrefix(s.inbox, "http://")).
		want(t, "another server", 3, "is that Caddy's admin endpoint")
	s.caddy(t, "", "websms", "send", "021234903", "--config", s.file).want(t, "send, unasked", 2, "--yes")
	s.caddy(t, "", "websms", "send", "021234903", "--config", s.file, "--yes").want(t, "send", 0, "WebSMS took it", "message MSG")
	var sent struct {
		ID string `json:"message_id"`
	}
	got = s.caddy(t, "", "websms", "send", "021234903", "--config", s.file, "--yes", "--json")
	if json.Unmarshal([]byte(got.out), &sent) != nil || sent.ID == "" {
		t.Errorf("send as JSON: %s", got.out)
	}
	run("", "status").want(t, "status", 0, "2 of 500/1h", "old, until")
	run("", "unlock", "--budget", "--realm", "staff").want(t, "unlock the budget of no gate", 4, "no code counts against a budget")
	run("", "unlock", "--budget").want(t, "unlock the budget", 0, "Unlocked")
	run("", "unlock", "--budget").want(t, "unlock the budget again", 4, "no code counts against a budget")
	run("", "status").want(t, "status of a cleared budget", 0, "0 of 500/1h")
	for _, secret := range []string{"csk_demo", code} {
		if strings.Contains(s.Log(), secret) {
			t.Error("Caddy's log holds a secret or a recovery code")
		}
	}
}
