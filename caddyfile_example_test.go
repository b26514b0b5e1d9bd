package websms

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/testca"
	"github.com/caddy-websms/websms/websmstest"
)

// examplePassword is Alice's password. Its hash is cheap to check.
const (
	examplePassword     = "example-password"
	examplePasswordHash = "$2a$04$q0MskV5JnjKN9D/Xz/Kkseib/aTWAFZiBPZg2YAYVHk5cAqpFh1qa"
)

// readExample returns Caddyfile.example with its folders moved below dir.
func readExample(t *testing.T, dir string) string {
	t.Helper()
	harness.SetAccount(t)
	t.Setenv("ALICE_PASSWORD_HASH", examplePasswordHash)
	data, err := os.ReadFile("Caddyfile.example")
	if err != nil {
		t.Fatal(err)
	}
	harness.WriteFile(t, filepath.Join(dir, "etc", "phones.csv"), "user,number\nalice,021 234 569\n")
	return strings.NewReplacer("/var/log/caddy/", dir+"/log/", "/etc/caddy/", dir+"/etc/").Replace(string(data))
}

func TestExampleIsSound(t *testing.T) {
	dir := t.TempDir()
	text := readExample(t, dir)
	if formatted := string(caddyfile.Format([]byte(text))); formatted != text {
		t.Errorf("caddy fmt would change it to\n%s", formatted)
	}
	config, err := harness.Adapt(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"cid_test", "csk_test", harness.WebhookSecret, examplePasswordHash} {
		if strings.Contains(string(config), secret) {
			t.Errorf("a secret is in the JSON: %s", config)
		}
	}
	if err := harness.Validate(t, config); err != nil {
		t.Error(err)
	}
	harness.WantPool(t, nil)
	for _, name := range []string{"WEBSMS_CLIENT_ID", "WEBSMS_CLIENT_SECRET", "WEBSMS_WEBHOOK_SECRET", "ALICE_PASSWORD_HASH"} {
		t.Run("without "+name, func(t *testing.T) {
			t.Setenv(name, "")
			if err := harness.Validate(t, config); err == nil {
				t.Errorf("it loads without %s", name)
			}
			harness.WantPool(t, nil)
		})
	}
	for _, option := range append(knownOptions(t, "websms_otp"), knownOptions(t, "websms_webhook")...) {
		if !regexp.MustCompile(`(?m)^\t+(# )?` + option + `\b`).MatchString(text) {
			t.Errorf("it does not show %s", option)
		}
	}
}

// The commented-out Redis store of the example has every option, and adapts.
func TestExampleOfRedis(t *testing.T) {
	text := readExample(t, t.TempDir())
	_, shown, found := strings.Cut(text, "\n\t\t# store redis {\n")
	shown, _, ended := strings.Cut(shown, "\n\t\t# }\n")
	if !found || !ended {
		t.Fatal("it shows no store redis")
	}
	shown = strings.ReplaceAll("\n"+shown, "\n\t\t# ", "\n")
	for _, block := range []string{"store redis", "tls", "sentinel"} {
		for _, option := range knownOptions(t, block) {
			if !regexp.MustCompile(`(?m)^\t(# )?\t*` + option + `\b`).MatchString(shown) {
				t.Errorf("it does not show %s of %s", option, block)
			}
		}
	}
	withSentinel := strings.ReplaceAll(shown, "\n\t# sentinel", "\n\tsentinel")
	withSentinel = regexp.MustCompile(`\n\t# (\t(?:username|password) .*|\})`).ReplaceAllString(withSentinel, "\n$1")
	for _, options := range []string{shown, withSentinel} {
		if _, err := harness.Adapt(harness.InApp(harness.In("store redis", options))); err != nil {
			t.Errorf("%v in %s", err, options)
		}
	}
	if shown == withSentinel {
		t.Error("it shows no sentinel")
	}
}

// The example works with other addresses and a simulated WebSMS. The rest of it is unchanged.
func TestExampleWorks(t *testing.T) {
	dir := t.TempDir()
	app, sim := harness.NewLegacyApp(t), websmstest.NewServer(t, websmstest.Options{ClientID: "cid_test", ClientSecret: "csk_test"})
	gate, hooks := harness.FreePort(t), harness.FreePort(t)
	w := &harness.World{T: t, Dir: dir, Sim: sim, App: app, URL: fmt.Sprintf("http://localhost:%d", gate), HookPath: "/websms"}
	text := readExample(t, dir)
	for _, change := range []struct{ from, to string }{
		{"{\n\t# Caddy's own log.", fmt.Sprintf("{\n\tadmin off\n\tpersist_config off\n\tstorage file_system %q\n\n\t# Caddy's own log.", dir)},
		{"\tlog default {\n", fmt.Sprintf("\tlog default {\n\t\tlevel DEBUG\n\t\toutput file %s\n", w.LogFile())},
		{"\nhooks.example.com {\n\tlog {\n", fmt.Sprintf("\nhttp://localhost:%d {\n\tlog {\n\t\toutput file %s/log/access.log\n", hooks, dir)},
		{"\napp.example.com {\n", fmt.Sprintf("\n%s {\n", w.URL)},
		{"https://websms.co.nz/api/connexus\n", sim.URL + "\n"},
		{"\n\treverse_proxy legacy:8080", "\n\treverse_proxy " + strings.TrimPrefix(app.URL, "http://")},
	} {
		if strings.Count(text, change.from) != 1 {
			t.Fatalf("%q is not there once", change.from)
		}
		text = strings.Replace(text, change.from, change.to, 1)
	}
	sim.SetWebhook(fmt.Sprintf("http://localhost:%d/websms?secret=%s", hooks, harness.WebhookSecret), "")
	if err := harness.LoadCaddyfile(text); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	b := w.Browser()
	if a := b.Get("/timesheet", harness.Page); a.StatusCode != http.StatusUnauthorized ||
		!strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Basic") {
		t.Errorf("without a password: %s", a.Status)
	}
	alice := &http.Request{Header: b.Header}
	alice.SetBasicAuth("alice", examplePassword)
	if a := b.Get("/timesheet", harness.Page); a.StatusCode != http.StatusFound {
		t.Errorf("with a password alone: %s", a.Status)
	}
	if a := b.Get("/healthz", harness.Page); a.StatusCode != http.StatusOK {
		t.Errorf("bypass: %s", a.Status)
	}
	b.Login("+6421999999") // the form's number is ignored: the code goes to Alice's
	if a := b.Get("/timesheet", harness.Page); a.StatusCode != http.StatusOK {
		t.Errorf("with both: %s", a.Status)
	}
	if seen := app.Seen(); len(seen) != 2 || seen[1].Header.Get("X-Verified-Number") != "+6421234569" {
		t.Errorf("the app saw %+v", seen)
	} else if user := seen[1].Header.Get("X-Verified-User"); user != "alice" {
		t.Errorf("the app was told of %q", user)
	}
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(dir, "log", name))
		if err != nil && !os.IsNotExist(err) {
			t.Error(err)
		}
		return string(data)
	}
	harness.Eventually(t, "both reports", func() bool { return strings.Count(read("websms-messages.log"), "delivery report") == 2 })
	harness.Eventually(t, "their access log", func() bool { return strings.Count(read("access.log"), `"uri":"/websms"`) == 2 })
	w.HookPath, w.URL = "/websms?secret="+harness.WebhookSecret, fmt.Sprintf("http://localhost:%d", hooks)
	other := w.Browser()
	harness.WantAnswer(t, "a reply",
		harness.PostHook(other, http.MethodPost, w.HookPath, strings.NewReader(`{"type":"mo","body":"STOP"}`), nil),
		http.StatusOK, harness.Acknowledged)
	if a := other.Get("/elsewhere", nil); a.StatusCode != http.StatusNotFound {
		t.Errorf("elsewhere: %s", a.Status)
	}
	if messages := read("websms-messages.log"); !strings.Contains(messages, "STOP") {
		t.Error("the reply is not in the log of messages")
	}
	harness.Eventually(t, "all of the audit log", func() bool { return strings.Count(read("websms-audit.log"), `"event":"`) >= 3 })
	audit, own := read("websms-audit.log"), w.LogText()
	for _, event := range []string{"code_requested", "code_sent", "verified"} {
		if !strings.Contains(audit, `"event":"`+event+`"`) || strings.Contains(own, `"event":"`+event+`"`) {
			t.Errorf("%s is not in the audit log, or in Caddy's own too", event)
		}
	}
	if strings.Contains(own, "STOP") || strings.Contains(audit, "21234569") {
		t.Error("Caddy's own log holds a reply, or the audit log a number")
	}
	for name, log := range map[string]string{"Caddy's": own, "the audit": audit,
		"the message": read("websms-messages.log"), "the access": read("access.log")} {
		if log == "" {
			t.Errorf("%s log is empty", name)
		}
		for _, secret := range []string{"csk_test", harness.WebhookSecret, examplePassword, examplePasswordHash} {
			if strings.Contains(log, secret) {
				t.Errorf("%s log holds a secret", name)
			}
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "log", "websms-messages.log")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the log of messages can be read by others: %v, %v", info.Mode(), err)
	}
}

// The commented-out site of the example works too.
func TestExampleWithCertificates(t *testing.T) {
	text := readExample(t, t.TempDir())
	_, site, found := strings.Cut(text, "\n#\n# partners.example.com {")
	if !found {
		t.Fatal("it shows no site with certificates")
	}
	_, gate, _ := strings.Cut(strings.ReplaceAll(site, "\n# ", "\n"), "websms_otp {")
	gate, _, _ = strings.Cut(gate, "\n\treverse_proxy")
	gate = strings.TrimSuffix(strings.TrimSpace(strings.Replace(gate, `company "Kowhai Freight"`, "", 1)), "}")
	file := harness.PhoneFile(t, "alice@example.com,"+harness.AlicePhone)
	gate = regexp.MustCompile(`/\S+/partners\.csv`).ReplaceAllString(gate, file)

	ca := testca.New(t)
	w := harness.Start(t, harness.Setup{HTTPS: true, Gate: gate})
	w.TrustCA(ca, gate)
	alice := w.Browser()
	alice.Client.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{ca.Issue(t,
		x509.Certificate{Subject: pkix.Name{CommonName: "Alice"}, EmailAddresses: []string{"alice@example.com"}})}
	harness.WantStatus(t, "verify", alice.AnswerWith(alice.Ask("")), http.StatusOK)
	harness.WantStatus(t, "the app", alice.Get("/timesheet", harness.Page), http.StatusOK)
	if got := w.App.Seen()[0].Header.Get("X-Verified-User"); got != "alice@example.com" {
		t.Errorf("the app was told %q", got)
	}
}
