package websms

import (
	"encoding/binary"
	"time"

	"github.com/caddy-websms/websms/number"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

// ask is the content of the challenge cookie: the challenge that the browser asked
// for, and all that the gate needs to go on with it, so that no store keeps it.
type ask struct {
	id      otp.ID
	number  number.Number
	user    string    // the user whom the first factor named; "" in number mode
	guarded bool      // the gate had a list of numbers: the delivery is not shown
	decoy   bool      // the number was not on the list: nothing was sent
	expires time.Time // when the code expires, as of the writing of the cookie
	rd      string    // the return target

	unknown string // fields of a newer version, which a resend keeps
}

// The sealed form: version, flags, id, expires in seconds since 1970, then
// number, region, user and rd, each with its length (two bytes). From version 3
// on fields follow, see session.AppendField. A challenge that needs none is
// sealed as version 2, so that nodes that know no fields can open it too.
const (
	askVersion  = 2
	askFields   = 3
	flagDecoy   = 1
	flagGuarded = 2
)

// askLife is how long the challenge cookie lasts: longer than any code, so
// that a late answer can be told that it is late.
const askLife = otp.MaxLife + 5*time.Minute

func (a *ask) seal(ring *session.Ring, realm string) (string, error) {
	var flags byte
	if a.decoy {
		flags |= flagDecoy
	}
	if a.guarded {
		flags |= flagGuarded
	}
	version := byte(askVersion)
	if a.unknown != "" {
		version = askFields
	}
	plain := append(make([]byte, 0, 64+len(a.rd)), version, flags)
	plain = append(plain, a.id[:]...)
	plain = binary.BigEndian.AppendUint64(plain, uint64(a.expires.Unix()))
	for _, text := range []string{a.number.E164, a.number.Region, a.user, a.rd} {
		plain = binary.BigEndian.AppendUint16(plain, uint16(len(text)))
		plain = append(plain, text...)
	}
	plain = append(plain, a.unknown...)
	return ring.Seal(session.ForChallenge, realm, plain)
}

func openAsk(ring *session.Ring, realm, sealed string) (ask, bool) {
	var a ask
	plain, err := ring.Open(session.ForChallenge, realm, sealed)
	const head = 2 + 16 + 8
	if err != nil || len(plain) < head || plain[0] != askVersion && plain[0] != askFields {
		return a, false
	}
	a.decoy, a.guarded = plain[1]&flagDecoy != 0, plain[1]&flagGuarded != 0
	copy(a.id[:], plain[2:])
	a.expires = time.Unix(int64(binary.BigEndian.Uint64(plain[18:])), 0)
	rest := plain[head:]
	for _, into := range []*string{&a.number.E164, &a.number.Region, &a.user, &a.rd} {
		if len(rest) < 2 {
			return a, false
		}
		n := int(binary.BigEndian.Uint16(rest))
		if len(rest) < 2+n {
			return a, false
		}
		*into, rest = string(rest[2:2+n]), rest[2+n:]
	}
	if len(rest) > 0 && plain[0] == askVersion {
		return a, false
	}
	a.unknown = string(rest)
	return a, session.AreFields(a.unknown)
}
