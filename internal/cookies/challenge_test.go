package cookies

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/number"
	"github.com/caddy-websms/websms/session"
)

func TestAskRoundTrip(t *testing.T) {
	ring, err := session.NewRing(session.NewKeys(time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []Challenge{
		{},
		{ID: session.NewID(), Number: number.Number{E164: "+6421234567", Region: "NZ"}, Expires: time.Unix(1, 0), ReturnTo: "/"},
		{ID: session.NewID(), Number: number.Number{E164: "+6421234567", Region: "NZ"}, Unlisted: true,
			ReturnTo: "/" + strings.Repeat("\u00e9", 999)},
	} {
		sealed, err := a.seal(ring, "realm")
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) > 4096-len(hostPrefix+"websms_session_challenge; Path=/; Max-Age=900; HttpOnly; Secure; SameSite=Lax") {
			t.Errorf("a cookie of %d bytes is more than browsers keep", len(sealed))
		}
		got, ok := openChallenge(ring, "realm", sealed)
		if !ok || got.ID != a.ID || got.Number != a.Number || got.Unlisted != a.Unlisted || got.ReturnTo != a.ReturnTo ||
			got.Expires.Unix() != a.Expires.Unix() {
			t.Errorf("%+v comes back as %+v", a, got)
		}
		if _, ok := openChallenge(ring, "other", sealed); ok {
			t.Error("it opens in another realm")
		}
	}
}

func FuzzOpenAsk(f *testing.F) {
	ring, err := session.NewRing(session.NewKeys(time.Now()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{}, "")
	f.Add([]byte{challengeVersion}, "AAAA")
	f.Add(append([]byte{challengeVersion, 1}, make([]byte, 30)...), strings.Repeat("A", 100))
	f.Add(append([]byte{challengeVersion, 0}, make([]byte, 29)...), "%")
	f.Add(append([]byte{challengeFields, 0}, make([]byte, 32)...), "%")
	f.Add(append([]byte{challengeFields, 3}, session.AppendField(make([]byte, 32), 200, "newer")...), "%")
	f.Add(append([]byte{challengeFields, 3}, append(make([]byte, 32), 200, 0, 9)...), "%")
	f.Fuzz(func(t *testing.T, plain []byte, cookie string) {
		if _, ok := openChallenge(ring, "realm", cookie); ok {
			t.Fatalf("a forgery opens: %q", cookie)
		}
		sealed, err := ring.Seal(session.ForChallenge, "realm", plain)
		if err != nil {
			return // longer than a cookie
		}
		a, ok := openChallenge(ring, "realm", sealed)
		if !ok {
			return
		}
		again, err := a.seal(ring, "realm")
		if err != nil {
			t.Fatal(err)
		}
		if b, ok := openChallenge(ring, "realm", again); !ok || a != b {
			t.Fatalf("%+v comes back as %+v", a, b)
		}
	})
}
