package memorystore

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
)

// fixtureFile is a memory.db that an earlier release wrote with writeFixture. It
// holds at least one row of each kind. A change of the code must not change how
// it reads. To write it anew, which only a new version of the format needs, run
// this file's tests with WEBSMS_TEST_WRITE_FIXTURE=1.
const fixtureFile = "testdata/memory.db"

// fixture names what is in the file.
type fixture struct {
	counted, returned             otp.Counter
	locked, device, ended         otp.Failures
	untouched, accepted, answered *otp.Reservation
	handled                       otp.Digest
}

func newFixture() *fixture {
	rates := []otp.Rate{{Count: 2, Window: time.Minute}, {Count: 10, Window: time.Hour}}
	f := &fixture{
		counted: testCounter(1, rates...), returned: testCounter(2, otp.Rate{Count: 1, Window: time.Hour}),
		locked: testFailures(1, 0), device: testFailures(1, 5), ended: testFailures(2, 0), handled: otp.Digest{9},
	}
	f.ended.Lockout.Max = 1
	for i, r := range []**otp.Reservation{&f.untouched, &f.accepted, &f.answered} {
		*r = testReservation(storeEpoch)
		(*r).ID = otp.ID{byte(i + 1)}
		(*r).Proof, (*r).Sealed, (*r).Failures = testProof((*r).ID), []byte("sealed"), f.device
	}
	return f
}

// write has a store hold all of it. The store's file has all of it when the store
// is closed.
func (f *fixture) write(s *savedStore) {
	s.t.Helper()
	must := func(err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	f.untouched.Counters, f.accepted.Counters = []otp.Counter{f.counted}, []otp.Counter{f.counted}
	f.answered.Counters = []otp.Counter{f.returned}
	for _, r := range []*otp.Reservation{f.untouched, f.accepted, f.answered} {
		must(s.Reserve(ctxBg, r))
	}
	must(s.Settle(ctxBg, f.accepted.ID, &otp.Settlement{
		Sending: 1, MessageID: "MSG1", Status: otp.Accepted, Taken: storeEpoch, Now: storeEpoch,
	}))
	must(s.Settle(ctxBg, f.answered.ID, &otp.Settlement{
		Sending: 1, Status: otp.Failed, Refused: true, Taken: storeEpoch, Now: storeEpoch, Return: []otp.Counter{f.returned},
	}))
	for _, run := range []otp.Failures{f.locked, f.locked, f.locked, f.device, f.ended} {
		_, err := s.Attempt(ctxBg, f.answered.ID, &otp.Answer{Failures: run, Now: storeEpoch})
		if !errors.Is(err, otp.ErrWrongCode) && !errors.Is(err, otp.ErrTooManyAttempts) {
			s.t.Fatal(err)
		}
	}
	_, err := s.Resend(ctxBg, f.accepted.ID, &otp.Renewal{Now: storeEpoch.Add(30 * time.Second), TTL: 5 * time.Minute, Cooldown: time.Minute})
	must(err)
	_, _, err = s.Report(ctxBg, "MSG2", connexus.StateDelivered, storeEpoch)
	must(err)
	_, err = s.First(ctxBg, f.handled, time.Hour, storeEpoch)
	must(err)
	_, err = s.file.named()
	must(err)
	s.flush()
}

// want sees that a store that has read the file has all of it.
func (f *fixture) want(s *savedStore, now time.Time) {
	s.t.Helper()
	for _, c := range []struct {
		otp.Counter
		want string
	}{{f.counted, "[2 2]"}, {f.returned, "[0]"}} {
		if used, err := s.Used(ctxBg, "", c.Counter, now); fmt.Sprint(used) != c.want || err != nil {
			s.t.Errorf("%v, %v sendings are counted, want %s", used, err, c.want)
		}
	}
	for _, c := range []struct {
		otp.Failures
		limit string
		wait  time.Duration
	}{{f.locked, "lockout", time.Minute}, {f.ended, "max_failures", 0}} {
		r := testReservation(now)
		r.Failures = c.Failures
		wait := max(0, c.wait-now.Sub(storeEpoch))
		wantLimit(s.t, s.Reserve(ctxBg, r), c.limit, wait)
	}
	wrong := s.failures.lookup(&f.device)
	if wrong == nil || wrong.count != 1 || len(wrong.moments) != 1 || wrong.moments[0] != storeEpoch.UnixNano() {
		s.t.Errorf("the device's wrong codes are %v, want one at %v", wrong, storeEpoch)
	}
	for _, c := range []struct {
		*otp.Reservation
		want string
		err  error
	}{
		{f.untouched, "queued 5 attempts, sending 1, settled false, ends after 5m0s, resend after 30s", nil},
		{f.accepted, "queued 5 attempts, sending 2, settled false, ends after 5m30s, resend after 2m30s", nil},
		{f.answered, "failed 0 attempts, sending 1, settled true, ends after 5m0s, resend after 30s", otp.ErrTooManyAttempts},
	} {
		rec, err := s.Get(ctxBg, "", c.ID, now)
		got := fmt.Sprintf("%s %d attempts, sending %d, settled %v, ends after %v, resend after %v",
			rec.Status, rec.AttemptsLeft, rec.Sending, rec.Settled, rec.ExpiresAt.Sub(storeEpoch), rec.ResendAt.Sub(storeEpoch))
		if got != c.want || !errors.Is(err, c.err) || rec.CodeLength != 6 || string(rec.Sealed) != "sealed" {
			s.t.Errorf("challenge %v: %s, %v; want %s", c.ID, got, err, c.want)
		}
	}
	if list, err := s.Of(ctxBg, "", f.device.Number, now); len(list) != 3 || err != nil {
		s.t.Errorf("%d challenges of the number, %v; want 3", len(list), err)
	}
	if first, err := s.First(ctxBg, f.handled, time.Hour, now); first || err != nil {
		s.t.Errorf("the delivery that was handled is new: %v, %v", first, err)
	}
	if _, known, err := s.Report(ctxBg, "MSG1", connexus.StateDelivered, now); !known || err != nil {
		s.t.Errorf("a report of the first sending: %v, %v", known, err)
	}
	early := &otp.Settlement{Sending: 2, MessageID: "MSG2", Status: otp.Accepted, Taken: now, Now: now}
	if err := s.Settle(ctxBg, f.accepted.ID, early); err != nil {
		s.t.Error(err)
	}
	if rec, err := s.Get(ctxBg, "", f.accepted.ID, now); rec.Status != otp.Delivered || err != nil {
		s.t.Errorf("the second sending, whose report came first: %v, %v", rec.Status, err)
	}
	if _, err := s.Attempt(ctxBg, f.untouched.ID, &otp.Answer{Proof: f.untouched.Proof, Failures: f.device, Now: now}); err != nil {
		s.t.Errorf("the right code: %v", err)
	}
}

// The file of an earlier release says today what it said when it was written.
func TestFileOfEarlierRelease(t *testing.T) {
	t.Parallel()
	if os.Getenv("WEBSMS_TEST_WRITE_FIXTURE") != "" {
		dir := filepath.Dir(fixtureFile)
		s := openSaved(t, dir, storeEpoch, ofRing)
		newFixture().write(s)
		s.close()
		os.Remove(filepath.Join(dir, startLockName))
	}
	data, err := os.ReadFile(fixtureFile)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "memory.db"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	now := storeEpoch.Add(40 * time.Second)
	s := openSaved(t, dir, now, ofRing)
	s.wantLog()
	newFixture().want(s, now)
}

// Today's release writes the rows of the earlier one, so that the earlier one can
// read them after a rollback.
func TestFileForEarlierRelease(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openSaved(t, dir, storeEpoch, ofRing)
	newFixture().write(s)
	s.close()
	got, want := rowsOfFile(t, filepath.Join(dir, "memory.db")), rowsOfFile(t, fixtureFile)
	if len(want) < 13 {
		t.Fatalf("the file has %d rows: too few to compare", len(want))
	}
	for key, value := range want {
		if !reflect.DeepEqual(got[key], value) {
			t.Errorf("%s is %v, want %v", key, got[key], value)
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			t.Errorf("%s is new", key)
		}
	}
}

// rowsOfFile returns all rows by bucket and key. Rows that are encoded by gob
// are decoded, because gob's bytes name the types. Of the file's name, which is
// random, it returns only the length.
func rowsOfFile(t *testing.T, path string) map[string]any {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows := make(map[string]any)
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
			return bucket.ForEach(func(key, value []byte) error {
				at := fmt.Sprintf("%s %q", name, key)
				switch {
				case bytes.Equal(name, bucketSaved):
					var row savedRow
					if err := gob.NewDecoder(bytes.NewReader(value)).Decode(&row); err != nil {
						return err
					}
					rows[at] = row
				case bytes.Equal(key, metaName):
					rows[at] = len(value)
				default:
					rows[at] = string(value)
				}
				return nil
			})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}
