package firstfactor

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-websms/websms/directory"
	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/number"
)

var (
	aliceNumber = number.Number{E164: "+6421234567", Region: "NZ"}
	bobNumber   = number.Number{E164: "+6421234568", Region: "NZ"}
)

// people is a directory in memory. It fails while down is set.
type people struct {
	numbers map[string]number.Number
	down    error
}

func (p *people) Open(func(string) (number.Number, error)) error { return p.down }
func (p *people) Number(_ context.Context, user string) (number.Number, error) {
	if p.down != nil {
		return number.Number{}, p.down
	}
	if n, ok := p.numbers[user]; ok {
		return n, nil
	}
	return number.Number{}, directory.ErrNoNumber
}

// second returns a Resolver, its log, and its time, which stands still.
func second(t testing.TB, c Config) (*Resolver, *observer.ObservedLogs, *time.Time) {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	now := time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC)
	c.Logger, c.Now = zap.New(core), func() time.Time { return now }
	if c.User == "" {
		c.User = DefaultUser
	}
	if c.Numbers == nil {
		c.Numbers = harness.Numbers(t, []string{"NZ"})
	}
	return New(c), logs, &now
}

// behind returns a request whose first factor has filled these placeholders.
func behind(set map[string]any) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/timesheet?user=alice&phone=%2B6421234567", nil)
	r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{"user": "alice", "phone": "021 234 567"}))
	repl := caddyhttp.NewTestReplacer(r)
	for key, value := range set {
		repl.Set(key, value)
	}
	return r
}

// lazily is a value of a placeholder that is a fmt.Stringer.
type lazily string

func (l lazily) String() string { return string(l) }

func named(user any) *http.Request { return behind(map[string]any{"http.auth.user.id": user}) }

func TestIdentifyByDirectory(t *testing.T) {
	d := &people{numbers: map[string]number.Number{
		"alice": aliceNumber, "bob": bobNumber, "12": aliceNumber, "": aliceNumber,
		"[alice]": aliceNumber, "true": aliceNumber, "<nil>": aliceNumber,
	}}
	f, _, _ := second(t, Config{Directory: d})
	for _, c := range []struct {
		user any
		want string
		n    number.Number
		err  error
	}{
		{"alice", "alice", aliceNumber, nil},
		{"bob", "bob", bobNumber, nil},
		{12, "12", aliceNumber, nil},
		{lazily("1970-01-01T00:00:00Z"), "1970-01-01T00:00:00Z", number.Number{}, directory.ErrNoNumber},
		{"Alice", "Alice", number.Number{}, directory.ErrNoNumber},
		{"carol", "carol", number.Number{}, directory.ErrNoNumber},
		{"{http.request.uri.query.user}", "{http.request.uri.query.user}", number.Number{}, directory.ErrNoNumber},
		{"{http.vars.user}", "{http.vars.user}", number.Number{}, directory.ErrNoNumber},
		{strings.Repeat("u", 255), strings.Repeat("u", 255), number.Number{}, directory.ErrNoNumber},
		{"", "", number.Number{}, ErrNobody},
		{nil, "", number.Number{}, ErrNobody},
		{" ", "", number.Number{}, ErrNobody},
		{"\u00a0", "", number.Number{}, ErrNobody},
		{" alice", "", number.Number{}, ErrNobody},
		{"alice ", "", number.Number{}, ErrNobody},
		{"alice\t", "", number.Number{}, ErrNobody},
		{"alice\n", "", number.Number{}, ErrNobody},
		{"al\r\nice", "", number.Number{}, ErrNobody},
		{"al\x00ice", "", number.Number{}, ErrNobody},
		{"al\u0085ice", "", number.Number{}, ErrNobody},
		{"al\xffice", "", number.Number{}, ErrNobody},
		{strings.Repeat("u", 256), "", number.Number{}, ErrNobody},
		{errors.New("alice"), "", number.Number{}, ErrNobody},
		{[]string{"alice"}, "", number.Number{}, ErrNobody},
		{map[string]any{"alice": 1}, "", number.Number{}, ErrNobody},
		{true, "", number.Number{}, ErrNobody},
	} {
		r := named(c.user)
		user, n, err := f.Identify(r)
		if user != c.want || n != c.n || !errors.Is(err, c.err) {
			t.Errorf("%#v: %q, %v, %v; want %q, %v, %v", c.user, user, n, err, c.want, c.n, c.err)
		}
		if held := f.Holds(r, user, aliceNumber); held != (c.n == aliceNumber) {
			t.Errorf("%#v: holds alice's number: %v", c.user, held)
		}
	}
	if _, _, err := f.Identify(behind(nil)); !errors.Is(err, ErrNobody) {
		t.Errorf("without a first factor: %v", err)
	}
}

// A session belongs to one user with one number.
func TestHolds(t *testing.T) {
	d := &people{numbers: map[string]number.Number{"alice": aliceNumber, "bob": bobNumber, "carol": aliceNumber}}
	byDirectory, _, _ := second(t, Config{Directory: d})
	byPhone, _, _ := second(t, Config{Phone: "{http.auth.user.phone}"})
	request := func(user string) *http.Request {
		return behind(map[string]any{"http.auth.user.id": user, "http.auth.user.phone": d.numbers[user].E164})
	}
	for _, c := range []struct {
		now, user string
		n         number.Number
		want      bool
	}{
		{"alice", "alice", aliceNumber, true},
		{"bob", "bob", bobNumber, true},
		{"bob", "alice", aliceNumber, false},
		{"bob", "alice", bobNumber, false},
		{"carol", "alice", aliceNumber, false}, // whose number is the same
		{"alice", "alice", bobNumber, false},
		{"alice", "Alice", aliceNumber, false},
		{"alice", "", aliceNumber, false}, // of a session in number mode
		{"", "", number.Number{}, false},
		{"", "alice", aliceNumber, false},
		{"dave", "dave", number.Number{}, false},
		{"alice", "alice", number.Number{E164: aliceNumber.E164, Region: "AU"}, false},
	} {
		for name, f := range map[string]*Resolver{"directory": byDirectory, "phone": byPhone} {
			if got := f.Holds(request(c.now), c.user, c.n); got != c.want {
				t.Errorf("%s: %q is named, and the session is of %q with %v: %v", name, c.now, c.user, c.n, got)
			}
		}
	}
	delete(d.numbers, "alice")
	if byDirectory.Holds(named("alice"), "alice", aliceNumber) {
		t.Error("who is taken out of the directory is still in")
	}
	d.numbers["bob"] = aliceNumber
	if byDirectory.Holds(named("bob"), "bob", bobNumber) {
		t.Error("a session holds with a number that was replaced")
	}
	d.down = errors.New("no connection")
	if byDirectory.Holds(named("carol"), "carol", aliceNumber) {
		t.Error("a session holds while nobody can tell")
	}
	user, _, err := byDirectory.Identify(named("carol"))
	if user != "carol" || !errors.Is(err, d.down) || errors.Is(err, directory.ErrNoNumber) {
		t.Errorf("while the directory is down: %q, %v", user, err)
	}
}

func TestIdentifyByPhone(t *testing.T) {
	f, _, _ := second(t, Config{User: "{http.vars.user}", Phone: "{http.auth.user.phone}", Numbers: harness.Numbers(t, []string{"NZ", "AU"})})
	for _, c := range []struct {
		phone any
		n     number.Number
	}{
		{"+6421234567", aliceNumber}, {"021 234 567", aliceNumber}, {" 0064 21-234-567 ", aliceNumber}, {int64(6421234567), aliceNumber},
		{"0412 345 678", number.Number{E164: "+61412345678", Region: "AU"}},
		{nil, number.Number{}}, {"", number.Number{}}, {" ", number.Number{}}, {"alice", number.Number{}}, {"09 555 1234", number.Number{}},
		{"+1 201 555 0123", number.Number{}}, {"+6421234567,+6421234568", number.Number{}}, {"{http.vars.phone}", number.Number{}},
		{strings.Repeat("0", 1000), number.Number{}}, {[]string{"+6421234567"}, number.Number{}},
	} {
		r := behind(map[string]any{"http.auth.user.phone": c.phone})
		want := error(nil)
		if c.n == (number.Number{}) {
			want = directory.ErrNoNumber
		}
		for range 2 { // the second time as it is remembered
			if user, n, err := f.Identify(r); user != "alice" || n != c.n || !errors.Is(err, want) {
				t.Errorf("%v: %q, %v, %v; want %v", c.phone, user, n, err, c.n)
			}
			if held := f.Holds(r, "alice", aliceNumber); held != (c.n == aliceNumber) {
				t.Errorf("%v: holds alice's number: %v", c.phone, held)
			}
		}
	}
}

// The gate must serve the number today.
func TestIdentifyAllowed(t *testing.T) {
	d := &people{numbers: map[string]number.Number{"alice": aliceNumber, "bob": bobNumber, "zoe": {E164: "+61412345678", Region: "AU"}}}
	policy := harness.Numbers(t, []string{"NZ"}, aliceNumber.E164)
	byDirectory, _, _ := second(t, Config{Directory: d, Numbers: policy})
	byPhone, _, _ := second(t, Config{Phone: "{http.auth.user.phone}", Numbers: policy})
	for user, n := range d.numbers {
		r := behind(map[string]any{"http.auth.user.id": user, "http.auth.user.phone": n.E164})
		for name, f := range map[string]*Resolver{"directory": byDirectory, "phone": byPhone} {
			_, got, err := f.Identify(r)
			if user == "alice" && (err != nil || got != n) ||
				user != "alice" && (!errors.Is(err, directory.ErrNoNumber) || got != (number.Number{})) {
				t.Errorf("%s: %s has %v, %v", name, user, got, err)
			}
			if held := f.Holds(r, user, n); held != (user == "alice") {
				t.Errorf("%s: holds for %s: %v", name, user, held)
			}
		}
	}
}

func certificate(name pkix.Name) *x509.Certificate {
	return &x509.Certificate{
		Raw: []byte(name.String()), Subject: name, SerialNumber: big.NewInt(7),
		EmailAddresses: []string{"alice@example.com"}, URIs: []*url.URL{{Scheme: "urn", Opaque: "alice"}},
	}
}

// A client certificate names a user only if it was verified. Without that it
// names nobody, even if Caddy has a value for the placeholder.
func TestIdentifyByCertificate(t *testing.T) {
	alice := certificate(pkix.Name{CommonName: "alice", Organization: []string{"Example"}})
	verified := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{alice}, VerifiedChains: [][]*x509.Certificate{{alice}}}
	states := map[string]*tls.ConnectionState{
		"no TLS": nil, "no certificate": {}, "unverified": {PeerCertificates: []*x509.Certificate{alice}}, "verified": verified,
	}
	for key, want := range map[string]string{
		"subject": "CN=alice,O=Example", "serial": "7", "san.emails.0": "alice@example.com", "san.uris.0": "urn:alice",
		"fingerprint": fmt.Sprintf("%x", sha256.Sum256(alice.Raw)), "san.emails.1": "", "san.dns_names.0": "", "public_key_sha256": "",
	} {
		c := Config{User: "{http.request.tls.client." + key + "}", Phone: "{http.vars.phone}"}
		if err := CheckUserPlaceholder(c.User); err != nil {
			t.Fatal(err)
		}
		f, logs, _ := second(t, c)
		for state, connection := range states {
			r := behind(nil)
			r.TLS = connection
			user, n, err := f.Identify(r)
			switch {
			case state == "verified" && want != "":
				if user != want || n != aliceNumber || err != nil {
					t.Errorf("%s, %s: %q, %v, %v", key, state, user, n, err)
				}
			default:
				if user != "" || !errors.Is(err, ErrNobody) {
					t.Errorf("%s, %s: %q, %v, want nobody", key, state, user, err)
				}
			}
		}
		if lines := logs.FilterMessageSnippet("a client certificate that was not verified names nobody").All(); len(lines) != 1 {
			t.Errorf("%s: logged %v", key, logs.All())
		}
	}
	// The number may be in the certificate too.
	alice.DNSNames = []string{aliceNumber.E164}
	f, _, _ := second(t, Config{Phone: "{http.request.tls.client.san.dns_names.0}"})
	for state, connection := range states {
		r := named("alice")
		r.TLS = connection
		_, n, err := f.Identify(r)
		if state == "verified" && (n != aliceNumber || err != nil) || state != "verified" && !errors.Is(err, directory.ErrNoNumber) {
			t.Errorf("number of a certificate, %s: %v, %v", state, n, err)
		}
	}
}

// A warning that clients can cause is logged once a minute, and repeats neither
// the number nor the user.
func TestIdentifyComplains(t *testing.T) {
	f, logs, now := second(t, Config{Phone: "{http.auth.user.phone}", Numbers: harness.Numbers(t, []string{"NZ"}, bobNumber.E164)})
	ask := func(phone string) {
		_, _, _ = f.Identify(behind(map[string]any{"http.auth.user.id": "alice", "http.auth.user.phone": phone}))
	}
	var want []string
	for _, c := range []struct{ phone, reason string }{
		{"09 555 1234", "not a mobile number"},
		{"+61412345678", "mobile number of a country that is not served"},
		{"021 234 567", "not an allowed number"},
	} {
		for range 100 {
			ask(c.phone)
		}
		want = append(want, c.reason)
		*now = now.Add(59 * time.Second)
		ask(c.phone)
		*now = now.Add(time.Second)
	}
	for range 10 {
		ask("")
		ask(bobNumber.E164)
	}
	lines := logs.All()
	if len(lines) != len(want) {
		t.Fatalf("logged %d lines, want %d: %v", len(lines), len(want), lines)
	}
	for i, line := range lines {
		fields := fmt.Sprint(line.Message, line.ContextMap())
		if line.Level != zapcore.WarnLevel || !strings.Contains(fields, want[i]) {
			t.Errorf("line %d is %s, want %s", i, fields, want[i])
		}
		for _, secret := range []string{"alice", "555", "412345", "234"} {
			if strings.Contains(fields, secret) {
				t.Errorf("the log holds %q: %s", secret, fields)
			}
		}
	}
}

// Many goroutines may use a Resolver at once. Run it with the race detector.
func TestIdentifyAtOnce(t *testing.T) {
	f, _, _ := second(t, Config{Phone: "{http.auth.user.phone}"})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 300 {
				n := 2000000 + (g*7+i)%50
				user := fmt.Sprintf("user%d", n)
				r := behind(map[string]any{"http.auth.user.id": user, "http.auth.user.phone": fmt.Sprintf("021 %d", n)})
				want := number.Number{E164: fmt.Sprintf("+6421%d", n), Region: "NZ"}
				if got, is, err := f.Identify(r); got != user || is != want || err != nil || !f.Holds(r, user, want) {
					t.Errorf("%s: %q, %v, %v", user, got, is, err)
					return
				}
				_, _, _ = f.Identify(behind(map[string]any{"http.auth.user.id": user, "http.auth.user.phone": "x"}))
			}
		})
	}
	wg.Wait()
}
