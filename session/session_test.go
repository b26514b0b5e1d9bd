package session

import (
	"encoding/base64"
	"errors"
	"math/rand"
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

func TestSessionRoundTrip(t *testing.T) {
	r := newRing(t)
	rapid.Check(t, func(t *rapid.T) {
		want := Session{
			ID:       NewID(),
			Number:   rapid.StringN(0, 50, 255).Draw(t, "number"),
			Region:   rapid.StringMatching(`[A-Z]{2}`).Draw(t, "region"),
			User:     rapid.StringN(0, 200, 1024).Draw(t, "user"),
			Issued:   time.Unix(rapid.Int64Range(0, 1<<40).Draw(t, "issued"), 0),
			Seen:     time.Unix(rapid.Int64Range(0, 1<<40).Draw(t, "seen"), 0),
			Ends:     time.Unix(rapid.Int64Range(0, 1<<40).Draw(t, "ends"), 0),
			Remember: rapid.Bool().Draw(t, "remember"),
		}
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

func TestSealRefusesWhatDoesNotFit(t *testing.T) {
	r := newRing(t)
	s := someSession()
	s.User = strings.Repeat("u", maxSessionField+1)
	if _, err := s.Seal(r, "realm"); err == nil || strings.Contains(err.Error(), "uuu") {
		t.Errorf("a user too long gives %v", err)
	}
	if _, err := r.Seal(ForChallenge, "realm", make([]byte, maxPlain+1)); err == nil {
		t.Error("a value too long is sealed")
	}
	sealed, err := r.Seal(ForChallenge, "realm", make([]byte, maxPlain))
	if err != nil || len(sealed) > 3900 {
		t.Errorf("the longest value gives a cookie of %d bytes, %v", len(sealed), err)
	}
}

// What is sealed opens for its own realm and purpose, and nothing else.
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
	for _, p := range []Purpose{ForChallenge, ForDevice, ForCode} {
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

func TestRotation(t *testing.T) {
	old := NewKeys(t0)
	r, err := NewRing(old)
	if err != nil {
		t.Fatal(err)
	}
	s := someSession()
	before, _ := s.Seal(r, "realm")
	digest := r.Digest("use", "part")
	fresh := NewKeys(t0)
	if err := r.Replace(Keys{Index: old.Index, Sealing: append(fresh.Sealing, old.Sealing...)}); err != nil {
		t.Fatal(err)
	}
	after, _ := s.Seal(r, "realm")
	for name, sealed := range map[string]string{"old": before, "new": after} {
		if _, err := Open(r, "realm", sealed); err != nil {
			t.Errorf("the %s key's session does not open", name)
		}
	}
	if r.Digest("use", "part") != digest {
		t.Error("a rotation changes what counters are found by")
	}
	if err := r.Replace(Keys{Index: old.Index, Sealing: fresh.Sealing}); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(r, "realm", before); !errors.Is(err, ErrSealed) {
		t.Error("a retired key still opens")
	}
	for name, bad := range map[string]Keys{
		"no index":    {Sealing: fresh.Sealing},
		"no key":      {Index: old.Index},
		"short key":   {Index: old.Index, Sealing: []Key{{ID: 1, Secret: []byte("short")}}},
		"short index": {Index: []byte("short"), Sealing: fresh.Sealing},
	} {
		if err := r.Replace(bad); err == nil || strings.Contains(err.Error(), "short ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(r, "realm", after); err != nil {
		t.Error("a refused replacement changed the ring")
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

func TestRevocations(t *testing.T) {
	var r Revocations
	a, b := NewID(), NewID()
	if r.Has(a) {
		t.Error("nobody is revoked")
	}
	r.Add(a, t0.Add(time.Hour))
	r.Add(b, t0.Add(2*time.Hour))
	r.Add(b, t0.Add(2*time.Hour))
	if !r.Has(a) || !r.Has(b) || r.Has(NewID()) {
		t.Error("has what it should not, or lacks what it should")
	}
	if gone := r.Sweep(t0.Add(time.Hour)); len(gone) != 1 || !gone[a].Equal(t0.Add(time.Hour)) || r.Has(a) || !r.Has(b) {
		t.Errorf("swept %v", gone)
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
		// What was never sealed may still reach the decoder when a key leaks.
		var d Session
		_ = d.decode([]byte(sealed))
	})
}

func BenchmarkOpen(b *testing.B) {
	r := newRing(b)
	s := someSession()
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

func BenchmarkRevoked(b *testing.B) {
	var r Revocations
	for range 100_000 {
		r.Add(NewID(), t0)
	}
	ids := make([]ID, 1024)
	for i := range ids {
		ids[i] = NewID()
	}
	b.ReportAllocs()
	i := rand.Intn(len(ids))
	for b.Loop() {
		i++
		if r.Has(ids[i%len(ids)]) {
			b.Fatal("revoked")
		}
	}
}
