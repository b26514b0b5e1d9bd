// Package session proves, from a cookie alone, what a browser has shown.
//
// It promises that nothing in a cookie is readable or changeable without the
// keys; that what is sealed for one purpose, one realm or one host opens for
// no other; and that opening a session takes no lock and asks nobody.
package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// ErrSealed says that a sealed value is not ours, not for this purpose or
// realm, of a key no longer known, or was changed. It never says which.
var ErrSealed = errors.New("sealed value does not open")

// ErrNotReady says that a ring has no keys yet.
var ErrNotReady = errors.New("the keys are not known yet")

// Purpose separates what is sealed: each has a key of its own, derived from
// the ring's (HKDF, RFC 5869), so that a value of one never opens as another.
type Purpose uint8

// The purposes that values are sealed for.
const (
	ForSession    Purpose = iota // the session cookie
	ForChallenge                 // the challenge cookie
	ForDevice                    // the device cookie
	ForCode                      // a code at rest
	ForRevocation                // whose sessions are revoked, at rest
	purposes
)

// String returns the name that the purpose's keys are derived with. Changing
// one makes every value sealed for it worthless.
func (p Purpose) String() string {
	return [...]string{"session", "challenge", "device", "code", "revocation"}[p]
}

// Key is one secret of a key ring.
type Key struct {
	ID      uint32    `json:"id"`
	Secret  []byte    `json:"secret"` // 32 random bytes
	Created time.Time `json:"created"`

	more map[string]json.RawMessage // fields of a later release
}

// Keys is a key ring as it is kept at rest. Its methods say what it should be
// at which time; they change nothing.
type Keys struct {
	// Index keys the hashes that counters and delivery reports are found by.
	// It is never rotated: a hash that changed would lift a limit.
	Index []byte `json:"index"`
	// Sealing keys. A Ring seals with the first, and opens with all; see At.
	Sealing []Key `json:"sealing"`

	more map[string]json.RawMessage // fields of a later release
}

// secretSize is the length of every secret in bytes: AES-256 and HMAC-SHA256.
const secretSize = 32

// NewKeys returns a fresh key ring with one sealing key.
func NewKeys(now time.Time) Keys {
	index := make([]byte, secretSize)
	rand.Read(index) // never fails: crypto/rand ends the program instead
	return Keys{Index: index, Sealing: []Key{newKey(now)}}
}

// Check returns why the keys are no key ring. It names a key by its id alone.
func (k Keys) Check() error {
	if len(k.Index) != secretSize {
		return fmt.Errorf("index key has %d bytes instead of %d", len(k.Index), secretSize)
	}
	if len(k.Sealing) == 0 {
		return errors.New("no sealing key")
	}
	for _, key := range k.Sealing {
		if len(key.Secret) != secretSize {
			return fmt.Errorf("sealing key %08x has %d bytes instead of %d", key.ID, len(key.Secret), secretSize)
		}
	}
	return nil
}

// Ring seals and opens values. It is safe for concurrent use; Replace swaps
// its keys without a lock on the readers' side.
//
// The zero Ring is empty: it opens nothing and seals nothing until Replace
// gives it keys, and is never empty again.
type Ring struct {
	keys atomic.Pointer[ringKeys]
}

type ringKeys struct {
	index   []byte
	sealing []sealingKey
}

type sealingKey struct {
	id   uint32
	aead [purposes]cipher.AEAD
}

// NewRing returns a ring of keys. The error says which key is unusable.
func NewRing(keys Keys) (*Ring, error) {
	r := new(Ring)
	if err := r.Replace(keys); err != nil {
		return nil, err
	}
	return r, nil
}

// Ready reports whether the ring has keys.
func (r *Ring) Ready() bool { return r.keys.Load() != nil }

// Replace makes keys the ring's own: it seals with the first of them, from now
// on. On an error the ring stays as it was.
func (r *Ring) Replace(keys Keys) error {
	if err := keys.Check(); err != nil {
		return err
	}
	next := &ringKeys{index: keys.Index}
	for _, k := range keys.Sealing {
		derived := sealingKey{id: k.ID}
		for p := range purposes {
			subkey, err := hkdf.Key(sha256.New, k.Secret, nil, "websms "+p.String(), secretSize)
			if err != nil {
				return fmt.Errorf("deriving from sealing key %08x: %w", k.ID, err)
			}
			block, err := aes.NewCipher(subkey)
			if err != nil {
				return fmt.Errorf("sealing key %08x: %w", k.ID, err)
			}
			if derived.aead[p], err = cipher.NewGCM(block); err != nil {
				return fmt.Errorf("sealing key %08x: %w", k.ID, err)
			}
		}
		next.sealing = append(next.sealing, derived)
	}
	r.keys.Store(next)
	return nil
}

// Digest is a keyed hash of parts, for one use: the same for the same parts
// as long as the ring's index key lives, and of no help in guessing them.
//
// Who may have an empty ring asks Ready first: a digest of that is of random
// bytes, others each time, so that it matches nothing.
func (r *Ring) Digest(use string, parts ...string) [sha256.Size]byte {
	var sum [sha256.Size]byte
	keys := r.keys.Load()
	if keys == nil {
		rand.Read(sum[:])
		return sum
	}
	mac := hmac.New(sha256.New, keys.index)
	var size [8]byte
	write := func(s string) { // lengths keep ("ab","c") from meaning ("a","bc")
		binary.BigEndian.PutUint64(size[:], uint64(len(s)))
		mac.Write(size[:])
		mac.Write([]byte(s))
	}
	write(use)
	for _, p := range parts {
		write(p)
	}
	mac.Sum(sum[:0])
	return sum
}

// A sealed value is base64url(key id ‖ nonce ‖ ciphertext ‖ tag), unpadded.
const (
	keyIDSize = 4
	nonceSize = 12
	tagSize   = 16
	overhead  = keyIDSize + nonceSize + tagSize
	// maxPlain bounds what is sealed, in bytes, so that a cookie with its
	// name and attributes stays below the 4096 that RFC 6265, 6.1 promises.
	maxPlain = 2700
	maxRaw   = maxPlain + overhead
)

// strict refuses spellings of the same bytes other than the one we write.
var strict = base64.RawURLEncoding.Strict()

// scratch is reused by Open, which would otherwise allocate on every request.
type scratch struct {
	text []byte
	raw  []byte
	aad  []byte
}

var scratches = sync.Pool{New: func() any {
	return &scratch{text: make([]byte, 0, 512), raw: make([]byte, 0, 512), aad: make([]byte, 0, 128)}
}}

// Seal encrypts plain for purpose and realm with the current key. It fails
// only when plain is longer than a cookie can carry (2700 bytes), or with
// ErrNotReady.
func (r *Ring) Seal(purpose Purpose, realm string, plain []byte) (string, error) {
	if len(plain) > maxPlain {
		return "", fmt.Errorf("sealing %d bytes: at most %d fit a cookie", len(plain), maxPlain)
	}
	keys := r.keys.Load()
	if keys == nil {
		return "", ErrNotReady
	}
	key := &keys.sealing[0]
	raw := make([]byte, keyIDSize+nonceSize, overhead+len(plain))
	binary.BigEndian.PutUint32(raw, key.id)
	nonce := raw[keyIDSize:]
	rand.Read(nonce)
	raw = key.aead[purpose].Seal(raw, nonce, plain, []byte(realm))
	return base64.RawURLEncoding.EncodeToString(raw), nil
}

// open calls use with what sealed holds for purpose and realm. The bytes are
// use's only until it returns. The error is ErrSealed or what use returns.
func (r *Ring) open(purpose Purpose, realm, sealed string, use func(plain []byte) error) error {
	if n := base64.RawURLEncoding.DecodedLen(len(sealed)); n < overhead || n > maxRaw {
		return ErrSealed
	}
	keys := r.keys.Load()
	if keys == nil {
		return ErrSealed
	}
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	s.text = append(s.text[:0], sealed...)
	raw, err := strict.AppendDecode(s.raw[:0], s.text)
	if err != nil || base64.RawURLEncoding.EncodedLen(len(raw)) != len(sealed) { // the decoder passes over line breaks
		return ErrSealed
	}
	s.raw = raw
	s.aad = append(s.aad[:0], realm...)
	id := binary.BigEndian.Uint32(raw)
	for i := range keys.sealing {
		if keys.sealing[i].id != id {
			continue
		}
		nonce, box := raw[keyIDSize:keyIDSize+nonceSize], raw[keyIDSize+nonceSize:]
		plain, err := keys.sealing[i].aead[purpose].Open(box[:0], nonce, box, s.aad)
		if err == nil {
			return use(plain)
		}
	}
	return ErrSealed
}

// Open returns what Seal was given for the same purpose and realm, or ErrSealed.
func (r *Ring) Open(purpose Purpose, realm, sealed string) ([]byte, error) {
	var out []byte
	err := r.open(purpose, realm, sealed, func(plain []byte) error {
		out = append(out, plain...)
		return nil
	})
	return out, err
}
