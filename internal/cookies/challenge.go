package cookies

import (
	"encoding/binary"
	"time"

	"github.com/caddy-websms/websms/number"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

// Challenge is the content of the challenge cookie: the challenge that the browser asked
// for, and all that the gate needs to go on with it, so that no store keeps it.
type Challenge struct {
	ID         otp.ID
	Number     number.Number
	User       string    // the user that the first factor named; "" in number mode
	Restricted bool      // the gate had a list of numbers, so the delivery is not shown
	Unlisted   bool      // the number was not on the list, so nothing was sent
	Expires    time.Time // the expiry of the code when the cookie was written
	ReturnTo   string    // the return target

	unknown string // fields of a newer version of the plugin, which a resend keeps
}

// The sealed form has these parts, in this order:
//
//   - the version and the flags, one byte each
//   - the ID, 16 bytes
//   - the expiry in seconds since 1970, 8 bytes
//   - the number, the region, the user and the return target, each after its length in
//     two bytes
//   - from version 3 on, fields: see session.AppendField
//
// A challenge without fields is sealed as version 2, so that nodes with an older version
// of the plugin can open it too.
const (
	challengeVersion = 2
	challengeFields  = 3
	flagUnlisted     = 1
	flagRestricted   = 2
)

// challengeLife is how long the challenge cookie lasts. It lasts longer than any code, so
// that a late code gets the answer that it has expired.
const challengeLife = otp.MaxLife + 5*time.Minute

// seal returns the value of the challenge cookie.
func (a *Challenge) seal(ring *session.Ring, realm string) (string, error) {
	var flags byte
	if a.Unlisted {
		flags |= flagUnlisted
	}
	if a.Restricted {
		flags |= flagRestricted
	}
	version := byte(challengeVersion)
	if a.unknown != "" {
		version = challengeFields
	}
	plain := append(make([]byte, 0, 64+len(a.ReturnTo)), version, flags)
	plain = append(plain, a.ID[:]...)
	plain = binary.BigEndian.AppendUint64(plain, uint64(a.Expires.Unix()))
	for _, text := range []string{a.Number.E164, a.Number.Region, a.User, a.ReturnTo} {
		plain = binary.BigEndian.AppendUint16(plain, uint16(len(text)))
		plain = append(plain, text...)
	}
	plain = append(plain, a.unknown...)
	return ring.Seal(session.ForChallenge, realm, plain)
}

// openChallenge opens the value of a challenge cookie, and returns false if it cannot.
func openChallenge(ring *session.Ring, realm, sealed string) (Challenge, bool) {
	var a Challenge
	plain, err := ring.Open(session.ForChallenge, realm, sealed)
	const head = 2 + 16 + 8
	if err != nil || len(plain) < head || plain[0] != challengeVersion && plain[0] != challengeFields {
		return a, false
	}
	a.Unlisted, a.Restricted = plain[1]&flagUnlisted != 0, plain[1]&flagRestricted != 0
	copy(a.ID[:], plain[2:])
	a.Expires = time.Unix(int64(binary.BigEndian.Uint64(plain[18:])), 0)
	rest := plain[head:]
	for _, into := range []*string{&a.Number.E164, &a.Number.Region, &a.User, &a.ReturnTo} {
		if len(rest) < 2 {
			return a, false
		}
		n := int(binary.BigEndian.Uint16(rest))
		if len(rest) < 2+n {
			return a, false
		}
		*into, rest = string(rest[2:2+n]), rest[2+n:]
	}
	if len(rest) > 0 && plain[0] == challengeVersion {
		return a, false
	}
	a.unknown = string(rest)
	return a, session.AreFields(a.unknown)
}
