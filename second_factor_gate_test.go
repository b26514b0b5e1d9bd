package websms_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/testca"
)

// A person with a password sees a masked number and a button, answers the code
// and reaches the application, which learns the user and the number.
func TestSecondFactorWithBasicAuth(t *testing.T) {
	file := harness.PhoneFile(t, "user,number", "# staff", "alice, 021 234 567", "bob,"+harness.BobPhone)
	w := harness.Start(t, harness.Setup{Front: harness.Passwords, Gate: harness.WithDirectory(file)})
	b := w.Browser()
	harness.WantStatus(t, "without a password", b.Get("/timesheet", harness.Page), http.StatusUnauthorized)
	harness.WantStatus(t, "without a password, the gate's own page", b.Get("/.websms/login", harness.Page), http.StatusUnauthorized)
	b.As("alice")
	a := b.Get("/timesheet?week=47", harness.Page)
	if a.StatusCode != http.StatusFound || a.Header.Get("Location") != "/.websms/login?rd=%2Ftimesheet%3Fweek%3D47" {
		t.Fatalf("with a password alone: %s to %s", a.Status, a.Header.Get("Location"))
	}
	a = b.Get(a.Header.Get("Location"), harness.Page)
	if !strings.Contains(a.Text, "+64•••567") || strings.Contains(a.Text, `name="phone"`) {
		t.Errorf("the page does not name the masked number, or asks for another: %s", a.Text)
	}
	if a := b.Get("/.websms/login", harness.API); a.JSON("mode") != "second_factor" || a.JSON("masked") != "+64•••567" {
		t.Errorf("for programs: %s", a.Text)
	}
	a = b.Post("/.websms/send", []string{"rd", "/timesheet?week=47"}, harness.Page)
	if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/.websms/verify" {
		t.Fatalf("send: %s to %s", a.Status, a.Header.Get("Location"))
	}
	if a = b.Get("/.websms/verify", harness.Page); strings.Contains(a.Text, "another number") {
		t.Error("the code page offers another number")
	}
	a = b.Post("/.websms/verify", []string{"code", w.CodeFor(harness.AlicePhone, 1)}, harness.Page)
	if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/timesheet?week=47" {
		t.Fatalf("verify: %s to %s", a.Status, a.Header.Get("Location"))
	}
	forged := harness.With("X-Verified-User", "bob", "X_verified_user", "bob")
	harness.WantStatus(t, "the app", b.Get("/timesheet?week=47", harness.Page, forged), http.StatusOK)
	seen := w.App.Seen()
	if len(seen) != 1 {
		t.Fatalf("the app saw %d requests; want 1", len(seen))
	}
	h := seen[0].Header
	if h.Get("X-Verified-User") != "alice" || h.Get("X-Verified-Number") != harness.AlicePhone ||
		len(h["X-Verified-User"]) != 1 || h["X_verified_user"] != nil {
		t.Errorf("the app was told %v", h)
	}
	for _, line := range w.Logged("websms.audit") {
		if line["user"] != "alice" {
			t.Errorf("the audit log has %v", line)
		}
	}
	w.WantNoSecrets()
}

// Alice's session and challenge work for no other user in the same browser.
// Nobody can choose the number.
func TestSecondFactorIsBoundToUser(t *testing.T) {
	file := harness.PhoneFile(t, "alice,"+harness.AlicePhone, "bob,"+harness.BobPhone)
	w := harness.Start(t, harness.Setup{Front: harness.Passwords, Gate: harness.WithDirectory(file)})
	b := w.Browser()
	b.LoginAs("alice", harness.AlicePhone)
	harness.WantStatus(t, "bob with alice's session", b.As("bob").Get("/timesheet", harness.Page), http.StatusFound)
	harness.WantProblem(t, "bob with alice's session, as a program", b.Get("/timesheet", harness.API), http.StatusUnauthorized, "unverified")
	harness.WantStatus(t, "bob asks for the session", b.Get("/.websms/session", harness.API), http.StatusUnauthorized)
	harness.WantStatus(t, "carol with alice's session", b.As("carol").Get("/timesheet", harness.Page), http.StatusFound)
	harness.WantStatus(t, "alice again", b.As("alice").Get("/timesheet", harness.Page), http.StatusOK)

	b = w.Browser().As("alice")
	code := b.Ask("")
	b.As("bob")
	harness.WantProblem(t, "bob answers alice's challenge", b.AnswerWith(code), http.StatusConflict, "no_challenge")
	harness.WantProblem(t, "bob has alice's code sent again", b.Resend(), http.StatusConflict, "no_challenge")
	harness.WantProblem(t, "bob looks at alice's challenge", b.Get("/.websms/status", harness.API), http.StatusConflict, "no_challenge")
	harness.WantStatus(t, "alice answers it", b.As("alice").AnswerWith(code), http.StatusOK)

	before := len(w.MessagesTo(harness.AlicePhone))
	b = w.Browser().As("alice")
	a := b.Post("/.websms/send", []string{"phone", "+6421999888", "number", "+6421999888", "user", "bob"}, harness.API)
	if a.StatusCode != http.StatusAccepted || a.JSON("masked") != "+64•••567" {
		t.Errorf("alice with another number in the form: %s %s", a.Status, a.Text)
	}
	w.CodeFor(harness.AlicePhone, before+1)
	if n := len(w.MessagesTo("+6421999888")) + len(w.MessagesTo(harness.BobPhone)); n != 0 {
		t.Errorf("%d messages went elsewhere", n)
	}
}

// A user who is removed from the directory is signed out at the next reload, even in the middle of
// a session or a challenge. The same holds for a user with a new number. The other users stay
// signed in.
func TestSecondFactorFollowsDirectory(t *testing.T) {
	file := harness.PhoneFile(t, "alice,"+harness.AlicePhone, "bob,"+harness.BobPhone, "carol,+6421777777")
	w := harness.Start(t, harness.Setup{Front: harness.Passwords, Gate: harness.WithDirectory(file)})
	alice, bob, carol := w.Browser(), w.Browser(), w.Browser()
	alice.LoginAs("alice", harness.AlicePhone)
	bob.LoginAs("bob", harness.BobPhone)
	carol.LoginAs("carol", "+6421777777")
	waiting := w.Browser().As("alice")
	code := waiting.Ask("")
	harness.WriteFile(t, file, "bob,"+harness.BobPhone+"\ncarol,+6421888888\n")
	harness.WantStatus(t, "alice before the reload", alice.Get("/timesheet", harness.Page), http.StatusOK)
	w.Load(harness.WithDirectory(file))
	harness.WantStatus(t, "alice, who is gone", alice.Get("/timesheet", harness.Page), http.StatusFound)
	harness.WantProblem(t, "alice's pending code", waiting.AnswerWith(code), http.StatusForbidden, "no_number")
	harness.WantStatus(t, "carol, with a new number", carol.Get("/timesheet", harness.Page), http.StatusFound)
	harness.WantStatus(t, "bob", bob.Get("/timesheet", harness.Page), http.StatusOK)
	carol.LoginAs("carol", "+6421888888")
}

// The page for a user without a number says where to ask for help. A request without a user never
// passes.
func TestSecondFactorNobody(t *testing.T) {
	file := harness.PhoneFile(t, "alice,"+harness.AlicePhone)
	w := harness.Start(t, harness.Setup{Front: harness.Passwords, Gate: harness.WithDirectory(file)})
	carol := w.Browser().As("carol")
	harness.WantStatus(t, "carol at the app", carol.Get("/timesheet", harness.Page), http.StatusFound)
	for _, path := range []string{"/.websms/login", "/.websms/login?rd=/timesheet"} {
		a := carol.Get(path, harness.Page)
		if a.StatusCode != http.StatusForbidden || !strings.Contains(a.Text, "Ask Acme") {
			t.Errorf("carol at %s: %s %s", path, a.Status, a.Text)
		}
		harness.WantProblem(t, "carol, as a program", carol.Get(path, harness.API), http.StatusForbidden, "no_number")
	}
	harness.WantProblem(t, "carol sends", carol.Request(harness.AlicePhone), http.StatusForbidden, "no_number")
	refused := 0
	for _, line := range w.Logged("websms.audit") {
		if line["event"] == "no_number" && line["user"] == "carol" && line["number"] == "" {
			refused++
		}
	}
	if refused != 5 {
		t.Errorf("the audit log has carol refused %d times; want 5", refused)
	}

	// If the first factor is missing or does not guard the prefix, there is no user.
	besides := strings.Replace(harness.Passwords, "basic_auth", "basic_auth /timesheet*", 1)
	for front, path := range map[string]string{"": "/timesheet", besides: "/other"} {
		text := strings.Replace(w.Config(harness.WithDirectory(file)), harness.Passwords, front, 1)
		if err := harness.LoadCaddyfile(text); err != nil {
			t.Fatal(err)
		}
		w.AwaitReload()
		nobody := w.Browser()
		harness.WantStatus(t, "nobody at the app", nobody.Get(path, harness.Page), http.StatusFound)
		harness.WantProblem(t, "nobody at the form", nobody.Get("/.websms/login", harness.API), http.StatusForbidden, "no_number")
		harness.WantProblem(t, "nobody sends", nobody.Request(harness.AlicePhone), http.StatusForbidden, "no_number")
		harness.WantProblem(t, "nobody verifies", nobody.AnswerWith("123456"), http.StatusForbidden, "no_number")
		harness.WantProblem(t, "nobody has it sent again", nobody.Resend(), http.StatusForbidden, "no_number")
		harness.WantProblem(t, "nobody asks how it goes", nobody.Get("/.websms/status", harness.API), http.StatusForbidden, "no_number")
		if a := nobody.Get("/.websms/login", harness.Page); !strings.Contains(a.Text, "who you are") {
			t.Errorf("for a person: %s", a.Text)
		}
	}
	if n := len(w.Sim.Messages()); n != 0 {
		t.Errorf("%d messages were sent", n)
	}
	if len(w.App.Seen()) != 0 {
		t.Error("the app was reached")
	}
}

// A session of a gate that takes numbers is not valid with second_factor, and the
// other way round.
func TestSecondFactorIsTurnedOn(t *testing.T) {
	file := harness.PhoneFile(t, "alice,"+harness.AlicePhone)
	w := harness.Start(t, harness.Setup{Front: harness.Passwords, Gate: harness.Plenty})
	b := w.Browser().As("alice")
	b.Login(harness.AlicePhone)
	harness.WantStatus(t, "by number", b.Get("/timesheet", harness.Page), http.StatusOK)
	w.Load(harness.WithDirectory(file))
	harness.WantStatus(t, "a second factor is asked for", b.Get("/timesheet", harness.Page), http.StatusFound)
	b.LoginAs("alice", harness.AlicePhone)
	w.Load(harness.Plenty)
	harness.WantStatus(t, "by number again", b.Get("/timesheet", harness.Page), http.StatusFound)
}

// A client certificate names the user by its subject.
func TestSecondFactorWithMutualTLS(t *testing.T) {
	ca := testca.New(t)
	file := harness.PhoneFile(t, `"CN=alice,O=Kowhai Freight",021 234 567`, "bob,"+harness.BobPhone)
	gate := "second_factor {\n user {http.request.tls.client.subject}\n directory " + file + "\n}\n" + harness.Plenty
	s := harness.Setup{HTTPS: true, Gate: gate}
	w := harness.Start(t, s)
	w.TrustCA(ca, s.Gate)

	with := func(subject pkix.Name) *harness.Browser {
		b := w.Browser()
		b.Client.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{ca.Issue(t, x509.Certificate{Subject: subject})}
		return b
	}
	alice := with(pkix.Name{CommonName: "alice", Organization: []string{"Kowhai Freight"}})
	harness.WantStatus(t, "with a certificate alone", alice.Get("/timesheet", harness.Page), http.StatusFound)
	code := alice.Ask("")
	if len(w.MessagesTo(harness.AlicePhone)) != 1 {
		t.Fatal("the code did not go to alice")
	}
	harness.WantStatus(t, "verify", alice.AnswerWith(code), http.StatusOK)
	harness.WantStatus(t, "the app", alice.Get("/timesheet", harness.Page), http.StatusOK)
	if got := w.App.Seen()[0].Header.Get("X-Verified-User"); got != "CN=alice,O=Kowhai Freight" {
		t.Errorf("the app was told %q", got)
	}
	mallory := with(pkix.Name{CommonName: "alice", Organization: []string{"Mallory Ltd"}})
	mallory.Client.Jar = alice.Client.Jar
	harness.WantStatus(t, "another certificate with alice's cookies", mallory.Get("/timesheet", harness.Page), http.StatusFound)
	harness.WantProblem(t, "another certificate", mallory.Request(""), http.StatusForbidden, "no_number")
	none := w.Browser()
	if res, err := none.Client.Get(w.URL + "/timesheet"); err == nil {
		res.Body.Close()
		t.Errorf("no certificate: %s", res.Status)
	}
}
