package session

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// later is a text that a later release may write. It has fields that this release
// does not know, at the top and inside a key.
const later = `{"version":1,"index":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","policy":{"rotate":[1,2]},
	"sealing":[{"id":7,"secret":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=","created":"2026-07-01T09:00:00Z",
		"purpose":"all","uses":12345678901234567890},
	{"id":8,"secret":"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=","created":"2026-06-01T09:00:00Z"}],"zeal":null}`

// wantKept fails t for each field that was lost.
func wantKept(t *testing.T, when string, keys Keys) {
	t.Helper()
	data, err := json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{`"policy":{"rotate":[1,2]}`, `"zeal":null`, `"version":1`} {
		if !strings.Contains(string(data), field) {
			t.Errorf("%s, %s is lost", when, field)
		}
	}
	var parts struct{ Sealing []map[string]json.RawMessage }
	if err := json.Unmarshal(data, &parts); err != nil {
		t.Fatal(err)
	}
	for _, key := range parts.Sealing {
		if string(key["id"]) == "7" {
			if string(key["purpose"]) != `"all"` || string(key["uses"]) != "12345678901234567890" {
				t.Errorf("%s, a field of a key is lost", when)
			}
			return
		}
	}
	t.Errorf("%s, the key is lost", when)
}

// Unknown fields survive every operation on the keys.
func TestKeysKeepUnknownFields(t *testing.T) {
	var keys Keys
	if err := json.Unmarshal([]byte(later), &keys); err != nil {
		t.Fatal(err)
	}
	if err := keys.Check(); err != nil {
		t.Fatal(err)
	}
	created := keys.Sealing[0].Created
	rotated, changed := keys.Rotate(created.Add(KeyAge), MaxLife)
	if !changed {
		t.Fatal("no key is due")
	}
	plain := Keys{Index: keys.Index, Sealing: []Key{{ID: 7, Secret: keys.Sealing[0].Secret, Created: created}}}
	other := NewKeys(created.Add(time.Hour))
	var twice Keys
	if data, err := json.Marshal(keys); err != nil || json.Unmarshal(data, &twice) != nil {
		t.Fatal("they cannot be read again")
	}
	for when, keys := range map[string]Keys{
		"read": keys, "written and read": twice, "rotated": rotated, "at a time": keys.At(created.Add(day)),
		"merged with others": keys.Merge(other), "merged into others": other.Merge(keys), "merged with none": keys.Merge(Keys{}),
		"merged into none": (Keys{}).Merge(keys), "merged with the same without them": keys.Merge(plain),
		"merged into the same without them": plain.Merge(keys), "since others": keys.Since(Keys{}),
		"rotated and merged": plain.Merge(rotated),
	} {
		wantKept(t, when, keys)
	}
	if !keys.Equal(twice) {
		t.Error("they are others when they were read again")
	}
}

// A file without a version is from an early release. A newer one is refused, and the
// error names its version.
func TestKeysVersion(t *testing.T) {
	for text, want := range map[string]string{
		strings.Replace(later, `"version":1,`, "", 1): "",
		later: "",
		strings.Replace(later, `"version":1`, `"version":0`, 1):    "no version",
		strings.Replace(later, `"version":1`, `"version":-1`, 1):   "no version",
		strings.Replace(later, `"version":1`, `"version":"1"`, 1):  "no version",
		strings.Replace(later, `"version":1`, `"version":1.5`, 1):  "no version",
		strings.Replace(later, `"version":1`, `"version":null`, 1): "no version",
		strings.Replace(later, `"version":1`, `"version":2`, 1):    "version 2, and this release knows 1",
		strings.Replace(later, `"version":1`, `"version":712`, 1):  "version 712, and this release knows 1",
		`{"version":2}`:                           "version 2, and this release knows 1",
		`{"version":2,"index":{},"sealing":{}}`:   "version 2, and this release knows 1", // of a newer release
		`{"version":2,"sealing":[{"id":"text"}]}`: "version 2, and this release knows 1",
	} {
		var keys Keys
		err := json.Unmarshal([]byte(text), &keys)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
		var newer *VersionError
		if errors.As(err, &newer) != strings.Contains(want, "this release") {
			t.Errorf("%.40q: %T", text, err)
		}
	}
	data, err := json.Marshal(NewKeys(time.Now()))
	if err != nil || !strings.HasPrefix(string(data), `{"version":1,"index":"`) {
		t.Errorf("new keys are written as %.20q, %v", data, err)
	}
}

// A subject of version 2 is read, with unknown fields behind it. A newer one gives a
// *VersionError instead of ErrSealed.
func TestSubjectVersions(t *testing.T) {
	ring := newRing(t)
	s := Subject{ByNumber, "realm", "+6421234567"}
	next := append([]byte{2, 1, 0, 5}, "realm\x00\x0b+6421234567"...)
	for plain, want := range map[string]error{
		string(s.encode()): nil, string(next): nil, string(next) + "more of it": nil,
		string(next[:len(next)-1]): ErrSealed, "\x02\x01\x00\x05realm": ErrSealed,
		"\x02\x01\x00\x05realm\x00": ErrSealed, "\x00\x01\x00\x00x": ErrSealed,
	} {
		sealed, err := ring.Seal(ForRevocation, "label", []byte(plain))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := OpenSubject(ring, "label", sealed); !errors.Is(err, want) || err == nil && got != s {
			t.Errorf("%q: %v, %v", plain, got, err)
		}
	}
	for _, plain := range []string{"\x03\x01\x00\x00x", "\x03", "\xff..."} {
		sealed, err := ring.Seal(ForRevocation, "label", []byte(plain))
		if err != nil {
			t.Fatal(err)
		}
		var newer *VersionError
		if _, err := OpenSubject(ring, "label", sealed); !errors.As(err, &newer) || newer.Found != int(plain[0]) || newer.Known != 2 {
			t.Errorf("%q: %v", plain, err)
		}
	}
}
