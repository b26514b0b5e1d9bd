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
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// ErrSealed says that a value does not open. It may be foreign, changed, sealed for
// another purpose or audience, or sealed by a key that is gone. The error does not
// say which, so that it helps no attacker.
var ErrSealed = errors.New("sealed value does not open")

// ErrNotReady says that a ring has no keys yet.
var ErrNotReady = errors.New("the keys are not known yet")

// Purpose says what kind of value is sealed. Each purpose has a key of its own,
// derived from the ring's key with HKDF (RFC 5869). So a value of one purpose never
// opens as another.
type Purpose uint8

// The purposes that values are sealed for.
const (
	ForSession    Purpose = iota // the session cookie
	ForChallenge                 // the challenge cookie
	ForDevice                    // the device cookie
	ForCode                      // a code at rest
	ForRevocation                // the subject of a revocation record
	purposes
)

// String returns the name that derives the keys of the purpose. A changed name makes
// every value of that purpose unreadable.
func (p Purpose) String() string {
	return [...]string{"session", "challenge", "device", "code", "revocation"}[p]
}

// Ring seals and opens values. It is safe for concurrent use. Sealing and opening
// take no lock, also while Replace swaps the keys.
//
// The zero Ring has no keys: it seals and opens nothing until Replace is called.
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

// NewRing returns a ring with keys. The error is that of Keys.Check.
func NewRing(keys Keys) (*Ring, error) {
	r := new(Ring)
	if err := r.Replace(keys); err != nil {
		return nil, err
	}
	return r, nil
}

// Ready reports whether the ring has keys.
func (r *Ring) Ready() bool { return r.keys.Load() != nil }

// Replace swaps the keys of the ring. The ring then seals with the first sealing
// key and opens with all. The error is that of Keys.Check; then the ring keeps its
// former keys.
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

// Digest returns a keyed hash (HMAC-SHA256) of use and parts. It is the same for the
// same arguments as long as the ring keeps its index key. Without that key, the hash
// does not help to guess the parts. The name use keeps the hashes of different
// purposes apart, such as "number" and "ip".
//
// If the ring has no keys, Digest returns other random bytes each time, which match
// nothing. Call Ready first.
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
	// maxPlain bounds the text that is sealed, in bytes. It keeps a cookie with its
	// name and attributes below the 4096 bytes of RFC 6265, section 6.1.
	maxPlain = 2700
	maxRaw   = maxPlain + overhead
)

// strict refuses base64 texts that differ from the one that Seal writes for the
// same bytes.
var strict = base64.RawURLEncoding.Strict()

// scratch holds the buffers of Open. They are reused, because Open runs at every
// request.
type scratch struct {
	text []byte
	raw  []byte
	aad  []byte
}

var scratches = sync.Pool{New: func() any {
	return &scratch{text: make([]byte, 0, 512), raw: make([]byte, 0, 512), aad: make([]byte, 0, 128)}
}}

// Seal encrypts plain (AES-256-GCM) and returns it as text for a cookie. Open needs
// the same purpose and audience. The audience is additional authenticated data,
// such as a realm or the ID of a challenge.
//
// The error is ErrNotReady if the ring has no keys. A plain text of more than 2700
// bytes is an error too, because it does not fit a cookie.
func (r *Ring) Seal(purpose Purpose, audience string, plain []byte) (string, error) {
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
	raw = key.aead[purpose].Seal(raw, nonce, plain, []byte(audience))
	return base64.RawURLEncoding.EncodeToString(raw), nil
}

// open calls use with the plain text of sealed. The bytes are reused once use has
// returned. The error is ErrSealed, or the error of use.
func (r *Ring) open(purpose Purpose, audience, sealed string, use func(plain []byte) error) error {
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
	if err != nil || base64.RawURLEncoding.EncodedLen(len(raw)) != len(sealed) { // the decoder ignores line breaks
		return ErrSealed
	}
	s.raw = raw
	s.aad = append(s.aad[:0], audience...)
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

// Open returns the plain text that Seal was given for the same purpose and audience.
// Any other value gives ErrSealed, and so does a ring without keys.
func (r *Ring) Open(purpose Purpose, audience, sealed string) ([]byte, error) {
	var out []byte
	err := r.open(purpose, audience, sealed, func(plain []byte) error {
		out = append(out, plain...)
		return nil
	})
	return out, err
}
