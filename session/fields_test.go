package session

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Sessions that were sealed before there were fields still open. The last version
// without fields has written the file.
func TestSessionsBeforeFields(t *testing.T) {
	text, err := os.ReadFile("testdata/sessions_v2.json")
	if err != nil {
		t.Fatal(err)
	}
	var before struct {
		Keys     Keys
		Realm    string
		Sessions []struct {
			Cookie  string
			Session Session
		}
	}
	if err := json.Unmarshal(text, &before); err != nil || len(before.Sessions) == 0 {
		t.Fatal(len(before.Sessions), err)
	}
	r, err := NewRing(before.Keys)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range before.Sessions {
		want := c.Session
		want.Issued, want.Seen, want.Ends = want.Issued.Local(), want.Seen.Local(), want.Ends.Local()
		got, err := Open(r, before.Realm, c.Cookie)
		if err != nil || got != want {
			t.Errorf("%d: got %+v, %v; want %+v", i, got, err, want)
		}
		if got.Means.String() != "sms" {
			t.Errorf("%d: its means is %v", i, got.Means)
		}
		if plain, err := r.Open(ForSession, before.Realm, c.Cookie); err != nil || string(plain) != string(got.encode()) {
			t.Errorf("%d: it is written again as %x, %v; was %x", i, got.encode(), err, plain)
		}
	}
}

// decodeBefore is the decode of the last version without fields.
func (s *Session) decodeBefore(plain []byte) error {
	if len(plain) < sessionHead || plain[0] != 2 {
		return ErrSealed
	}
	s.Remember = plain[1]&flagRemember != 0
	copy(s.ID[:], plain[2:])
	s.Issued = time.Unix(0, int64(binary.BigEndian.Uint64(plain[18:])))
	s.Seen = time.Unix(0, int64(binary.BigEndian.Uint64(plain[26:])))
	s.Ends = time.Unix(0, int64(binary.BigEndian.Uint64(plain[34:])))
	number, user := int(plain[44]), int(binary.BigEndian.Uint16(plain[45:]))
	if len(plain) != sessionHead+number+user {
		return ErrSealed
	}
	text := string(plain[42:44]) + string(plain[sessionHead:])
	s.Region, s.Number, s.User = text[:2], text[2:2+number], text[2+number:]
	return nil
}

// A node without fields opens every session that needs none, so nobody is signed
// out while nodes are replaced. It refuses the others: a session by recovery code
// never becomes one by SMS there.
func TestReadersOfBefore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSession(t)
		if rapid.Bool().Draw(t, "by SMS") {
			s.Means = SMS
		}
		var got Session
		err := got.decodeBefore(s.encode())
		if s.Means == SMS && s.Number != "" {
			if err != nil || got != s {
				t.Fatalf("got %+v, %v; want %+v", got, err, s)
			}
		} else if err == nil {
			t.Fatalf("%+v opens as %+v", s, got)
		}
	})
}

// drawFields draws fields with tags that no version of a cookie knows.
func drawFields(t *rapid.T) string {
	var fields []byte
	for range rapid.IntRange(0, 4).Draw(t, "fields") {
		fields = AppendField(fields, byte(rapid.IntRange(100, 255).Draw(t, "tag")), rapid.StringN(-1, -1, 300).Draw(t, "value"))
	}
	return string(fields)
}

// Fields of a newer version, before and behind the known ones, change nothing, and
// a renewal keeps them in their order.
func TestUnknownFieldsAreKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawSession(t)
		plain, means := want.encode(), ""
		if want.Means != SMS {
			means = string(AppendField(nil, fieldMeans, string([]byte{byte(want.Means)})))
		}
		before, behind := drawFields(t), drawFields(t)
		newer := append([]byte{sessionFields}, plain[1:len(plain)-len(means)]...)
		newer = append(append(append(newer, before...), means...), behind...)
		for range 2 {
			var got Session
			if err := got.decode(newer); err != nil {
				t.Fatal(err)
			}
			if got.unknown != before+behind {
				t.Fatalf("the unknown fields are %x; want %x, %x", got.unknown, before, behind)
			}
			want.unknown = got.unknown
			if got != want {
				t.Fatalf("got %+v; want %+v", got, want)
			}
			got.Seen = t0 // renewed
			want.Seen = got.Seen
			newer = got.encode()
		}
	})
}

// A session that is cut short opens only if the cut is at the end of a field. It then
// lacks the fields behind the cut. A session with bytes behind it that are no field
// does not open.
func TestCutSessions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSession(t)
		fields := drawFields(t)
		plain := append(s.encode(), fields...)
		plain[0] = sessionFields
		ends := map[int]bool{}
		if s.Means != SMS {
			ends[len(plain)-len(fields)-fieldHead-1] = true
		}
		for rest := fields; ; {
			ends[len(plain)-len(rest)] = true
			_, _, size, ok := CutField(rest)
			if !ok {
				break
			}
			rest = rest[size:]
		}
		for n := range len(plain) + 1 {
			var got Session
			if err := got.decode(plain[:n]); (err == nil) != ends[n] {
				t.Fatalf("%x, cut to %d of %d: %v", plain, n, len(plain), err)
			}
		}
		for _, behind := range []string{"\x00", "\xc8\x00", "\xc8\x00\x01"} {
			var got Session
			if err := got.decode(append(plain[:len(plain):len(plain)], behind...)); !errors.Is(err, ErrSealed) {
				t.Fatalf("with %x behind: %v", behind, err)
			}
		}
		// In the version without fields, nothing may follow.
		if plain[0] = sessionVersion; fields != "" && new(Session).decode(plain) == nil {
			t.Fatalf("%x opens", plain)
		}
	})
}

// A known field with another length is damaged. It is not one of a newer version.
func TestMeansHasOneByte(t *testing.T) {
	s := someSession()
	for _, value := range []string{"", "\x02\x00"} {
		plain := AppendField(s.encode(), fieldMeans, value)
		plain[0] = sessionFields
		if err := new(Session).decode(plain); !errors.Is(err, ErrSealed) {
			t.Errorf("a means of %d bytes: %v", len(value), err)
		}
	}
}

func TestMeansNames(t *testing.T) {
	for m, want := range map[Means]string{SMS: "sms", Passkey: "passkey", RecoveryCode: "recovery_code", 3: "unknown", 255: "unknown"} {
		if m.String() != want {
			t.Errorf("%d is %q, want %q", m, m, want)
		}
	}
}

// Decoding allocates one string, also if there is a known or an unknown field.
func TestDecodeAllocates(t *testing.T) {
	field := string(AppendField(nil, 200, "newer"))
	for what, s := range map[string]Session{
		"a session":                    {Number: "+6421234567", Region: "NZ"},
		"one of a user":                {Number: "+6421234567", Region: "NZ", User: "ada"},
		"one by recovery code":         {Number: "+6421234567", Region: "NZ", Means: RecoveryCode},
		"one without a number":         {User: "ada", Means: RecoveryCode},
		"one with a newer field":       {Number: "+6421234567", Region: "NZ", unknown: field},
		"one with a known and a newer": {Number: "+6421234567", Region: "NZ", Means: Passkey, unknown: field},
	} {
		plain := s.encode()
		if n := testing.AllocsPerRun(100, func() {
			var got Session
			if err := got.decode(plain); err != nil {
				t.Fatal(err)
			}
		}); n > 1 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}

func TestCutField(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tag, value := rapid.Byte().Draw(t, "tag"), rapid.StringN(-1, -1, 700).Draw(t, "value")
		rest := drawFields(t)
		field := string(AppendField(nil, tag, value))
		gotTag, gotValue, size, ok := CutField(field + rest)
		if !ok || gotTag != tag || gotValue != value || size != len(field) {
			t.Fatalf("got %d, %q, %d, %t", gotTag, gotValue, size, ok)
		}
		for n := range len(field) {
			if _, _, _, ok := CutField(field[:n]); ok {
				t.Fatalf("opens when cut to %d of %d", n, len(field))
			}
			if AreFields(rest+field[:n]) != (n == 0) {
				t.Fatalf("fields cut to %d of %d count as whole", n, len(field))
			}
		}
		if !AreFields(rest + field) {
			t.Fatal("whole fields do not count as such")
		}
	})
}

// A session without a number has a user and no region, and needs the version with
// fields.
func TestSessionWithoutNumber(t *testing.T) {
	s := Session{User: "ada"}
	good := s.encode()
	if err := new(Session).decode(good); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(plain []byte) []byte{
		"of the version before": func(plain []byte) []byte { plain[0] = sessionVersion; return plain },
		"with a region":         func(plain []byte) []byte { copy(plain[42:], "NZ"); return plain },
		"without a user":        func(plain []byte) []byte { plain[46] = 0; return plain[:sessionHead] },
	} {
		if err := new(Session).decode(change(append([]byte(nil), good...))); !errors.Is(err, ErrSealed) {
			t.Errorf("a session without a number %s: %v", what, err)
		}
	}
}
