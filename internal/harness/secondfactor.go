package harness

import (
	"encoding/base64"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/testca"
	"github.com/caddy-websms/websms/number"
)

// Passwords is a first factor: the directive basic_auth with three users. Their
// passwords are alice-pass, bob-pass and carol-pass, hashed at the lowest cost.
const Passwords = `basic_auth {
	alice $2a$04$hhdLCcZbZCJfAtAJYhsUY.yYN/OYt8FRNNSuE6I8Buu1KmZAP5sPa
	bob $2a$04$85RPIWqqH/FsU5Q/T9JGLefiv5RtKVmLy4khTtDFZG/UaFntPfQru
	carol $2a$04$k676sb3vystOkYYBzo1GBODelaH5rC365at3G8WTpu4p6wvwQz3Ki
}`

// The numbers of alice and bob.
const AlicePhone, BobPhone = "+6421234567", "+64271234567"

// PhoneFile writes a CSV file of users and numbers, and returns its path.
func PhoneFile(t *testing.T, lines ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "phones.csv")
	WriteFile(t, name, strings.Join(lines, "\n")+"\n")
	return name
}

// WithDirectory returns the options of a gate that is a second factor to
// Passwords and takes the numbers from the file.
func WithDirectory(file string) string {
	return "second_factor {\n user {http.auth.user.id}\n directory " + file + "\n}\n" + Plenty
}

// As gives the browser the password of a user of Passwords.
func (b *Browser) As(user string) *Browser {
	b.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+user+"-pass")))
	return b
}

// LoginAs takes a user all the way to the application: password, code, page.
// The code must go to the number e164.
func (b *Browser) LoginAs(user, e164 string) {
	b.T.Helper()
	b.As(user)
	if code := b.Ask(""); len(b.MessagesTo(e164)) == 0 || b.MessagesTo(e164)[0].Code != code {
		b.T.Fatalf("%s's code went elsewhere", user)
	} else if a := b.AnswerWith(code); a.StatusCode != http.StatusOK {
		b.T.Fatalf("verify: %s %s", a.Status, a.Text)
	}
	WantStatus(b.T, user+" at the app", b.Get("/timesheet", Page), http.StatusOK)
}

// Numbers returns the policy of a gate that serves these countries, and only
// the listed numbers if there are any.
func Numbers(t testing.TB, countries []string, allow ...string) *number.Policy {
	t.Helper()
	p, err := number.NewPolicy(countries)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range allow {
		if err := p.Allow(n); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// TrustCA loads the site again with client certificates of an authority, as
// Caddyfile.example has it.
func (w *World) TrustCA(ca *testca.CA, gateOptions string) {
	w.T.Helper()
	plain := w.Config
	w.Config = func(options string) string {
		return strings.Replace(plain(options), "tls internal", "tls internal {\n client_auth {\n trust_pool file "+ca.File+"\n}\n}", 1)
	}
	w.Load(gateOptions)
}
