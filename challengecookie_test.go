package websms

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
	for _, a := range []ask{
		{},
		{id: session.NewID(), number: number.Number{E164: "+6421234567", Region: "NZ"}, expires: time.Unix(1, 0), rd: "/"},
		{id: session.NewID(), number: number.Number{E164: "+6421234567", Region: "NZ"}, decoy: true, rd: "/" + strings.Repeat("\u00e9", 999)},
	} {
		sealed, err := a.seal(ring, "realm")
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) > 4096-len(hostPrefix+"websms_session_challenge; Path=/; Max-Age=900; HttpOnly; Secure; SameSite=Lax") {
			t.Errorf("a cookie of %d bytes is more than browsers keep", len(sealed))
		}
		got, ok := openAsk(ring, "realm", sealed)
		if !ok || got.id != a.id || got.number != a.number || got.decoy != a.decoy || got.rd != a.rd || got.expires.Unix() != a.expires.Unix() {
			t.Errorf("%+v comes back as %+v", a, got)
		}
		if _, ok := openAsk(ring, "other", sealed); ok {
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
	f.Add([]byte{askVersion}, "AAAA")
	f.Add(append([]byte{askVersion, 1}, make([]byte, 30)...), strings.Repeat("A", 100))
	f.Add(append([]byte{askVersion, 0}, make([]byte, 29)...), "%")
	f.Add(append([]byte{askFields, 0}, make([]byte, 32)...), "%")
	f.Add(append([]byte{askFields, 3}, session.AppendField(make([]byte, 32), 200, "newer")...), "%")
	f.Add(append([]byte{askFields, 3}, append(make([]byte, 32), 200, 0, 9)...), "%")
	f.Fuzz(func(t *testing.T, plain []byte, cookie string) {
		if _, ok := openAsk(ring, "realm", cookie); ok {
			t.Fatalf("a forgery opens: %q", cookie)
		}
		sealed, err := ring.Seal(session.ForChallenge, "realm", plain)
		if err != nil {
			return // longer than a cookie
		}
		a, ok := openAsk(ring, "realm", sealed)
		if !ok {
			return
		}
		again, err := a.seal(ring, "realm")
		if err != nil {
			t.Fatal(err)
		}
		if b, ok := openAsk(ring, "realm", again); !ok || a != b {
			t.Fatalf("%+v comes back as %+v", a, b)
		}
	})
}
