package session

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// ID names a session, a challenge or a device. It is 128 random bits.
type ID [16]byte

// NewID returns a new random ID.
func NewID() ID {
	var id ID
	rand.Read(id[:])
	return id
}

// String returns the ID as 32 hexadecimal digits, for logs and storage keys.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ParseID reads an ID that String wrote, and reports whether text is one.
func ParseID(text string) (id ID, ok bool) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(id) {
		return ID{}, false
	}
	return ID(raw), true
}

// Session is the proof that a challenge was answered. It is sealed into a cookie
// and kept nowhere else. Its times lie between 1970 and 2262. They are exact to the
// nanosecond, so that a session issued right after a revocation is valid.
type Session struct {
	ID       ID
	Number   string    // E.164, at most 255 bytes; "" for a user without a number
	Region   string    // ISO 3166-1 alpha-2 code of the number at its verification; "" without a number
	User     string    // the user that a first factor named, at most 1024 bytes; "" without a first factor
	Issued   time.Time // the time of the proof
	Ends     time.Time // the absolute end, by the configuration at the time of issue
	Seen     time.Time // the last renewal of the cookie
	Remember bool      // the person ticked "trust this device"
	Means    Means     // the kind of proof

	unknown string // fields of a newer release, which a renewal keeps
}

// Means is the way in which a person proved their identity.
type Means uint8

// The means. SMS is the means of a session without the field, because older
// releases knew no other. A newer release may know more means.
const (
	SMS Means = iota // a code that arrived by SMS
	Passkey
	RecoveryCode
)

// String returns the name of the means in the JSON API, the placeholder and the
// audit log, such as "recovery_code". It returns "unknown" for a means of a newer
// release.
func (m Means) String() string {
	switch m {
	case SMS:
		return "sms"
	case Passkey:
		return "passkey"
	case RecoveryCode:
		return "recovery_code"
	}
	return "unknown"
}

// The sealed form is: version, flags, ID, three times in nanoseconds since 1970,
// region, the lengths of number and user, number, user. From version 3 on, fields
// follow (see AppendField). A session with a number and a proof by SMS needs no
// fields, and is sealed as version 2, so that older nodes can open it too. The other
// bits of flags stay unused, because older nodes drop them. New data goes into
// fields.
const (
	sessionVersion  = 2
	sessionFields   = 3 // with fields, or without a number
	sessionHead     = 2 + 16 + 3*8 + 2 + 1 + 2
	flagRemember    = 1
	noRegion        = "\x00\x00"
	maxSessionField = 1024
)

// The fields of a session. A tag is never used again for something else.
const fieldMeans = 1 // one byte; without it: SMS

// Seal returns s as a cookie value for realm. The error is ErrNotReady, or says
// which part of s is missing or too long.
func (s *Session) Seal(r *Ring, realm string) (string, error) {
	if len(s.Number) > 255 || len(s.User) > maxSessionField || s.Number != "" && len(s.Region) != 2 {
		return "", fmt.Errorf("sealing a session: region of %d bytes, number of %d, user of %d: at most 2, 255 and %d",
			len(s.Region), len(s.Number), len(s.User), maxSessionField)
	}
	if s.Number == "" && (s.User == "" || s.Region != "") {
		return "", fmt.Errorf("sealing a session without a number: region of %d bytes, user of %d: give no region, and a user",
			len(s.Region), len(s.User))
	}
	return r.Seal(ForSession, realm, s.encode())
}

func (s *Session) encode() []byte {
	version, region := byte(sessionVersion), s.Region
	if s.Number == "" {
		version, region = sessionFields, noRegion
	}
	if s.Means != SMS || s.unknown != "" {
		version = sessionFields
	}
	var flags byte
	if s.Remember {
		flags |= flagRemember
	}
	plain := make([]byte, 0, sessionHead+len(s.Number)+len(s.User)+fieldHead+1+len(s.unknown))
	plain = append(plain, version, flags)
	plain = append(plain, s.ID[:]...)
	for _, t := range [...]time.Time{s.Issued, s.Seen, s.Ends} {
		plain = binary.BigEndian.AppendUint64(plain, uint64(t.UnixNano()))
	}
	plain = append(plain, region...)
	plain = append(plain, byte(len(s.Number)))
	plain = binary.BigEndian.AppendUint16(plain, uint16(len(s.User)))
	plain = append(plain, s.Number...)
	plain = append(plain, s.User...)
	if s.Means != SMS {
		plain = AppendField(plain, fieldMeans, string([]byte{byte(s.Means)}))
	}
	return append(plain, s.unknown...)
}

// Open returns the session in a cookie value that was sealed for realm. Any other
// value gives ErrSealed. The caller must still ask Life.Alive and
// Revocations.Ended, and whether the number is still allowed.
func Open(r *Ring, realm, sealed string) (Session, error) {
	var s Session
	err := r.open(ForSession, realm, sealed, s.decode)
	return s, err
}

func (s *Session) decode(plain []byte) error {
	if len(plain) < sessionHead || plain[0] != sessionVersion && plain[0] != sessionFields {
		return ErrSealed
	}
	s.Remember = plain[1]&flagRemember != 0
	copy(s.ID[:], plain[2:])
	s.Issued = time.Unix(0, int64(binary.BigEndian.Uint64(plain[18:])))
	s.Seen = time.Unix(0, int64(binary.BigEndian.Uint64(plain[26:])))
	s.Ends = time.Unix(0, int64(binary.BigEndian.Uint64(plain[34:])))
	number, user := int(plain[44]), int(binary.BigEndian.Uint16(plain[45:]))
	end := sessionHead + number + user
	if len(plain) < end || len(plain) > end && plain[0] == sessionVersion {
		return ErrSealed
	}
	// One string holds all texts, so that Open allocates once.
	text := string(plain[42:44]) + string(plain[sessionHead:])
	s.Region, s.Number, s.User = text[:2], text[2:2+number], text[2+number:2+number+user]
	if number == 0 {
		if plain[0] == sessionVersion || user == 0 || s.Region != noRegion {
			return ErrSealed
		}
		s.Region = ""
	}
	return s.decodeFields(text[2+number+user:])
}

// decodeFields reads the fields of a session. A means of a newer release is kept as
// its number: it is sealed again unchanged, and its name is "unknown". Refusing it
// would sign people out whenever their requests reach an older node.
func (s *Session) decodeFields(fields string) error {
	for fields != "" {
		tag, value, size, ok := CutField(fields)
		if !ok {
			return ErrSealed
		}
		switch tag {
		case fieldMeans:
			if len(value) != 1 {
				return ErrSealed
			}
			s.Means = Means(value[0])
		default:
			s.unknown += fields[:size] // the first one is not copied
		}
		fields = fields[size:]
	}
	return nil
}
