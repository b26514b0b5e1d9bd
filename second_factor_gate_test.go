package websms

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/testca"
)

// Passwords are alice-pass, bob-pass and carol-pass, hashed at the least cost.
const passwords = `basic_auth {
	alice $2a$04$hhdLCcZbZCJfAtAJYhsUY.yYN/OYt8FRNNSuE6I8Buu1KmZAP5sPa
	bob $2a$04$85RPIWqqH/FsU5Q/T9JGLefiv5RtKVmLy4khTtDFZG/UaFntPfQru
	carol $2a$04$k676sb3vystOkYYBzo1GBODelaH5rC365at3G8WTpu4p6wvwQz3Ki
}`

const alicePhone, bobPhone = "+6421234567", "+64271234567"

// directory writes a file of users and numbers, and returns its path.
func directory(t *testing.T, lines ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "phones.csv")
	writeFile(t, name, strings.Join(lines, "\n")+"\n")
	return name
}

func withDirectory(file string) string {
	return "second_factor {\n user {http.auth.user.id}\n directory " + file + "\n}\n" + plenty
}

// as makes the browser sign in to the first factor.
func (b *browser) as(user string) *browser {
	b.header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+user+"-pass")))
	return b
}

// asUser walks from the password to the app.
func (b *browser) asUser(user, e164 string) {
	b.t.Helper()
	b.as(user)
	if code := b.ask(""); len(b.messagesTo(e164)) == 0 || b.messagesTo(e164)[0].Code != code {
		b.t.Fatalf("%s's code went elsewhere", user)
	} else if a := b.answerWith(code); a.StatusCode != http.StatusOK {
		b.t.Fatalf("verify: %s %s", a.Status, a.body)
	}
	wantStatus(b.t, user+" at the app", b.get("/timesheet", page), http.StatusOK)
}

// The whole walk of a person with a password: a masked number and a button, a
// code, the app, which learns who it is.
func TestSecondFactorWithBasicAuth(t *testing.T) {
	file := directory(t, "user,number", "# staff", "alice, 021 234 567", "bob,"+bobPhone)
	w := start(t, setup{front: passwords, gate: withDirectory(file)})
	b := w.browser()
	wantStatus(t, "without a password", b.get("/timesheet", page), http.StatusUnauthorized)
	wantStatus(t, "without a password, the gate's own page", b.get("/.websms/login", page), http.StatusUnauthorized)
	b.as("alice")
	a := b.get("/timesheet?week=47", page)
	if a.StatusCode != http.StatusFound || a.Header.Get("Location") != "/.websms/login?rd=%2Ftimesheet%3Fweek%3D47" {
		t.Fatalf("with a password alone: %s to %s", a.Status, a.Header.Get("Location"))
	}
	a = b.get(a.Header.Get("Location"), page)
	if !strings.Contains(a.body, "+64•••567") || strings.Contains(a.body, `name="phone"`) {
		t.Errorf("the page does not name the masked number, or asks for another: %s", a.body)
	}
	if a := b.get("/.websms/login", api); a.json("mode") != "second_factor" || a.json("masked") != "+64•••567" {
		t.Errorf("for programs: %s", a.body)
	}
	a = b.post("/.websms/send", []string{"rd", "/timesheet?week=47"}, page)
	if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/.websms/verify" {
		t.Fatalf("send: %s to %s", a.Status, a.Header.Get("Location"))
	}
	if a = b.get("/.websms/verify", page); strings.Contains(a.body, "another number") {
		t.Error("the code page offers another number")
	}
	a = b.post("/.websms/verify", []string{"code", w.codeFor(alicePhone, 1)}, page)
	if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/timesheet?week=47" {
		t.Fatalf("verify: %s to %s", a.Status, a.Header.Get("Location"))
	}
	wantStatus(t, "the app", b.get("/timesheet?week=47", page, with("X-Verified-User", "bob", "X_verified_user", "bob")), http.StatusOK)
	seen := w.app.seen()
	if len(seen) != 1 {
		t.Fatalf("the app saw %d requests; want 1", len(seen))
	}
	if h := seen[0].Header; h.Get("X-Verified-User") != "alice" || h.Get("X-Verified-Number") != alicePhone || len(h["X-Verified-User"]) != 1 || h["X_verified_user"] != nil {
		t.Errorf("the app was told %v", h)
	}
	for _, line := range w.logged("websms.audit") {
		if line["user"] != "alice" {
			t.Errorf("the audit log has %v", line)
		}
	}
	w.wantNoSecrets()
}

// Alice's session, and alice's challenge, are good for nobody else who sits at
// the same browser; and nobody chooses a number.
func TestSecondFactorIsBoundToUser(t *testing.T) {
	file := directory(t, "alice,"+alicePhone, "bob,"+bobPhone)
	w := start(t, setup{front: passwords, gate: withDirectory(file)})
	b := w.browser()
	b.asUser("alice", alicePhone)
	wantStatus(t, "bob with alice's session", b.as("bob").get("/timesheet", page), http.StatusFound)
	wantProblem(t, "bob with alice's session, as a program", b.get("/timesheet", api), http.StatusUnauthorized, "unverified")
	wantStatus(t, "bob asks for the session", b.get("/.websms/session", api), http.StatusUnauthorized)
	wantStatus(t, "carol with alice's session", b.as("carol").get("/timesheet", page), http.StatusFound)
	wantStatus(t, "alice again", b.as("alice").get("/timesheet", page), http.StatusOK)

	b = w.browser().as("alice")
	code := b.ask("")
	b.as("bob")
	wantProblem(t, "bob answers alice's challenge", b.answerWith(code), http.StatusConflict, "no_challenge")
	wantProblem(t, "bob has alice's code sent again", b.resend(), http.StatusConflict, "no_challenge")
	wantProblem(t, "bob looks at alice's challenge", b.get("/.websms/status", api), http.StatusConflict, "no_challenge")
	wantStatus(t, "alice answers it", b.as("alice").answerWith(code), http.StatusOK)

	before := len(w.messagesTo(alicePhone))
	b = w.browser().as("alice")
	a := b.post("/.websms/send", []string{"phone", "+6421999888", "number", "+6421999888", "user", "bob"}, api)
	if a.StatusCode != http.StatusAccepted || a.json("masked") != "+64•••567" {
		t.Errorf("alice with another number in the form: %s %s", a.Status, a.body)
	}
	w.codeFor(alicePhone, before+1)
	if n := len(w.messagesTo("+6421999888")) + len(w.messagesTo(bobPhone)); n != 0 {
		t.Errorf("%d messages went elsewhere", n)
	}
}

// Who is taken out of the directory is out at the next reload, in the middle
// of a session or a challenge; so is who has another number now. Others stay.
func TestSecondFactorFollowsDirectory(t *testing.T) {
	file := directory(t, "alice,"+alicePhone, "bob,"+bobPhone, "carol,+6421777777")
	w := start(t, setup{front: passwords, gate: withDirectory(file)})
	alice, bob, carol := w.browser(), w.browser(), w.browser()
	alice.asUser("alice", alicePhone)
	bob.asUser("bob", bobPhone)
	carol.asUser("carol", "+6421777777")
	waiting := w.browser().as("alice")
	code := waiting.ask("")
	writeFile(t, file, "bob,"+bobPhone+"\ncarol,+6421888888\n")
	wantStatus(t, "alice before the reload", alice.get("/timesheet", page), http.StatusOK)
	w.load(withDirectory(file))
	wantStatus(t, "alice, who is gone", alice.get("/timesheet", page), http.StatusFound)
	wantProblem(t, "alice's pending code", waiting.answerWith(code), http.StatusForbidden, "no_number")
	wantStatus(t, "carol, with a new number", carol.get("/timesheet", page), http.StatusFound)
	wantStatus(t, "bob", bob.get("/timesheet", page), http.StatusOK)
	carol.asUser("carol", "+6421888888")
}

// Who has no number is told whom to ask, and who is nobody never passes.
func TestSecondFactorNobody(t *testing.T) {
	file := directory(t, "alice,"+alicePhone)
	w := start(t, setup{front: passwords, gate: withDirectory(file)})
	carol := w.browser().as("carol")
	wantStatus(t, "carol at the app", carol.get("/timesheet", page), http.StatusFound)
	for _, path := range []string{"/.websms/login", "/.websms/login?rd=/timesheet"} {
		a := carol.get(path, page)
		if a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, "Ask Acme") {
			t.Errorf("carol at %s: %s %s", path, a.Status, a.body)
		}
		wantProblem(t, "carol, as a program", carol.get(path, api), http.StatusForbidden, "no_number")
	}
	wantProblem(t, "carol sends", carol.request(alicePhone), http.StatusForbidden, "no_number")
	refused := 0
	for _, line := range w.logged("websms.audit") {
		if line["event"] == "no_number" && line["user"] == "carol" && line["number"] == "" {
			refused++
		}
	}
	if refused != 5 {
		t.Errorf("the audit log has carol refused %d times; want 5", refused)
	}

	// Without the first factor, in front of all or of the prefix, nobody is named.
	for front, path := range map[string]string{"": "/timesheet", strings.Replace(passwords, "basic_auth", "basic_auth /timesheet*", 1): "/other"} {
		text := strings.Replace(w.config(withDirectory(file)), passwords, front, 1)
		if err := loadCaddyfile(text); err != nil {
			t.Fatal(err)
		}
		w.awaitReload()
		nobody := w.browser()
		wantStatus(t, "nobody at the app", nobody.get(path, page), http.StatusFound)
		wantProblem(t, "nobody at the form", nobody.get("/.websms/login", api), http.StatusForbidden, "no_number")
		wantProblem(t, "nobody sends", nobody.request(alicePhone), http.StatusForbidden, "no_number")
		wantProblem(t, "nobody verifies", nobody.answerWith("123456"), http.StatusForbidden, "no_number")
		wantProblem(t, "nobody has it sent again", nobody.resend(), http.StatusForbidden, "no_number")
		wantProblem(t, "nobody asks how it goes", nobody.get("/.websms/status", api), http.StatusForbidden, "no_number")
		if a := nobody.get("/.websms/login", page); !strings.Contains(a.body, "who you are") {
			t.Errorf("for a person: %s", a.body)
		}
	}
	if n := len(w.sim.Messages()); n != 0 {
		t.Errorf("%d messages were sent", n)
	}
	if len(w.app.seen()) != 0 {
		t.Error("the app was reached")
	}
}

// A session of number entry is none where a second factor is asked for, nor
// the other way round.
func TestSecondFactorIsTurnedOn(t *testing.T) {
	file := directory(t, "alice,"+alicePhone)
	w := start(t, setup{front: passwords, gate: plenty})
	b := w.browser().as("alice")
	b.login(alicePhone)
	wantStatus(t, "by number", b.get("/timesheet", page), http.StatusOK)
	w.load(withDirectory(file))
	wantStatus(t, "a second factor is asked for", b.get("/timesheet", page), http.StatusFound)
	b.asUser("alice", alicePhone)
	w.load(plenty)
	wantStatus(t, "by number again", b.get("/timesheet", page), http.StatusFound)
}

// A certificate names the user by its subject, another by its e-mail address.
func TestSecondFactorWithMutualTLS(t *testing.T) {
	ca := testca.New(t)
	file := directory(t, `"CN=alice,O=Kowhai Freight",021 234 567`, "bob,"+bobPhone)
	s := setup{https: true, gate: "second_factor {\n user {http.request.tls.client.subject}\n directory " + file + "\n}\n" + plenty}
	w := start(t, s)
	w.trust(ca, s.gate)

	with := func(subject pkix.Name) *browser {
		b := w.browser()
		b.client.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{ca.Issue(t, x509.Certificate{Subject: subject})}
		return b
	}
	alice := with(pkix.Name{CommonName: "alice", Organization: []string{"Kowhai Freight"}})
	wantStatus(t, "with a certificate alone", alice.get("/timesheet", page), http.StatusFound)
	code := alice.ask("")
	if len(w.messagesTo(alicePhone)) != 1 {
		t.Fatal("the code did not go to alice")
	}
	wantStatus(t, "verify", alice.answerWith(code), http.StatusOK)
	wantStatus(t, "the app", alice.get("/timesheet", page), http.StatusOK)
	if got := w.app.seen()[0].Header.Get("X-Verified-User"); got != "CN=alice,O=Kowhai Freight" {
		t.Errorf("the app was told %q", got)
	}
	mallory := with(pkix.Name{CommonName: "alice", Organization: []string{"Mallory Ltd"}})
	mallory.client.Jar = alice.client.Jar
	wantStatus(t, "another certificate with alice's cookies", mallory.get("/timesheet", page), http.StatusFound)
	wantProblem(t, "another certificate", mallory.request(""), http.StatusForbidden, "no_number")
	none := w.browser()
	if res, err := none.client.Get(w.url + "/timesheet"); err == nil {
		res.Body.Close()
		t.Errorf("no certificate: %s", res.Status)
	}
}

// trust makes the world's site ask for certificates of an authority, as
// Caddyfile.example does.
func (w *world) trust(ca *testca.CA, gateOptions string) {
	w.t.Helper()
	plain := w.config
	w.config = func(options string) string {
		return strings.Replace(plain(options), "tls internal", "tls internal {\n client_auth {\n trust_pool file "+ca.File+"\n}\n}", 1)
	}
	w.load(gateOptions)
}
