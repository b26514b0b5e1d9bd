package cookies

import (
	"encoding/binary"
	"time"

	"github.com/caddy-websms/websms/session"
)

// device is the content of the device cookie: the numbers that this browser has
// verified. It is no session. For these numbers the browser has failures of its own, so
// the wrong codes of a stranger do not lock its owner out (OWASP Authentication Cheat
// Sheet, device cookies). It may also see the delivery status of its messages.
type device struct {
	verified []verifiedNumber // the latest first
	unknown  string           // fields of a newer version of the plugin, which learn keeps
}

// verifiedNumber is a number that a device has verified. Failures count under its ID,
// and each verification makes a new ID. So the failures of a stolen copy of the cookie
// end at most once, and not with each verification of the owner.
type verifiedNumber struct {
	digest string
	id     session.ID
	at     time.Time
}

// The sealed form has these parts, in this order:
//
//   - the version, one byte
//   - from version 2 on, the count of the numbers, one byte
//   - of each number the digest, the ID and the time in nanoseconds since 1970
//   - from version 2 on, fields: see session.AppendField
//
// A device without fields is sealed as version 1, so that nodes with an older version of
// the plugin can open it too. If a later version adds data to one number, it writes a
// field with the number's digest in its value.
const (
	deviceVersion = 1
	deviceFields  = 2
	deviceNumbers = 4                    // the most numbers of one device
	deviceDigest  = 16                   // the length of a digest, in bytes
	deviceLife    = 180 * 24 * time.Hour // how long a verification of a number counts here
)

// numberDigest returns the keyed hash of a number, which stands for it in the cookie.
func numberDigest(ring *session.Ring, realm, e164 string) string {
	sum := ring.Digest("device", realm, e164)
	return string(sum[:deviceDigest])
}

// knows returns the entry of a number, and false if the device has not verified the
// number in the last deviceLife.
func (d *device) knows(digest string, now time.Time) (verifiedNumber, bool) {
	for _, n := range d.verified {
		if n.digest == digest && now.Before(n.at.Add(deviceLife)) {
			return n, true
		}
	}
	return verifiedNumber{}, false
}

// learn puts a number first. If there are too many, it drops the oldest one.
func (d *device) learn(digest string, now time.Time) {
	verified := []verifiedNumber{{digest, session.NewID(), now}}
	for _, n := range d.verified {
		if n.digest != digest && len(verified) < deviceNumbers {
			verified = append(verified, n)
		}
	}
	d.verified = verified
}

// seal returns the value of the device cookie.
func (d *device) seal(ring *session.Ring, realm string) (string, error) {
	plain := []byte{deviceVersion}
	if d.unknown != "" {
		plain = []byte{deviceFields, byte(len(d.verified))}
	}
	for _, n := range d.verified {
		plain = append(plain, n.digest...)
		plain = append(plain, n.id[:]...)
		plain = binary.BigEndian.AppendUint64(plain, uint64(n.at.UnixNano()))
	}
	plain = append(plain, d.unknown...)
	return ring.Seal(session.ForDevice, realm, plain)
}

// openDevice opens the value of a device cookie, and returns false if it cannot.
func openDevice(ring *session.Ring, realm, sealed string) (device, bool) {
	var d device
	plain, err := ring.Open(session.ForDevice, realm, sealed)
	if err != nil || len(plain) == 0 {
		return d, false
	}
	const entry = deviceDigest + 16 + 8
	version, rest, count := plain[0], plain[1:], (len(plain)-1)/entry
	if version == deviceFields && len(rest) > 0 {
		count, rest = int(rest[0]), rest[1:]
	} else if version != deviceVersion {
		return d, false
	}
	if len(rest) < count*entry || version == deviceVersion && len(rest) > count*entry {
		return d, false
	}
	for ; count > 0; count, rest = count-1, rest[entry:] {
		n := verifiedNumber{digest: string(rest[:deviceDigest]), at: time.Unix(0, int64(binary.BigEndian.Uint64(rest[deviceDigest+16:])))}
		copy(n.id[:], rest[deviceDigest:])
		d.verified = append(d.verified, n)
	}
	d.unknown = string(rest)
	return d, session.AreFields(d.unknown)
}
