package session

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Key is one secret of a key ring.
type Key struct {
	ID      uint32    `json:"id"`
	Secret  []byte    `json:"secret"` // 32 random bytes
	Created time.Time `json:"created"`

	more map[string]json.RawMessage // fields of a later release
}

// Keys is the stored form of a key ring. Its methods return new Keys and change
// none.
type Keys struct {
	// Index is the key of the hashes that Ring.Digest returns: 32 bytes. It is
	// never rotated. With another key, every counter would start again at zero.
	Index []byte `json:"index"`
	// Sealing holds the sealing keys. A Ring seals with the first and opens with
	// all of them: see At.
	Sealing []Key `json:"sealing"`

	more map[string]json.RawMessage // fields of a later release
}

// secretSize is the length of every key in bytes, as AES-256 and HMAC-SHA256 use it.
const secretSize = 32

// NewKeys returns new random keys: an index key and one sealing key made at now.
func NewKeys(now time.Time) Keys {
	index := make([]byte, secretSize)
	rand.Read(index) // never fails: crypto/rand ends the program instead
	return Keys{Index: index, Sealing: []Key{newKey(now)}}
}

// Check returns an error if a key is missing or has the wrong length. The error
// names a key by its ID and never shows its secret.
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
