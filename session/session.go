package session

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// ID names a session, a challenge or a device: 128 random bits.
type ID [16]byte

// NewID returns a fresh ID.
func NewID() ID {
	var id ID
	rand.Read(id[:])
	return id
}

// String returns the ID in hexadecimal, for logs and storage keys.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ParseID returns the ID that String wrote; false: it is none.
func ParseID(text string) (id ID, ok bool) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(id) {
		return ID{}, false
	}
	return ID(raw), true
}

// Session is the proof that a challenge was met. It is sealed into a cookie
// and kept nowhere else. Its times lie between 1970 and 2262 and are exact to
// the nanosecond, so that one issued right after a revocation is good.
type Session struct {
	ID       ID
	Number   string    // E.164; "" for a user who has no number and proved something else
	Region   string    // ISO 3166-1 alpha-2, as the number had it when it was verified; "" without a number
	User     string    // whom a first factor named; "" in number mode
	Issued   time.Time // when the challenge was met
	Ends     time.Time // its absolute end, as it was when it was issued
	Seen     time.Time // when the cookie was last renewed
	Remember bool      // the person ticked "trust this device"
	Means    Means     // how the person proved who they are

	unknown string // fields of a newer version, which a renewal keeps
}

// Means is how a person proved who they are.
type Means uint8

// The means. A session without the field is one by SMS, the only means of older
// releases. A newer node may know more of them.
const (
	SMS Means = iota // a code that came by SMS
	Passkey
	RecoveryCode
)

// String returns the name of the means in the JSON API, the placeholder and the
// audit log, such as "recovery_code".
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

// Life says how long sessions live: the gate's configuration of today. One
// that is shortened ends the sessions that are older; one that is lengthened
// is for new sessions, so that what has ended never comes back to life.
type Life struct {
	TTL      time.Duration // absolute
	Idle     time.Duration // since it was last seen; 0: no limit
	Remember time.Duration // absolute, for a trusted device; 0: none is trusted
}

// Renewal is the least time between two renewals of a session's cookie.
const Renewal = time.Minute

// absolute returns how long s lasts, whatever it does.
func (l Life) absolute(s *Session) time.Duration {
	if s.Remember && l.Remember > 0 {
		return l.Remember
	}
	return l.TTL
}

// Begin sets when s begins and ends.
func (l Life) Begin(s *Session, now time.Time) {
	s.Issued, s.Seen = now, now
	s.Ends = now.Add(l.absolute(s))
}

// Expires returns when s ends, whatever it does.
func (l Life) Expires(s *Session) time.Time {
	if today := s.Issued.Add(l.absolute(s)); today.Before(s.Ends) {
		return today
	}
	return s.Ends
}

// idle returns how long s may rest, 0 for ever. A trusted device is trusted
// while it rests: an idle limit would make "trust this device" mean nothing.
func (l Life) idle(s *Session) time.Duration {
	if s.Remember && l.Remember > 0 {
		return 0
	}
	return l.Idle
}

// Alive reports whether s is within its absolute and its idle life.
func (l Life) Alive(s *Session, now time.Time) bool {
	if !now.Before(l.Expires(s)) {
		return false
	}
	idle := l.idle(s)
	return idle == 0 || now.Before(s.Seen.Add(idle))
}

// Stale reports whether the cookie of s is due to be renewed: it has an idle
// life, and was last seen a minute ago (or half that life, if it is shorter).
func (l Life) Stale(s *Session, now time.Time) bool {
	idle := l.idle(s)
	return idle > 0 && now.Sub(s.Seen) >= min(Renewal, idle/2)
}

// The sealed form: version, flags, id, three times as nanoseconds since 1970,
// region, then the lengths of number and user and their bytes. From version 3
// on fields follow (see AppendField). A session that needs none, because it has
// a number and was proved by SMS, is sealed as version 2, so that nodes that know
// no fields can open it too. The other bits of flags stay unused, because older
// nodes drop them. New data goes into fields.
const (
	sessionVersion  = 2
	sessionFields   = 3 // fields follow, or the number is missing
	sessionHead     = 2 + 16 + 3*8 + 2 + 1 + 2
	flagRemember    = 1
	noRegion        = "\x00\x00"
	maxSessionField = 1024
)

// The fields of a session. A tag is never used again for something else.
const fieldMeans = 1 // one byte; without it: SMS

// Seal returns s as a cookie value for realm.
func (s *Session) Seal(r *Ring, realm string) (string, error) {
	if len(s.Number) > 255 || len(s.User) > maxSessionField || s.Number != "" && len(s.Region) != 2 {
		return "", fmt.Errorf("sealing a session: region of %d bytes, number of %d, user of %d: at most 2, 255 and %d",
			len(s.Region), len(s.Number), len(s.User), maxSessionField)
	}
	if s.Number == "" && (s.User == "" || s.Region != "") {
		return "", fmt.Errorf("sealing a session without a number: region of %d bytes, user of %d: give no region, and a user", len(s.Region), len(s.User))
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

// Open returns the session that a cookie value holds for realm, or ErrSealed.
// Whether it is alive, revoked or still wanted is for the caller to ask.
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
	// One string for all of them: the only allocation of an open.
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
			s.unknown += fields[:size] // no copy, of one field that is unknown
		}
		fields = fields[size:]
	}
	return nil
}
