package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// VersionError says that a later release has written something. This release must
// neither read nor replace it.
type VersionError struct {
	Found int // the version in the data
	Known int // the latest version that this release knows
}

// Error names both versions and the remedy.
func (e *VersionError) Error() string {
	return fmt.Sprintf("version %d, and this release knows %d at most: run the release that wrote it, or a later one", e.Found, e.Known)
}

// KeysVersion is the version of the JSON of Keys. Before version 1, the same JSON
// had no version.
const KeysVersion = 1

// MarshalJSON writes the keys with their version. Fields that this release does
// not know are written as they were read.
func (k Keys) MarshalJSON() ([]byte, error) {
	return withFields(struct {
		Version int    `json:"version"`
		Index   []byte `json:"index"`
		Sealing []Key  `json:"sealing"`
	}{KeysVersion, k.Index, k.Sealing}, k.more)
}

// UnmarshalJSON reads keys. The error is a *VersionError for a later version.
func (k *Keys) UnmarshalJSON(data []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	if text, ok := fields["version"]; ok {
		version := 0
		if err := json.Unmarshal(text, &version); err != nil || version < 1 {
			return errors.New("no version that any release has written")
		}
		if version > KeysVersion {
			return &VersionError{Found: version, Known: KeysVersion}
		}
	}
	type plain Keys // without methods
	var read plain
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	*k = Keys(read)
	k.more = without(fields, "version", "index", "sealing")
	return nil
}

// MarshalJSON writes the key. Fields that this release does not know are written
// as they were read.
func (k Key) MarshalJSON() ([]byte, error) {
	type plain Key // without methods
	return withFields(plain(k), k.more)
}

// UnmarshalJSON reads a key, and keeps fields that this release does not know.
func (k *Key) UnmarshalJSON(data []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	type plain Key // without methods
	var read plain
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	*k = Key(read)
	k.more = without(fields, "id", "secret", "created")
	return nil
}

// without removes the known fields, and returns nil if none is left.
func without(fields map[string]json.RawMessage, known ...string) map[string]json.RawMessage {
	maps.DeleteFunc(fields, func(name string, _ json.RawMessage) bool {
		// encoding/json ignores case too.
		return slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, name) })
	})
	if len(fields) == 0 {
		return nil
	}
	return fields
}

// withFields writes the fields of the struct known, followed by the fields of more.
func withFields(known any, more map[string]json.RawMessage) ([]byte, error) {
	data, err := json.Marshal(known)
	if err != nil || len(more) == 0 {
		return data, err
	}
	rest, err := json.Marshal(more) // in the order of their names
	if err != nil {
		return nil, err
	}
	return append(append(bytes.TrimSuffix(data, []byte("}")), ','), rest[1:]...), nil
}

// joined returns the fields of a and b. For a field that both have, a counts.
func joined(a, b map[string]json.RawMessage) map[string]json.RawMessage {
	if len(a) == 0 || len(b) == 0 {
		if len(a) == 0 {
			return b
		}
		return a
	}
	all := maps.Clone(b)
	maps.Copy(all, a)
	return all
}
