package cookies

import (
	"encoding/binary"
	"time"

	"github.com/caddy-websms/websms/session"
)

// device is what the device cookie holds: that this browser has verified some
// numbers. It lets nobody in. It gives the browser a run of failures of its
// own for them, which no stranger's guesses lock (OWASP Authentication Cheat
// Sheet, device cookies), and shows it how a delivery went.
type device struct {
	verified []verifiedNumber // the latest first
	unknown  string           // fields of a newer version, which learning a number keeps
}

// verifiedNumber is a number that a device has verified. Its id is another
// each time, so that a stolen copy of the cookie has a run of failures that
// its owner ends once at most, and not with every verification.
type verifiedNumber struct {
	digest string
	id     session.ID
	at     time.Time
}

// The sealed form: version, then the digest, the id and the time (nanoseconds
// since 1970) of each number. From version 2 on the count of the numbers (one
// byte) stands before them, and fields follow, see session.AppendField. A
// device without fields is sealed as version 1, so that nodes that know no fields
// can open it too. If a later version adds data to one number, it writes a field
// with the number's digest in its value.
const (
	deviceVersion = 1
	deviceFields  = 2
	deviceNumbers = 4 // that one device remembers
	deviceDigest  = 16
	deviceLife    = 180 * 24 * time.Hour
)

func numberDigest(ring *session.Ring, realm, e164 string) string {
	sum := ring.Digest("device", realm, e164)
	return string(sum[:deviceDigest])
}

// knows returns what this device has of a number, if that still counts.
func (d *device) knows(digest string, now time.Time) (verifiedNumber, bool) {
	for _, n := range d.verified {
		if n.digest == digest && now.Before(n.at.Add(deviceLife)) {
			return n, true
		}
	}
	return verifiedNumber{}, false
}

// learn puts a number first. The one that was verified longest ago goes.
func (d *device) learn(digest string, now time.Time) {
	verified := []verifiedNumber{{digest, session.NewID(), now}}
	for _, n := range d.verified {
		if n.digest != digest && len(verified) < deviceNumbers {
			verified = append(verified, n)
		}
	}
	d.verified = verified
}

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
