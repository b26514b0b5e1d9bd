package websms

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"go.uber.org/zap"

	"github.com/caddy-websms/websms/session"
)

// keysFile is where the key ring is in Caddy's storage.
const keysFile = "websms/keys.json"

// keysError says that the keys in the storage are not to be used, and why.
type keysError string

func (e keysError) Error() string { return string(e) }

// tendKeys makes the ring what it is to be now by the keys in the storage,
// which it brings up to date first. It reports whether they could be read; the
// ring stays as it is if not.
func (v *vault) tendKeys(ctx context.Context) (current bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, storageTime)
	defer cancel()
	now := v.now()
	keys, err := v.readKeys(ctx)
	if err != nil {
		return false, err
	}
	if _, due := keys.Rotate(now, maxLife); due {
		var rotated session.Keys
		if rotated, err = v.rotateKeys(ctx); rotated.Sealing != nil { // also where only the lock is left behind
			keys = rotated
		} else if keys.Sealing == nil {
			return false, err
		}
	}
	// Each process decides by its own clock which key seals.
	if v.ring == nil {
		ring, broken := session.NewRing(keys.At(now))
		if broken != nil {
			return false, broken
		}
		v.ring = ring
	} else if broken := v.ring.Replace(keys.At(now)); broken != nil {
		return false, broken
	}
	v.keys = keys
	return true, err
}

// readKeys reads the keys in the storage. There are none before the first
// process that asks has made them; later they must be those of our ring.
func (v *vault) readKeys(ctx context.Context) (keys session.Keys, err error) {
	data, err := v.storage().Load(ctx, keysFile)
	switch {
	case errors.Is(err, fs.ErrNotExist) && v.ring == nil:
		return keys, nil
	case errors.Is(err, fs.ErrNotExist):
		return keys, keysError(keysFile + " is gone from Caddy's storage; restore it, or restart Caddy to end all sessions and begin anew")
	case err != nil:
		return keys, fmt.Errorf("reading %s in Caddy's storage: %w", keysFile, err)
	}
	if json.Unmarshal(data, &keys) != nil { // whose error could quote a secret
		return keys, v.damaged("not JSON")
	}
	if err := keys.Check(); err != nil {
		return keys, v.damaged("damaged: " + err.Error())
	}
	if v.ring != nil && !bytes.Equal(keys.Index, v.keys.Index) {
		return keys, keysError(keysFile + " in Caddy's storage holds the keys of another ring; restore it, or restart Caddy to end all sessions and go on with those")
	}
	return keys, nil
}

// damaged says what is wrong with the keys, and what to do about it.
func (v *vault) damaged(how string) error {
	restart := ""
	if v.ring != nil {
		restart = " and restart Caddy"
	}
	return keysError(fmt.Sprintf("%s in Caddy's storage is %s; restore it, or delete it%s to end all sessions and begin anew", keysFile, how, restart))
}

// rotateKeys makes or removes keys in the storage as is due, under its lock,
// so that all who share the storage share the keys. It returns those that are
// there then.
func (v *vault) rotateKeys(ctx context.Context) (keys session.Keys, err error) {
	storage := v.storage()
	if err := storage.Lock(ctx, vaultFolder); err != nil {
		return keys, fmt.Errorf("locking Caddy's storage, which must be writable: %w", err)
	}
	defer func() {
		if unlock := storage.Unlock(context.WithoutCancel(ctx), vaultFolder); unlock != nil {
			err = errors.Join(err, fmt.Errorf("unlocking Caddy's storage: %w", unlock))
		}
	}()
	if keys, err = v.readKeys(ctx); err != nil { // another process may have been faster
		return session.Keys{}, err
	}
	next, due := keys.Rotate(v.now(), maxLife)
	if !due {
		return keys, nil
	}
	data, err := json.Marshal(next)
	if err != nil {
		return keys, fmt.Errorf("writing %s: %w", keysFile, err)
	}
	if err := storage.Store(ctx, keysFile, data); err != nil {
		return keys, fmt.Errorf("writing to Caddy's storage: %w", err)
	}
	what := "rotated the keys that seal sessions"
	if len(keys.Sealing) == 0 {
		what = "made the key that seals sessions"
	}
	v.logger().Info(what, zap.Int("keys_before", len(keys.Sealing)), zap.Int("keys", len(next.Sealing)))
	return next, nil
}
