package cookies

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/session"
)

// No bytes that a device cookie could hold, from an older version say, make it
// misread: it does not open, or it is what it would write again.
func FuzzOpenDevice(f *testing.F) {
	ring, err := session.NewRing(session.NewKeys(time.Now()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{}, "")
	f.Add([]byte{deviceVersion}, "AAAA")
	f.Add(append([]byte{deviceVersion}, make([]byte, 40)...), strings.Repeat("A", 100))
	f.Add(append([]byte{deviceVersion}, make([]byte, 80)...), "%")
	f.Add(append([]byte{deviceVersion}, make([]byte, 39)...), "%")
	f.Add([]byte{deviceFields}, "")
	f.Add([]byte{deviceFields, 0}, "")
	f.Add(append(append([]byte{deviceFields, 1}, make([]byte, 40)...), session.AppendField(nil, 200, "newer")...), "")
	f.Add(append(append([]byte{deviceFields, 2}, make([]byte, 80)...), 200, 0, 9), "")
	f.Add(append([]byte{deviceFields, 3}, make([]byte, 80)...), "")
	f.Fuzz(func(t *testing.T, plain []byte, cookie string) {
		if _, ok := openDevice(ring, "realm", cookie); ok {
			t.Fatalf("a forgery opens: %q", cookie)
		}
		sealed, err := ring.Seal(session.ForDevice, "realm", plain)
		if err != nil {
			return // longer than a cookie
		}
		d, ok := openDevice(ring, "realm", sealed)
		if !ok {
			return
		}
		again, err := d.seal(ring, "realm")
		if err != nil {
			t.Fatal(err)
		}
		if same, ok := openDevice(ring, "realm", again); !ok || !reflect.DeepEqual(d, same) {
			t.Errorf("%x opens as %+v, and again as %+v", plain, d, same)
		}
		if _, ok := openDevice(ring, "another", sealed); ok {
			t.Error("it opens in another realm")
		}
	})
}
