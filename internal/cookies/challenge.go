package cookies

import (
	"encoding/binary"
	"time"

	"github.com/caddy-websms/websms/number"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

// Challenge is the content of the challenge cookie: the ID of the browser's challenge, and
// everything else that the gate needs to go on with it. So no store holds a number.
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
func (c *Challenge) seal(ring *session.Ring, realm string) (string, error) {
	var flags byte
	if c.Unlisted {
		flags |= flagUnlisted
	}
	if c.Restricted {
		flags |= flagRestricted
	}
	version := byte(challengeVersion)
	if c.unknown != "" {
		version = challengeFields
	}
	plain := append(make([]byte, 0, 64+len(c.ReturnTo)), version, flags)
	plain = append(plain, c.ID[:]...)
	plain = binary.BigEndian.AppendUint64(plain, uint64(c.Expires.Unix()))
	for _, text := range []string{c.Number.E164, c.Number.Region, c.User, c.ReturnTo} {
		plain = binary.BigEndian.AppendUint16(plain, uint16(len(text)))
		plain = append(plain, text...)
	}
	plain = append(plain, c.unknown...)
	return ring.Seal(session.ForChallenge, realm, plain)
}

// openChallenge opens the value of a challenge cookie, and returns false if it cannot.
func openChallenge(ring *session.Ring, realm, sealed string) (Challenge, bool) {
	var c Challenge
	plain, err := ring.Open(session.ForChallenge, realm, sealed)
	const head = 2 + 16 + 8
	if err != nil || len(plain) < head || plain[0] != challengeVersion && plain[0] != challengeFields {
		return c, false
	}
	c.Unlisted, c.Restricted = plain[1]&flagUnlisted != 0, plain[1]&flagRestricted != 0
	copy(c.ID[:], plain[2:])
	c.Expires = time.Unix(int64(binary.BigEndian.Uint64(plain[18:])), 0)
	rest := plain[head:]
	for _, into := range []*string{&c.Number.E164, &c.Number.Region, &c.User, &c.ReturnTo} {
		if len(rest) < 2 {
			return c, false
		}
		n := int(binary.BigEndian.Uint16(rest))
		if len(rest) < 2+n {
			return c, false
		}
		*into, rest = string(rest[2:2+n]), rest[2+n:]
	}
	if len(rest) > 0 && plain[0] == challengeVersion {
		return c, false
	}
	c.unknown = string(rest)
	return c, session.AreFields(c.unknown)
}
