package storetest

import (
	"crypto/sha256"
	"testing"
	"time"

	"github.com/caddy-websms/websms/otp"
)

var ofTests = []test{
	{"newest first", ofNewestFirst},
	{"ended challenges", ofEnded},
	{"as many as anybody looks at", ofMany},
	{"nobody's", ofNobody},
}

// askedFor makes the usual challenge for a number, a second after the previous one.
func (d *desk) askedFor(number string, replaces otp.ID) otp.ID {
	d.Helper()
	d.now = d.now.Add(time.Second)
	r := d.usual()
	r.Failures.Number, r.Replaces = sha256.Sum256([]byte(number)), replaces
	d.mustReserve(r)
	return r.ID
}

// of checks the challenges that Of returns for a number.
func (d *desk) of(number string, want ...otp.ID) {
	d.Helper()
	got, err := d.store.Of(ctx, scope, sha256.Sum256([]byte(number)), d.now)
	if err != nil {
		d.Fatalf("Of: %v", err)
	}
	if len(got) != len(want) {
		d.Fatalf("Of: %d of %s, want %d", len(got), number, len(want))
	}
	for i, rec := range got {
		if rec.ID != want[i] || rec.Sealed != nil {
			d.Fatalf("Of: %s as %d of %s, with %d bytes sealed; want %s", rec.ID, i+1, number, len(rec.Sealed), want[i])
		}
	}
}

func ofNewestFirst(t *testing.T, open Open) {
	d := newDesk(t, open, 100)
	first, other, second := d.askedFor("a", otp.ID{}), d.askedFor("b", otp.ID{}), d.askedFor("a", otp.ID{})
	d.of("a", second, first)
	d.of("b", other)
	d.of("c")
	d.now = d.now.Add(cooldown)
	d.mustResend(first, d.renewal())
	d.of("a", second, first)
	want := d.mustGet(first)
	want.Sealed = nil
	got, err := d.store.Of(ctx, scope, sha256.Sum256([]byte("a")), d.now)
	if err != nil {
		t.Fatal(err)
	}
	if diff := same(got[1], want); diff != "" {
		t.Error(diff)
	}
}

// ofEnded: Of leaves out challenges that were answered or replaced or have expired. It
// returns challenges that ended by wrong codes, and those that were sent again, until
// they expire.
func ofEnded(t *testing.T, open Open) {
	d := newDesk(t, open, 100)
	met, replaced, dead := d.askedFor("a", otp.ID{}), d.askedFor("a", otp.ID{}), d.askedFor("a", otp.ID{})
	heir := d.askedFor("a", replaced)
	d.mustMeet(met)
	d.kill(dead)
	d.of("a", heir, dead)
	d.now = d.now.Add(ttl - time.Second)
	d.mustResend(heir, d.renewal())
	d.of("a", heir)
	d.now = d.now.Add(ttl - tick)
	d.of("a", heir)
	d.now = d.now.Add(tick)
	d.of("a")
}

func ofMany(t *testing.T, open Open) {
	d := newDesk(t, open, 100)
	var ids []otp.ID
	for range otp.MaxOf + 5 {
		ids = append([]otp.ID{d.askedFor("a", otp.ID{})}, ids...)
	}
	d.of("a", ids[:otp.MaxOf]...)
}

// ofNobody: Of finds no challenges without a number.
func ofNobody(t *testing.T, open Open) {
	d := newDesk(t, open, 100)
	d.reserve()
	if got, err := d.store.Of(ctx, scope, otp.Digest{}, d.now); err != nil || len(got) != 0 {
		t.Errorf("Of nobody: %d, %v", len(got), err)
	}
}
