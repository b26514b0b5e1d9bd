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

// keysError is the error of keys in the archive that must not be used. Its text is the
// reason.
type keysError string

// Error implements error.
func (e keysError) Error() string { return string(e) }

// syncKeys brings the keys in the archive up to date, and takes them over. It reports
// whether it could read them. If not, the vault goes on with the keys that it has. The
// caller holds syncing.
func (v *Vault) syncKeys(ctx context.Context) (current bool, err error) {
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
	case v.keys.Sealing == nil: // a start fails without the inherited keys
		return false, err
	}
	if keys.Sealing == nil {
		return false, err
	}
	v.setKeys(keys)
	return true, err
}

// dueKeys changes the keys in the archive if a change is due. It returns the keys that
// the vault is to use.
func (v *Vault) dueKeys(ctx context.Context, found session.Keys) (session.Keys, error) {
	if _, due := v.next(found); !due {
		return v.united(found), nil
	}
	changed, err := v.changeKeys(ctx)
	switch {
	case changed.Sealing != nil: // also if only the release of the lock failed
		return changed, err
	case v.archive.Volatile():
		return v.united(found), err
	}
	return found, err // inherited keys are not used before they are stored
}

// placeKeys puts the keys into the ring. Each process decides by its own clock which of
// them seals.
func (v *Vault) placeKeys() error {
	keys := v.keys.At(v.now())
	if keys.Equal(v.placedKeys) { // then new ciphers would be of no use
		return nil
	}
	if err := v.Ring.Replace(keys); err != nil {
		return err
	}
	v.placedKeys = keys
	return nil
}

// setKeys replaces the keys that the vault knows. The caller holds syncing.
func (v *Vault) setKeys(keys session.Keys) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.keys = keys
}

// knownKeys returns the keys that the vault knows, for a caller that does not hold
// syncing.
func (v *Vault) knownKeys() session.Keys {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.keys
}

// readKeys reads the keys in the archive. The result is empty if there are none.
func (v *Vault) readKeys(ctx context.Context) (session.Keys, error) {
	ctx, cancel := v.within(ctx)
	defer cancel()
	data, err := v.archive.Keys(ctx)
	if err != nil {
		return session.Keys{}, err
	}
	return v.parseKeys(data)
}

// parseKeys parses the keys of an archive. An archive has none before its first process
// makes them. After that, a storage must have the keys of this vault's ring, and a
// volatile archive may have lost them, or have those of another ring.
func (v *Vault) parseKeys(data []byte) (keys session.Keys, err error) {
	switch {
	case data == nil && (v.keys.Sealing == nil || v.archive.Volatile()):
		return keys, nil
	case data == nil:
		return keys, keysError(v.keysPlace() +
			" is gone; restore it, or restart Caddy to end all sessions and begin anew")
	case v.storedData != nil && bytes.Equal(data, v.storedData):
		return v.storedKeys, nil
	}
	var newer *session.VersionError
	switch err := json.Unmarshal(data, &keys); {
	case errors.As(err, &newer):
		return session.Keys{}, keysError(v.keysPlace() + " has " + newer.Error() + "; nothing is written to it")
	case err != nil && json.Valid(data):
		// The error of json.Unmarshal could quote a secret.
		return session.Keys{}, v.damaged("damaged: its fields are not those of keys")
	case err != nil:
		return session.Keys{}, v.damaged("not JSON")
	}
	if err := keys.Check(); err != nil {
		return keys, v.damaged("damaged: " + err.Error())
	}
	if v.keys.Sealing != nil && !v.archive.Volatile() && !bytes.Equal(keys.Index, v.keys.Index) {
		return keys, keysError(v.keysPlace() +
			" holds the keys of another ring; restore it, or restart Caddy to end all sessions and go on with those")
	}
	v.storedKeys, v.storedData = keys, bytes.Clone(data)
	return keys, nil
}

// keysPlace names the keys in the archive for an operator.
func (v *Vault) keysPlace() string {
	if _, ok := v.archive.(*storageArchive); ok {
		return keysFile + " in Caddy's storage"
	}
	return "the ring of keys in " + v.where
}

// damaged returns the error of damaged keys. It names the damage and the remedy.
func (v *Vault) damaged(how string) error {
	restart := ""
	if v.keys.Sealing != nil {
		restart = " and restart Caddy"
	}
	return keysError(fmt.Sprintf("%s is %s; restore it, or delete it%s to end all sessions and begin anew",
		v.keysPlace(), how, restart))
}

// united returns the keys that were found in the archive together with those that the
// vault must add to them.
//
// To a storage, the vault adds the keys that it inherits. To a volatile archive, it adds
// the keys that the archive has lost. A key that is older than all keys found was not
// lost: another process has removed it, because its time was over.
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

// next returns the keys that the archive must have now. It reports whether they differ
// from those found there.
func (v *Vault) next(found session.Keys) (next session.Keys, changed bool) {
	united := v.united(found)
	next, rotated := united.Rotate(v.now(), session.MaxLife)
	return next, rotated || !united.Equal(found)
}

// changeKeys changes the keys in the archive to those that next returns. All processes
// that share the archive then share the keys. It returns the keys that the archive has
// after that. It can return keys beside an error, because the archive may have made the
// change although its answer was lost.
func (v *Vault) changeKeys(ctx context.Context) (keys session.Keys, err error) {
	change, cancel := v.within(ctx)
	defer cancel()
	var found session.Keys
	changed := false
	err = v.archive.ChangeKeys(change, func(data []byte) ([]byte, error) {
		changed = false
		var err error
		if found, err = v.parseKeys(data); err != nil { // another process may have changed them meanwhile
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
		v.logger().Info(v.whatChanged(found),
			zap.Int("keys_before", len(found.Sealing)), zap.Int("keys", len(keys.Sealing)))
	}
	return keys, nil
}

// whatChanged returns the line for the log of a change of the keys.
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
