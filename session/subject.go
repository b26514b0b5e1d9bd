package session

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Kind says how to read the name of a Subject.
type Kind uint8

// The kinds of subjects.
const (
	Everyone Kind = iota // its name is ""
	ByNumber             // its name is a number in E.164
	ByUser               // its name is a user of the first factor
	kinds
)

// Subject is one party of a revocation: everyone, a number or a user.
type Subject struct {
	Kind  Kind
	Realm string // "" stands for all realms; at most 1024 bytes
	Name  string // by Kind; at most 1024 bytes
}

// check returns an error for a subject that cannot exist or is too long. The error
// does not quote the name, because numbers must not reach a log.
func (s Subject) check() error {
	switch {
	case s.Kind >= kinds, (s.Kind == Everyone) != (s.Name == ""):
		return fmt.Errorf("subject of kind %d with a name of %d bytes: give a number or a user", s.Kind, len(s.Name))
	case len(s.Name) > maxSessionField, len(s.Realm) > maxSessionField:
		return fmt.Errorf("subject with a name of %d bytes in a realm of %d: at most %d each", len(s.Name), len(s.Realm), maxSessionField)
	}
	return nil
}

// DigestSize is the length of the text that Subject.Digest returns.
const DigestSize = 32

// Digest returns a keyed hash of the subject: 32 characters in hexadecimal. It is
// stable as long as the ring keeps its index key. Without that key, the hash does
// not reveal the subject.
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

// Seal encrypts the subject for an audience, such as the name of the record that
// holds it. OpenSubject needs the same audience. The error is ErrNotReady, or says
// which part of the subject cannot be kept.
func (s Subject) Seal(r *Ring, audience string) (string, error) {
	if err := s.check(); err != nil {
		return "", fmt.Errorf("sealing a %w", err)
	}
	return r.Seal(ForRevocation, audience, s.encode())
}

func (s Subject) encode() []byte {
	plain := append(make([]byte, 0, subjectHead+len(s.Realm)+len(s.Name)), subjectVersion, byte(s.Kind))
	plain = binary.BigEndian.AppendUint16(plain, uint16(len(s.Realm)))
	plain = append(plain, s.Realm...)
	return append(plain, s.Name...)
}

// OpenSubject returns the subject that was sealed for an audience. The error is
// ErrSealed, or a *VersionError if a later release has sealed the subject.
func OpenSubject(r *Ring, audience, sealed string) (Subject, error) {
	var s Subject
	err := r.open(ForRevocation, audience, sealed, s.decode)
	return s, err
}

func (s *Subject) decode(plain []byte) error {
	if len(plain) > 0 && plain[0] > subjectVersionNext {
		return &VersionError{Found: int(plain[0]), Known: subjectVersionNext}
	}
	if len(plain) < subjectHead || plain[0] < subjectVersion {
		return ErrSealed
	}
	realm, rest, ok := cutSized(plain[2:])
	name := rest
	if ok && plain[0] == subjectVersionNext {
		name, _, ok = cutSized(rest)
	}
	opened := Subject{Kind: Kind(plain[1]), Realm: string(realm), Name: string(name)}
	if !ok || opened.check() != nil {
		return ErrSealed
	}
	*s = opened
	return nil
}

// cutSized reads a length (two bytes), and returns that many bytes and the rest.
// Unlike CutField, it expects no tag.
func cutSized(data []byte) (text, rest []byte, ok bool) {
	if len(data) < 2 {
		return nil, nil, false
	}
	n := 2 + int(binary.BigEndian.Uint16(data))
	if len(data) < n {
		return nil, nil, false
	}
	return data[2:n], data[n:], true
}
