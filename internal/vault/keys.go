package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/caddy-websms/websms/session"
)

// keysError says that the keys in the archive are not to be used, and why.
type keysError string

func (e keysError) Error() string { return string(e) }

// tendKeys brings the keys in the archive up to date, and takes them over. It
// reports whether they could be read; ours stay as they are if not.
func (v *Vault) tendKeys(ctx context.Context) (current bool, err error) {
	found, err := v.readKeys(ctx)
	if err != nil {
		return false, err
	}
	var inherits bequest
	if !v.archive.Volatile() { // for a volatile archive takeOver has done it
		inherits = v.pending()
	}
	if inherits.any() {
		err = v.storeBequest(ctx, found)
	}
	keys := found
	if err == nil {
		keys, err = v.dueKeys(ctx, found)
	}
	switch {
	case !inherits.any():
	case err == nil || v.united(keys).Equal(keys):
		v.hasInherited(inherits)
	case v.keys.Sealing == nil: // a start does not go on without them
		return false, err
	}
	if keys.Sealing == nil {
		return false, err
	}
	v.setKeys(keys)
	return true, err
}

// dueKeys changes the keys in the archive if that is due, and returns the result.
func (v *Vault) dueKeys(ctx context.Context, found session.Keys) (session.Keys, error) {
	if _, due := v.next(found); !due {
		return v.united(found), nil
	}
	changed, err := v.changeKeys(ctx)
	switch {
	case changed.Sealing != nil: // also if the only error is that the lock could not be released
		return changed, err
	case v.archive.Volatile():
		return v.united(found), err
	}
	return found, err // inherited keys are not used before they are stored
}

// place makes the ring what it is to be now by the keys. Each process decides
// by its own clock which key seals.
func (v *Vault) place() error {
	keys := v.keys.At(v.now())
	if keys.Equal(v.placed) { // else ciphers would be made for nothing
		return nil
	}
	if err := v.Ring.Replace(keys); err != nil {
		return err
	}
	v.placed = keys
	return nil
}

func (v *Vault) setKeys(keys session.Keys) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.keys = keys
}

// knownKeys returns the keys to who does not tend.
func (v *Vault) knownKeys() session.Keys {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.keys
}

// readKeys reads the keys in the archive; there may be none.
func (v *Vault) readKeys(ctx context.Context) (session.Keys, error) {
	ctx, cancel := v.within(ctx)
	defer cancel()
	data, err := v.archive.Keys(ctx)
	if err != nil {
		return session.Keys{}, err
	}
	return v.parseKeys(data)
}

// parseKeys returns the keys that an archive holds. There are none before the
// first process that asks has made them; later they must be those of our ring,
// unless the archive is one that may lose them.
func (v *Vault) parseKeys(data []byte) (keys session.Keys, err error) {
	switch {
	case data == nil && (v.keys.Sealing == nil || v.archive.Volatile()):
		return keys, nil
	case data == nil:
		return keys, keysError(v.keysPlace() + " is gone; restore it, or restart Caddy to end all sessions and begin anew")
	case v.data != nil && bytes.Equal(data, v.data):
		return v.read, nil
	}
	var newer *session.VersionError
	switch err := json.Unmarshal(data, &keys); {
	case errors.As(err, &newer):
		return session.Keys{}, keysError(v.keysPlace() + " has " + newer.Error() + "; nothing is written to it")
	case err != nil && json.Valid(data):
		return session.Keys{}, v.damaged("damaged: its fields are not those of keys") // the error could quote a secret
	case err != nil:
		return session.Keys{}, v.damaged("not JSON")
	}
	if err := keys.Check(); err != nil {
		return keys, v.damaged("damaged: " + err.Error())
	}
	if v.keys.Sealing != nil && !v.archive.Volatile() && !bytes.Equal(keys.Index, v.keys.Index) {
		return keys, keysError(v.keysPlace() + " holds the keys of another ring; restore it, or restart Caddy to end all sessions and go on with those")
	}
	v.read, v.data = keys, bytes.Clone(data)
	return keys, nil
}

// keysPlace names the keys in the archive.
func (v *Vault) keysPlace() string {
	if _, ok := v.archive.(*storageArchive); ok {
		return keysFile + " in Caddy's storage"
	}
	return "the ring of keys in " + v.where
}

// damaged says what is wrong with the keys, and what to do about it.
func (v *Vault) damaged(how string) error {
	restart := ""
	if v.keys.Sealing != nil {
		restart = " and restart Caddy"
	}
	return keysError(fmt.Sprintf("%s is %s; restore it, or delete it%s to end all sessions and begin anew", v.keysPlace(), how, restart))
}

// united returns the keys that were found together with those that we know,
// where the archive may have lost some, or all, and others may have begun anew
// meanwhile. What is older than all that were found was not lost: its time
// was over.
func (v *Vault) united(found session.Keys) session.Keys {
	known := v.keys
	if !v.archive.Volatile() {
		return v.withBequest(found)
	}
	if known.Sealing == nil {
		return found
	}
	if bytes.Equal(known.Index, found.Index) {
		known = known.Since(found)
	}
	return found.Merge(known)
}

// next returns what the keys in the archive are to be now, given those that
// are there, and whether that is a change.
func (v *Vault) next(found session.Keys) (next session.Keys, changed bool) {
	united := v.united(found)
	next, rotated := united.Rotate(v.now(), session.MaxLife)
	return next, rotated || !united.Equal(found)
}

// changeKeys makes the keys in the archive what they are to be, so that all
// who share the archive share the keys. It returns those that are there then,
// also beside an error: the change may have been made all the same.
func (v *Vault) changeKeys(ctx context.Context) (keys session.Keys, err error) {
	change, cancel := v.within(ctx)
	defer cancel()
	var found session.Keys
	changed := false
	err = v.archive.ChangeKeys(change, func(data []byte) ([]byte, error) {
		changed = false
		var err error
		if found, err = v.parseKeys(data); err != nil { // another process may have been faster
			return nil, err
		}
		if keys, changed = v.next(found); !changed {
			return nil, nil
		}
		return json.Marshal(keys)
	})
	if err != nil {
		there, unread := v.readKeys(ctx)
		if unread != nil || there.Sealing == nil || !v.archive.Volatile() && !v.united(there).Equal(there) {
			return session.Keys{}, err
		}
		return v.united(there), err
	}
	if changed {
		v.logger().Info(v.whatChanged(found), zap.Int("keys_before", len(found.Sealing)), zap.Int("keys", len(keys.Sealing)))
	}
	return keys, nil
}

// whatChanged says what was done to the keys that were found.
func (v *Vault) whatChanged(found session.Keys) string {
	switch {
	case len(found.Sealing) == 0 && v.keys.Sealing == nil:
		return "made the key that seals sessions"
	case len(found.Sealing) == 0:
		return "put the keys that seal sessions into " + v.where + ", which had none"
	case !v.united(found).Equal(found):
		return "joined the keys that seal sessions with those in " + v.where
	}
	return "rotated the keys that seal sessions"
}
