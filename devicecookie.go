package websms

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
}

// verifiedNumber is a number that a device has verified. Its id is another
// each time, so that a stolen copy of the cookie has a run of failures that
// its owner ends once at most, and not with every verification.
type verifiedNumber struct {
	digest string
	id     session.ID
	at     time.Time
}

const (
	deviceVersion = 1
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
	for _, n := range d.verified {
		plain = append(plain, n.digest...)
		plain = append(plain, n.id[:]...)
		plain = binary.BigEndian.AppendUint64(plain, uint64(n.at.UnixNano()))
	}
	return ring.Seal(session.ForDevice, realm, plain)
}

func openDevice(ring *session.Ring, realm, sealed string) (device, bool) {
	var d device
	plain, err := ring.Open(session.ForDevice, realm, sealed)
	const head, entry = 1, deviceDigest + 16 + 8
	if err != nil || len(plain) < head || plain[0] != deviceVersion || (len(plain)-head)%entry != 0 {
		return d, false
	}
	for rest := plain[head:]; len(rest) > 0; rest = rest[entry:] {
		n := verifiedNumber{digest: string(rest[:deviceDigest]), at: time.Unix(0, int64(binary.BigEndian.Uint64(rest[deviceDigest+16:])))}
		copy(n.id[:], rest[deviceDigest:])
		d.verified = append(d.verified, n)
	}
	return d, true
}
