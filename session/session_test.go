package session

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var t0 = time.Unix(1_800_000_000, 0)

func newRing(tb testing.TB) *Ring {
	tb.Helper()
	r, err := NewRing(NewKeys(t0))
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func someSession() Session {
	return Session{ID: NewID(), Number: "+6421234567", Region: "NZ", Issued: t0, Seen: t0, Ends: t0.Add(12 * time.Hour)}
}

// drawSession draws a session that can be sealed. It may have a user and no number,
// and a means that only a newer version knows.
func drawSession(t *rapid.T) Session {
	s := Session{
		ID:       NewID(),
		Number:   rapid.StringN(0, 50, 255).Draw(t, "number"),
		Region:   rapid.StringMatching(`[A-Z]{2}`).Draw(t, "region"),
		User:     rapid.StringN(0, 200, 1024).Draw(t, "user"),
		Issued:   time.Unix(0, rapid.Int64Min(0).Draw(t, "issued")),
		Seen:     time.Unix(0, rapid.Int64Min(0).Draw(t, "seen")),
		Ends:     time.Unix(0, rapid.Int64Min(0).Draw(t, "ends")),
		Remember: rapid.Bool().Draw(t, "remember"),
		Means:    Means(rapid.Byte().Draw(t, "means")),
	}
	if s.Number == "" {
		s.Region, s.User = "", "u"+s.User[:min(len(s.User), maxSessionField-1)]
	}
	return s
}

func TestSessionRoundTrip(t *testing.T) {
	r := newRing(t)
	rapid.Check(t, func(t *rapid.T) {
		want := drawSession(t)
		sealed, err := want.Seal(r, "app.example.com")
		if err != nil {
			t.Fatal(err)
		}
		got, err := Open(r, "app.example.com", sealed)
		if err != nil || got != want {
			t.Fatalf("got %+v, %v; want %+v", got, err, want)
		}
	})
}

// A session of version 1, whose times are whole seconds, or of a newer version does
// not open.
func TestSessionVersion(t *testing.T) {
	r := newRing(t)
	s := someSession()
	sealed, err := s.Seal(r, "realm")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := r.Open(ForSession, "realm", sealed)
	if err != nil || plain[0] != 2 {
		t.Fatalf("sealed as version %d, %v", plain[0], err)
	}
	for _, version := range []byte{0, 1, 4, 255} {
		plain[0] = version
		if sealed, err = r.Seal(ForSession, "realm", plain); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(r, "realm", sealed); !errors.Is(err, ErrSealed) {
			t.Errorf("version %d opens: %v", version, err)
		}
	}
}

func TestSealRefusesTooLong(t *testing.T) {
	r := newRing(t)
	s := someSession()
	s.User = strings.Repeat("u", maxSessionField+1)
	if _, err := s.Seal(r, "realm"); err == nil || strings.Contains(err.Error(), "uuu") {
		t.Errorf("a user too long gives %v", err)
	}
	for what, s := range map[string]Session{
		"that is nobody's":                    {},
		"without a number, but a region":      {User: "ada", Region: "NZ"},
		"with a number and no region":         {User: "ada", Number: "+6421234567"},
		"with a number and a long region":     {Number: "+6421234567", Region: "NZL"},
		"with unknown fields beyond a cookie": {Number: "+6421234567", Region: "NZ", unknown: strings.Repeat("x", maxPlain)},
	} {
		if _, err := s.Seal(r, "realm"); err == nil {
			t.Errorf("a session %s is sealed", what)
		}
	}
	if _, err := r.Seal(ForChallenge, "realm", make([]byte, maxPlain+1)); err == nil {
		t.Error("a value too long is sealed")
	}
	sealed, err := r.Seal(ForChallenge, "realm", make([]byte, maxPlain))
	if err != nil || len(sealed) > 3900 {
		t.Errorf("the longest value gives a cookie of %d bytes, %v", len(sealed), err)
	}
}

// A sealed value opens for its own realm and purpose, and for no other.
func TestSealedIsBound(t *testing.T) {
	r := newRing(t)
	s := someSession()
	sealed, err := s.Seal(r, "app.example.com")
	if err != nil {
		t.Fatal(err)
	}
	for _, realm := range []string{"", "other.example.com", "app.example.com.", "APP.example.com"} {
		if _, err := Open(r, realm, sealed); !errors.Is(err, ErrSealed) {
			t.Errorf("opens for realm %q: %v", realm, err)
		}
	}
	for _, p := range []Purpose{ForChallenge, ForDevice, ForCode, ForRevocation} {
		if _, err := r.Open(p, "app.example.com", sealed); !errors.Is(err, ErrSealed) {
			t.Errorf("opens as a %v: %v", p, err)
		}
		other, err := r.Seal(p, "app.example.com", []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(r, "app.example.com", other); !errors.Is(err, ErrSealed) {
			t.Errorf("a %v opens as a session: %v", p, err)
		}
	}
	if _, err := Open(newRing(t), "app.example.com", sealed); !errors.Is(err, ErrSealed) {
		t.Errorf("opens with another ring's keys: %v", err)
	}
}

func TestTamperedAndTruncated(t *testing.T) {
	r := newRing(t)
	s := someSession()
	sealed, err := s.Seal(r, "realm")
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(sealed) {
		if _, err := Open(r, "realm", sealed[:i]); !errors.Is(err, ErrSealed) {
			t.Fatalf("opens when cut to %d characters", i)
		}
		for _, c := range []byte("A_z9=\n ") {
			changed := sealed[:i] + string(c) + sealed[i+1:]
			if changed == sealed {
				continue
			}
			if _, err := Open(r, "realm", changed); !errors.Is(err, ErrSealed) {
				t.Fatalf("opens with character %d changed to %q", i, c)
			}
		}
	}
	for _, more := range []string{sealed + "A", sealed + "=", sealed + "\n", sealed + sealed, strings.Repeat("A", 1<<20)} {
		if _, err := Open(r, "realm", more); !errors.Is(err, ErrSealed) {
			t.Errorf("opens with %d characters more", len(more)-len(sealed))
		}
	}
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), "21234567") {
		t.Error("the cookie shows the number")
	}
}

func TestDigestSeparates(t *testing.T) {
	r := newRing(t)
	seen := map[[32]byte]string{}
	for _, parts := range [][]string{{"a", "bc"}, {"ab", "c"}, {"abc"}, {"abc", ""}, {"", "abc"}, {}} {
		d := r.Digest("use", parts...)
		if was, twice := seen[d]; twice {
			t.Errorf("%q and %s have one digest", parts, was)
		}
		seen[d] = strings.Join(parts, "|")
	}
	if r.Digest("one", "x") == r.Digest("two", "x") {
		t.Error("two uses share a digest")
	}
}

func TestLife(t *testing.T) {
	life := Life{TTL: 12 * time.Hour, Idle: time.Hour, Remember: 720 * time.Hour}
	at := func(d time.Duration) time.Time { return t0.Add(d) }
	plain, trusted := Session{}, Session{Remember: true}
	life.Begin(&plain, t0)
	life.Begin(&trusted, t0)
	busy := plain
	busy.Seen = at(11*time.Hour + 30*time.Minute)
	for _, c := range []struct {
		name  string
		life  Life
		s     Session
		now   time.Time
		alive bool
		stale bool
	}{
		{"fresh", life, plain, t0, true, false},
		{"a minute old", life, plain, at(time.Minute), true, true},
		{"just before idling out", life, plain, at(time.Hour - 1), true, true},
		{"idle", life, plain, at(time.Hour), false, true},
		{"no idle limit", Life{TTL: 12 * time.Hour}, plain, at(11 * time.Hour), true, false},
		{"at its absolute end", life, busy, at(12 * time.Hour), false, true},
		{"trusted, resting", life, trusted, at(700 * time.Hour), true, false},
		{"trusted, at its end", life, trusted, at(720 * time.Hour), false, false},
		{"no longer trusted", Life{TTL: 12 * time.Hour, Idle: time.Hour}, trusted, at(2 * time.Hour), false, true},
		{"shortened since", Life{TTL: time.Minute}, plain, at(time.Minute), false, false},
		{"lengthened since", Life{TTL: 24 * time.Hour}, plain, at(12 * time.Hour), false, false},
		{"short idle, renewed at its half", Life{TTL: time.Hour, Idle: 20 * time.Second}, plain, at(10 * time.Second), true, true},
	} {
		if got := c.life.Alive(&c.s, c.now); got != c.alive {
			t.Errorf("%s: alive %v, want %v", c.name, got, c.alive)
		}
		if got := c.life.Stale(&c.s, c.now); got != c.stale {
			t.Errorf("%s: stale %v, want %v", c.name, got, c.stale)
		}
	}
}

func FuzzOpen(f *testing.F) {
	r := newRing(f)
	s := someSession()
	good, err := s.Seal(r, "realm")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("")
	f.Add(good[:len(good)-1])
	f.Add(strings.Repeat("A", 200))
	f.Fuzz(func(t *testing.T, sealed string) {
		got, err := Open(r, "realm", sealed)
		if (err == nil) != (sealed == good) {
			t.Errorf("%q opens as %+v, %v", sealed, got, err)
		}
	})
}

// If a key leaks, any bytes can reach the decoder. So can a session that a newer
// version has sealed. The decoder refuses them, or it reads a session that is
// encoded to the same bytes again, with every field.
func FuzzDecode(f *testing.F) {
	s := someSession()
	bare := s.encode()
	f.Add(bare)
	f.Add(bare[:len(bare)-1])
	s.Means = RecoveryCode
	f.Add(s.encode())
	f.Add(AppendField(s.encode(), 200, "newer"))
	f.Add(append(s.encode(), 200, 0, 9, 'x'))
	f.Add(append(AppendField(s.encode(), 200, ""), s.encode()[sessionHead+len(s.Number):]...))
	s.Number, s.Region, s.User = "", "", "ada"
	f.Add(s.encode())
	f.Fuzz(func(t *testing.T, plain []byte) {
		var s, again Session
		if s.decode(plain) != nil {
			return
		}
		if s.Number == "" && (s.User == "" || s.Region != "") {
			t.Errorf("%x is nobody's: %+v", plain, s)
		}
		written := s.encode()
		if err := again.decode(written); err != nil || again != s {
			t.Errorf("%x opens as %+v, and again as %+v, %v", plain, s, again, err)
		}
		if plain[0] == sessionVersion && s.unknown != "" || !AreFields(s.unknown) {
			t.Errorf("%x has the unknown fields %x", plain, s.unknown)
		}
		for fields := s.unknown; fields != ""; {
			_, _, size, _ := CutField(fields)
			if !strings.Contains(string(plain), fields[:size]) || !strings.Contains(string(written), fields[:size]) {
				t.Errorf("%x becomes %x", plain, written)
			}
			fields = fields[size:]
		}
	})
}

// Many old keys hardly slow Open, because a session names its key.
func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{1, 13} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			keys := NewKeys(t0)
			old, err := NewRing(keys)
			if err != nil {
				b.Fatal(err)
			}
			s := someSession()
			sealed, err := s.Seal(old, "app.example.com")
			if err != nil {
				b.Fatal(err)
			}
			for range n - 1 {
				keys.Sealing = append([]Key{newKey(t0)}, keys.Sealing...)
			}
			r, err := NewRing(keys)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Open(r, "app.example.com", sealed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOpenFields measures a session with one known and one unknown field.
func BenchmarkOpenFields(b *testing.B) {
	for name, s := range map[string]Session{
		"means":   {Number: "+6421234567", Region: "NZ", Means: RecoveryCode},
		"unknown": {Number: "+6421234567", Region: "NZ", unknown: string(AppendField(nil, 200, "newer"))},
	} {
		b.Run(name, func(b *testing.B) {
			r := newRing(b)
			sealed, err := s.Seal(r, "app.example.com")
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Open(r, "app.example.com", sealed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSeal(b *testing.B) {
	r := newRing(b)
	s := someSession()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Seal(r, "app.example.com"); err != nil {
			b.Fatal(err)
		}
	}
}
