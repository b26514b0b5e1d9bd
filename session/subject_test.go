package session

import (
	"errors"
	"strings"
	"testing"
)

func TestSubjectSealed(t *testing.T) {
	r := newRing(t)
	longest := strings.Repeat("x", maxSessionField)
	digests := map[string]Subject{}
	for _, want := range []Subject{
		{ByNumber, "", "+6421234567"}, {ByNumber, "app.example.com", "+6421234567"}, {ByUser, "", "+6421234567"},
		{ByUser, "realm", "alice"}, {ByUser, "realma", "lice"}, {ByUser, longest, longest}, {ByUser, "", "\x00"},
		{Everyone, "", ""}, {Everyone, "realm", ""},
	} {
		sealed, err := want.Seal(r, "label")
		if err != nil {
			t.Fatalf("%v: %v", want, err)
		}
		if got, err := OpenSubject(r, "label", sealed); err != nil || got != want {
			t.Errorf("%v opens as %v, %v", want, got, err)
		}
		if _, err := OpenSubject(r, "another", sealed); !errors.Is(err, ErrSealed) {
			t.Errorf("%v opens for another label: %v", want, err)
		}
		if _, err := r.Open(ForSession, "label", sealed); !errors.Is(err, ErrSealed) {
			t.Errorf("%v opens for another purpose: %v", want, err)
		}
		digest := want.Digest(r)
		if other, twice := digests[digest]; twice || len(digest) != DigestSize || digest != want.Digest(r) ||
			digest == want.Digest(newRing(t)) {
			t.Errorf("the digest of %v is %s, as of %v", want, digest, other)
		}
		digests[digest] = want
	}
	for name, bad := range map[string]Subject{
		"a number without digits": {ByNumber, "realm", ""}, "a user without a name": {ByUser, "", ""},
		"everyone with a name": {Everyone, "", "name"},
		"a kind that is none":  {kinds, "", "name"}, "too long a name": {ByUser, "", longest + "x"},
		"too long a realm": {ByUser, longest + "x", "name"},
	} {
		if _, err := bad.Seal(r, "label"); err == nil || strings.Contains(err.Error(), "name ") && strings.Contains(err.Error(), "xxx") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Any bytes may have been sealed. If they open, the subject is encoded to the same bytes again.
// Bytes of the next version may hold more than a subject, and then only the subject stays the same.
// Bytes of a later version give a *VersionError.
func FuzzSubject(f *testing.F) {
	f.Add([]byte("\x01\x01\x00\x00+6421234567"))
	f.Add([]byte("\x01\x02\x00\x05realmalice"))
	f.Add([]byte("\x01\x00\x00\x00"))
	f.Add([]byte("\x01\x02\xff\xffrealm"))
	f.Add([]byte("\x02\x02\x00\x05realm\x00\x05alice and more")) // of the next version
	f.Add([]byte("\x02\x02\x00\x05realm\x00\xffalice"))
	f.Add([]byte("\x03")) // of a later version
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, plain []byte) {
		var s, again Subject
		if err := s.decode(plain); err != nil {
			later := (*VersionError)(nil)
			isLater := errors.As(err, &later) && later.Found == int(plain[0]) && later.Known == subjectVersionNext
			if wantLater := len(plain) > 0 && plain[0] > subjectVersionNext; isLater != wantLater ||
				!isLater && !errors.Is(err, ErrSealed) || s != (Subject{}) {
				t.Fatalf("%q gives %v, %v", plain, s, err)
			}
			return
		}
		if s.check() != nil {
			t.Fatalf("%q opens as %v", plain, s)
		}
		encoded := s.encode()
		if plain[0] == subjectVersion && string(encoded) != string(plain) {
			t.Fatalf("%q becomes %q", plain, encoded)
		}
		if err := again.decode(encoded); err != nil || again != s {
			t.Fatalf("%q becomes %q, and that %v, %v", plain, encoded, again, err)
		}
	})
}
