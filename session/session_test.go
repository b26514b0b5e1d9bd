package session

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var t0 = time.Unix(1_800_000_000, 0)

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
