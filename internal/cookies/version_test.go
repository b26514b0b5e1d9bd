package cookies

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/internal/clock"
	"github.com/caddy-websms/websms/number"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

func newTestRing(tb testing.TB) *session.Ring {
	tb.Helper()
	ring, err := session.NewRing(session.NewKeys(clock.Now()))
	if err != nil {
		tb.Fatal(err)
	}
	return ring
}

// Cookies that were sealed before there were fields stay good. The file was
// written by the last version that knew none.
func TestCookiesOfBefore(t *testing.T) {
	text, err := os.ReadFile("testdata/cookies_v2.json")
	if err != nil {
		t.Fatal(err)
	}
	var before struct {
		Keys       session.Keys
		Realm      string
		Challenges []struct {
			Cookie, ID, Number, Region, User, RD string
			Guarded, Decoy                       bool
			Expires                              time.Time
		}
		Devices []struct {
			Cookie  string
			Numbers []struct {
				Digest, ID string
				At         time.Time
			}
		}
	}
	if err := json.Unmarshal(text, &before); err != nil || len(before.Challenges) == 0 || len(before.Devices) == 0 {
		t.Fatal(len(before.Challenges), len(before.Devices), err)
	}
	ring, err := session.NewRing(before.Keys)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range before.Challenges {
		id, _ := session.ParseID(c.ID)
		want := Challenge{
			ID: otp.ID(id), Number: number.Number{E164: c.Number, Region: c.Region}, User: c.User,
			Restricted: c.Guarded, Unlisted: c.Decoy, Expires: c.Expires.Local(), ReturnTo: c.RD,
		}
		if got, ok := openChallenge(ring, before.Realm, c.Cookie); !ok || got != want {
			t.Errorf("challenge %d: got %+v, %t; want %+v", i, got, ok, want)
		}
	}
	for i, c := range before.Devices {
		var want device
		for _, n := range c.Numbers {
			digest, _ := hex.DecodeString(n.Digest)
			id, _ := session.ParseID(n.ID)
			want.verified = append(want.verified, verifiedNumber{string(digest), id, n.At.Local()})
		}
		if got, ok := openDevice(ring, before.Realm, c.Cookie); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("device %d: got %+v, %t; want %+v", i, got, ok, want)
		}
	}
}

// A form is one kind of cookie that holds fields: how to seal some content
// drawn at random, and how to open it and write it again.
type form struct {
	purpose      session.Purpose
	bare, fields byte // versions
	seal         func(t *rapid.T, ring *session.Ring) (string, error)
	// reseal returns what a node makes of a cookie, and the fields in it that it does not know.
	reseal func(ring *session.Ring, cookie string) (again, unknown string, ok bool)
}

var forms = map[string]form{
	"challenge": {
		session.ForChallenge, challengeVersion, challengeFields,
		func(t *rapid.T, ring *session.Ring) (string, error) {
			a := drawAsk(t)
			return a.seal(ring, "realm")
		},
		func(ring *session.Ring, cookie string) (string, string, bool) {
			a, ok := openChallenge(ring, "realm", cookie)
			again, err := a.seal(ring, "realm")
			return again, a.unknown, ok && err == nil
		},
	},
	"device": {
		session.ForDevice, deviceVersion, deviceFields,
		func(t *rapid.T, ring *session.Ring) (string, error) {
			d := drawDevice(t)
			return d.seal(ring, "realm")
		},
		func(ring *session.Ring, cookie string) (string, string, bool) {
			d, ok := openDevice(ring, "realm", cookie)
			again, err := d.seal(ring, "realm")
			return again, d.unknown, ok && err == nil
		},
	},
}

func drawAsk(t *rapid.T) Challenge {
	a := Challenge{
		Number: number.Number{E164: rapid.StringN(0, 16, 16).Draw(t, "number"), Region: rapid.StringMatching(`[A-Z]{2}`).Draw(t, "region")},
		User:   rapid.StringN(0, 60, 255).Draw(t, "user"), ReturnTo: rapid.StringN(0, 200, 1000).Draw(t, "rd"),
		Restricted: rapid.Bool().Draw(t, "restricted"), Unlisted: rapid.Bool().Draw(t, "unlisted"),
		Expires: time.Unix(rapid.Int64Range(0, 1<<40).Draw(t, "expires"), 0),
	}
	copy(a.ID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
	return a
}

func drawDevice(t *rapid.T) device {
	var d device
	for i := range rapid.IntRange(0, deviceNumbers).Draw(t, "numbers") {
		d.learn(fmt.Sprintf("%016d", i), time.Unix(0, rapid.Int64Min(0).Draw(t, "at")))
	}
	return d
}

// drawFields draws fields, of tags that no version of a cookie knows.
func drawFields(t *rapid.T, least int) string {
	var fields []byte
	for range rapid.IntRange(least, 4).Draw(t, "fields") {
		fields = session.AppendField(fields, byte(rapid.IntRange(100, 255).Draw(t, "tag")), rapid.StringN(-1, -1, 100).Draw(t, "value"))
	}
	return string(fields)
}

// Every field of a cookie comes back as it was sealed.
func TestCookieRoundTrip(t *testing.T) {
	ring := newTestRing(t)
	rapid.Check(t, func(t *rapid.T) {
		a, d := drawAsk(t), drawDevice(t)
		a.unknown, d.unknown = drawFields(t, 0), drawFields(t, 0)
		sealed, err := a.seal(ring, "realm")
		if got, ok := openChallenge(ring, "realm", sealed); err != nil || !ok || got != a {
			t.Fatalf("got %+v, %t, %v; want %+v", got, ok, err, a)
		}
		sealed, err = d.seal(ring, "realm")
		if got, ok := openDevice(ring, "realm", sealed); err != nil || !ok || !reflect.DeepEqual(got, d) {
			t.Fatalf("got %+v, %t, %v; want %+v", got, ok, err, d)
		}
	})
}

// newer returns the plain bytes of a cookie as a newer version writes them, with fields behind.
func (f form) newer(plain []byte, fields string) []byte {
	out := []byte{f.fields}
	if f.purpose == session.ForDevice {
		out = append(out, byte((len(plain)-1)/40))
	}
	return append(append(out, plain[1:]...), fields...)
}

// A node skips the fields that a newer one has written, and keeps them when it
// writes the cookie again. Without any it writes what nodes that know no fields read.
func TestCookieUnknownFields(t *testing.T) {
	ring := newTestRing(t)
	for name, f := range forms {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				sealed, err := f.seal(t, ring)
				if err != nil {
					t.Fatal(err)
				}
				plain, err := ring.Open(f.purpose, "realm", sealed)
				if err != nil || plain[0] != f.bare {
					t.Fatalf("sealed as version %d, %v", plain[0], err)
				}
				fields := drawFields(t, 1)
				newer := f.newer(plain, fields)
				for range 2 {
					if sealed, err = ring.Seal(f.purpose, "realm", newer); err != nil {
						t.Fatal(err)
					}
					again, unknown, ok := f.reseal(ring, sealed)
					if !ok || unknown != fields {
						t.Fatalf("%x opens with the fields %x, %t; want %x", newer, unknown, ok, fields)
					}
					if got, err := ring.Open(f.purpose, "realm", again); err != nil || string(got) != string(newer) {
						t.Fatalf("%x is written again as %x, %v", newer, got, err)
					}
				}
			})
		})
	}
}

// What is cut, or has something behind that is no field, does not open, and
// neither does what needs a newer reader. At the end of a field it is the same
// cookie without the fields behind.
func TestCookieCut(t *testing.T) {
	ring := newTestRing(t)
	for name, f := range forms {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				sealed, err := f.seal(t, ring)
				if err != nil {
					t.Fatal(err)
				}
				bare, err := ring.Open(f.purpose, "realm", sealed)
				if err != nil {
					t.Fatal(err)
				}
				opens := func(plain []byte) bool {
					sealed, err := ring.Seal(f.purpose, "realm", plain)
					if err != nil {
						t.Fatal(err)
					}
					_, _, ok := f.reseal(ring, sealed)
					return ok
				}
				fields := drawFields(t, 0)
				newer := f.newer(bare, fields)
				ends := map[int]bool{}
				for rest := fields; ; {
					ends[len(newer)-len(rest)] = true
					_, _, size, ok := session.CutField(rest)
					if !ok {
						break
					}
					rest = rest[size:]
				}
				for n := range len(newer) + 1 {
					if got := opens(newer[:n]); got != ends[n] {
						t.Fatalf("%x, cut to %d of %d, opens: %t", newer, n, len(newer), got)
					}
				}
				for _, behind := range []string{"\x00", "\xc8\x00", "\xc8\x00\x01"} {
					if opens(append(newer[:len(newer):len(newer)], behind...)) {
						t.Fatalf("with %x behind, it opens", behind)
					}
				}
				for n := range len(bare) {
					if opens(bare[:n]) && (f.purpose != session.ForDevice || n%40 != 1) { // a device that knows fewer numbers
						t.Fatalf("%x, cut to %d of %d, opens", bare, n, len(bare))
					}
				}
				if fields != "" && f.purpose != session.ForDevice && opens(append(bare, fields...)) {
					t.Fatal("with fields behind, a version without fields opens")
				}
				for _, version := range []byte{0, f.fields + 1, 255} {
					if newer[0] = version; opens(newer) {
						t.Fatalf("version %d opens", version)
					}
				}
			})
		})
	}
}
