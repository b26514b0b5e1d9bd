package session

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Kind says what the name of a Subject is.
type Kind uint8

// The kinds of subjects.
const (
	Everyone Kind = iota // its name is ""
	ByNumber             // its name is a number in E.164
	ByUser               // its name is whom a first factor named
	kinds
)

// Subject is whose sessions are revoked: everyone's, a number's or a user's.
type Subject struct {
	Kind  Kind
	Realm string // "": in all realms
	Name  string
}

// check reports a subject that nobody can be, or one too long to be kept. It
// quotes nothing: a number is no matter for logs.
func (s Subject) check() error {
	switch {
	case s.Kind >= kinds, (s.Kind == Everyone) != (s.Name == ""):
		return fmt.Errorf("subject of kind %d with a name of %d bytes: give a number or a user", s.Kind, len(s.Name))
	case len(s.Name) > maxSessionField, len(s.Realm) > maxSessionField:
		return fmt.Errorf("subject with a name of %d bytes in a realm of %d: at most %d each", len(s.Name), len(s.Realm), maxSessionField)
	}
	return nil
}

// DigestSize is the length of a subject's digest in bytes.
const DigestSize = 32

// Digest names the subject, the same at all times, in hexadecimal. It tells
// nothing to who has not the ring.
func (s Subject) Digest(r *Ring) string {
	sum := r.Digest("subject", string(rune('0'+s.Kind)), s.Realm, s.Name)
	return hex.EncodeToString(sum[:DigestSize/2])
}

// The sealed form: version, kind, the length of the realm, realm, name.
//
// This release writes version 1, because nodes of the release before read nothing
// else. It also reads version 2, which later releases may write: there the length
// of the name stands before the name, and further fields follow it. This release
// skips those fields.
const (
	subjectVersion     = 1
	subjectVersionNext = 2
	subjectHead        = 2 + 2
)

// Seal returns the subject as a text that opens for the same label alone.
func (s Subject) Seal(r *Ring, label string) (string, error) {
	if err := s.check(); err != nil {
		return "", fmt.Errorf("sealing a %w", err)
	}
	return r.Seal(ForRevocation, label, s.encode())
}

func (s Subject) encode() []byte {
	plain := append(make([]byte, 0, subjectHead+len(s.Realm)+len(s.Name)), subjectVersion, byte(s.Kind))
	plain = binary.BigEndian.AppendUint16(plain, uint16(len(s.Realm)))
	plain = append(plain, s.Realm...)
	return append(plain, s.Name...)
}

// OpenSubject returns the subject that was sealed for label. The error is
// ErrSealed, or a *VersionError if a later release has sealed the subject.
func OpenSubject(r *Ring, label, sealed string) (Subject, error) {
	var s Subject
	err := r.open(ForRevocation, label, sealed, s.decode)
	return s, err
}

func (s *Subject) decode(plain []byte) error {
	if len(plain) > 0 && plain[0] > subjectVersionNext {
		return &VersionError{Found: int(plain[0]), Known: subjectVersionNext}
	}
	if len(plain) < subjectHead || plain[0] < subjectVersion {
		return ErrSealed
	}
	realm, rest, ok := cutField(plain[2:])
	name := rest
	if ok && plain[0] == subjectVersionNext {
		name, _, ok = cutField(rest)
	}
	opened := Subject{Kind: Kind(plain[1]), Realm: string(realm), Name: string(name)}
	if !ok || opened.check() != nil {
		return ErrSealed
	}
	*s = opened
	return nil
}

// cutField reads a length (two bytes) and returns so many bytes, and the rest.
func cutField(data []byte) (field, rest []byte, ok bool) {
	if len(data) < 2 {
		return nil, nil, false
	}
	n := 2 + int(binary.BigEndian.Uint16(data))
	if len(data) < n {
		return nil, nil, false
	}
	return data[2:n], data[n:], true
}
