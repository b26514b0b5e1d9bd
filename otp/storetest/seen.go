package storetest

import (
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/testlevel"
	"github.com/caddy-websms/websms/otp"
)

var seenTests = []test{
	{"first, to the nanosecond", firstWithin},
	{"keys are apart", keysApart},
}

// first checks the answer of First.
func (d *desk) first(key otp.Digest, within time.Duration, want bool) {
	d.Helper()
	got, err := d.store.First(ctx, key, within, d.now)
	if got != want || err != nil {
		d.Fatalf("First: %v, %v; want %v", got, err, want)
	}
}

func firstWithin(t *testing.T, open Open) {
	for _, within := range []time.Duration{time.Second, 24 * time.Hour} {
		d := newDesk(t, open, 10)
		key := wrong(1)
		d.first(key, within, true)
		d.first(key, within, false)
		d.now = epoch.Add(within / 2)
		d.first(key, within, false) // does not extend its time
		d.now = epoch.Add(within - tick)
		d.first(key, within, false)
		d.now = epoch.Add(within)
		d.first(key, within, true)
		d.now = epoch.Add(2*within - tick)
		d.first(key, within, false)
		d.now = epoch.Add(2 * within)
		d.first(key, within, true)
	}
}

func keysApart(t *testing.T, open Open) {
	d := newDesk(t, open, 10)
	n := testlevel.Size(300, 1000)
	for i := range n {
		d.first(wrong(i), time.Duration(i+1)*time.Second, true)
	}
	d.now = epoch.Add(time.Duration(n/2) * time.Second)
	for i := range n {
		d.first(wrong(i), time.Hour, i < n/2)
	}
}
