package websms_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/websmstest"
)

// The texts hold characters that change how a terminal or an editor shows a line, and behind them
// others that languages and emoji need. strangeUser is a name that a first factor may give, and
// strangeHeader a value that HTTP allows in a header.
const (
	strangeUser   = "al\u202egnp\u202c\u2066\u2069\u200e\u200f\u061c\u2028\u2029\u00ad\u200b\U000e0041 👨\u200d👩 می\u200cخواهم é"
	strangeHeader = strangeUser + "\u0085\u009b31m\ufeff"
	strangeText   = strangeHeader + "\u007f"
)

// escaped returns a text as the log has it.
func escaped(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case !isHarmful(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// isHarmful reports whether no line of a log may hold a character.
func isHarmful(r rune) bool {
	return r != '\u200c' && r != '\u200d' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// inJSON returns a text in JSON.
func inJSON(text string) string {
	q, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(q)
}

// strangeWorld is a world with a user of a strange name, who has the password of alice. It also logs
// with other encoders, to the files.
func strangeWorld(t *testing.T) (w *harness.World, admin string, files []string) {
	dir, global := t.TempDir(), ""
	for name, format := range map[string]string{
		"json": "json", "console": "console", "filtered": "filter {\nwrap console\nfields {\nuser delete\n}\n}",
	} {
		file := filepath.Join(dir, name+".log")
		files = append(files, file)
		global += fmt.Sprintf("log %s {\noutput file %q\nformat %s\n}\n", name, file, format)
	}
	gate := harness.WithDirectory(harness.PhoneFile(t, strangeUser+","+harness.AlicePhone))
	w = harness.Start(t, harness.Setup{
		Global: global, Front: strings.Replace(harness.Passwords, "\talice ", "\t\""+strangeUser+"\" ", 1), Gate: gate,
	})
	return w, harness.StartAdmin(w, gate), append(files, w.LogFile())
}

// A text of a stranger, of WebSMS or of an operator comes into the log with its harmful characters
// escaped, whichever logger and encoder writes it.
func TestLogsEscapeTexts(t *testing.T) {
	w, admin, files := strangeWorld(t)
	q, hook, b := inJSON(strangeText), w.Browser(), w.Browser()
	b.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(strangeUser+":alice-pass")))
	for i, body := range []string{
		fmt.Sprintf(`{"type":"mo","messageId":%[1]s,"from":%[1]s,"to":%[1]s,"body":%[1]s,"encoding":%[1]s,"network":%[1]s}`, q),
		fmt.Sprintf(`{"type":"dlr","messageId":%[1]s,"status":%[1]s,"statusCode":1}`, q),
		fmt.Sprintf(`{"type":%s}`, q),
	} {
		harness.WantAnswer(t, fmt.Sprintf("event %d", i), harness.Deliver(hook, body), http.StatusOK, harness.Acknowledged)
	}
	harness.WantAnswer(t, "no event", harness.PostHook(hook, http.MethodPost, w.HookPath+"?secret="+harness.WebhookSecret,
		strings.NewReader("no event"), http.Header{"Content-Type": {strangeHeader}}), http.StatusBadRequest, harness.InvalidPayload)
	harness.WantProblem(t, "a post of another origin", b.Post("/.websms/send", nil, harness.API, harness.With("Origin", strangeHeader)),
		http.StatusForbidden, "cross_origin")
	for event, fault := range map[string]websmstest.Fault{
		"send_failed": {Status: http.StatusBadRequest, Body: `{"error":"invalid_request","message":` + q + `}`},
		"code_sent":   {Body: `{"status":"success","messageId":` + q + `,"code":"{code}"}`, AcceptAnyway: true},
	} {
		w.Sim.Next(fault)
		harness.WantStatus(t, "send", b.Post("/.websms/send", nil, harness.API), http.StatusAccepted)
		harness.Eventually(t, event, func() bool {
			return slices.ContainsFunc(w.Logged("websms.audit"), func(line map[string]any) bool { return line["event"] == event })
		})
	}
	harness.WantStatus(t, "revoking", harness.AdminPost(t, admin, "/websms/revoke",
		fmt.Sprintf(`{"user":%s,"realm":%s}`, inJSON(strangeUser), q)), http.StatusOK)

	text, header, user := escaped(strangeText), escaped(strangeHeader), escaped(strangeUser)
	origin := "" // a question mark for each byte that no origin has
	for _, c := range []byte(strangeHeader) {
		if c < ' ' || c > '~' {
			c = '?'
		}
		origin += string(c)
	}
	for _, c := range []struct {
		logger string
		want   map[string]any
	}{
		{"websms.mo", map[string]any{"message_id": text, "from": text, "to": text, "body": text, "encoding": text, "network": text}},
		{"websms.dlr", map[string]any{"message_id": text, "status": text}},
		{"websms.webhook", map[string]any{"msg": "unknown webhook type", "type": text}},
		{"websms.webhook", map[string]any{"msg": "webhook refused", "content_type": header}},
		{"http.handlers.websms_otp", map[string]any{"msg": "a form of another origin was refused", "origin": origin}},
		{"websms.audit", map[string]any{"event": "code_requested", "user": user}},
		{"websms.audit", map[string]any{"event": "send_failed", "user": user}},
		{"websms.audit", map[string]any{"event": "code_sent", "user": user, "message_id": text}},
		{"websms.audit", map[string]any{"event": "session_revoked", "user": user, "realm": text}},
	} {
		if !slices.ContainsFunc(w.Logged(c.logger), func(line map[string]any) bool { return holds(line, c.want) }) {
			t.Errorf("%s has no line with %+q", c.logger, c.want)
		}
	}
	for _, file := range files {
		wantHarmless(t, file)
	}
}

// holds reports whether a line of the log has these fields.
func holds(line, fields map[string]any) bool {
	for name, value := range fields {
		if line[name] != value {
			return false
		}
	}
	return true
}

// colour is the text that Caddy itself writes around a level on the console.
var colour = regexp.MustCompile("\x1b\\[[0-9]+m([A-Z]+)\x1b\\[0m")

// wantHarmless checks that a log has lines with escaped texts, and no harmful character.
func wantHarmless(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), `\u202egnp`) {
		t.Errorf("%s has no escaped text", filepath.Base(file))
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(line, "{") { // the console has a tab between the parts of a line
			line = strings.ReplaceAll(colour.ReplaceAllString(line, "$1"), "\t", " ")
		}
		if i := strings.IndexFunc(line, isHarmful); i >= 0 {
			t.Errorf("%s holds %+q: %+q", filepath.Base(file), line[i:min(i+4, len(line))], line)
		}
	}
}

// Every logger of the plugin escapes: none is taken from Caddy without logtext.Escaping.
func TestLoggersEscape(t *testing.T) {
	taken := regexp.MustCompile(`ctx\.Logger\(|ctx\.Slogger\(|caddy\.Log\(|zap\.L\(|zap\.New\w*\(`)
	escaping := regexp.MustCompile(`logtext\.Escaping\((?:ctx\.Logger\(|caddy\.Log\()`)
	// The simulator is a program of its own. The others are programs for developers.
	apart := []string{".git", "bench", "cmd", "internal/harness", "tools", "websmstest"}
	found := 0
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(apart, filepath.ToSlash(path)):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(strings.TrimSpace(line), "//") {
				continue
			}
			loggers := len(taken.FindAllString(line, -1))
			found += loggers
			if loggers != len(escaping.FindAllString(line, -1)) {
				t.Errorf("%s takes a logger without logtext.Escaping: %s", path, strings.TrimSpace(line))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 8 {
		t.Errorf("only %d loggers were found", found)
	}
}
