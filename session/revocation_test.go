package session

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestRevocations(t *testing.T) {
	var r Revocations
	a, b, other := someSession(), someSession(), someSession()
	ended := func(s Session) bool { return r.Ended(&s, "realm") }
	if ended(a) {
		t.Error("nobody is revoked")
	}
	r.Add(a.ID, t0.Add(time.Hour))
	r.Add(b.ID, t0.Add(2*time.Hour))
	r.Add(b.ID, t0.Add(2*time.Hour))
	if !ended(a) || !ended(b) || ended(other) {
		t.Error("has what it should not, or lacks what it should")
	}
	gone := r.Sweep(t0.Add(time.Hour), life)
	if len(gone) != 1 || !gone[a.ID].Equal(t0.Add(time.Hour)) || ended(a) || !ended(b) {
		t.Errorf("swept %v", gone)
	}
}

// A revocation ends the sessions of its subject in its realms, up to its cutoff.
func TestRevoke(t *testing.T) {
	at := t0.Add(time.Hour + 123*time.Nanosecond)
	const number, user = "+6421234567", "alice"
	for _, c := range []struct {
		name    string
		subject Subject
		realms  map[string]bool // true where the subject is revoked
		session Session
	}{
		{"a number in a realm", Subject{ByNumber, "one", number},
			map[string]bool{"one": true, "two": false, "": false, "on": false}, Session{Number: number}},
		{"a number in all realms", Subject{ByNumber, "", number}, map[string]bool{"one": true, "two": true, "": true},
			Session{Number: number}},
		{"a number, whoever the user", Subject{ByNumber, "one", number}, map[string]bool{"one": true, "two": false},
			Session{Number: number, User: user}},
		{"a user in a realm", Subject{ByUser, "one", user}, map[string]bool{"one": true, "two": false},
			Session{Number: number, User: user}},
		{"a user in all realms", Subject{ByUser, "", user}, map[string]bool{"one": true, "two": true}, Session{Number: number, User: user}},
		{"another number", Subject{ByNumber, "", number + "8"}, map[string]bool{"one": false}, Session{Number: number}},
		{"another user", Subject{ByUser, "", "Alice"}, map[string]bool{"one": false}, Session{Number: number, User: user}},
		{"a user named as a number", Subject{ByUser, "", number}, map[string]bool{"one": false}, Session{Number: number, User: user}},
		{"a number that is somebody's name", Subject{ByNumber, "", user}, map[string]bool{"one": false},
			Session{Number: number, User: user}},
		{"everyone in a realm", Subject{Everyone, "one", ""}, map[string]bool{"one": true, "two": false}, Session{Number: number}},
		{"everyone", Subject{Kind: Everyone}, map[string]bool{"one": true, "two": true, "": true}, Session{Number: number, User: user}},
	} {
		var r Revocations
		r.Revoke(map[Subject]time.Time{c.subject: at})
		for realm, concerns := range c.realms {
			for after, ended := range map[time.Duration]bool{-time.Hour: concerns, -1: concerns, 0: concerns, 1: false, time.Hour: false} {
				s := c.session
				s.Issued = at.Add(after)
				if got := r.Ended(&s, realm); got != ended {
					t.Errorf("%s: a session of realm %q that was issued %s after: ended %t", c.name, realm, after, got)
				}
			}
			if c.subject.Kind == ByUser && c.session.User == "" {
				continue
			}
			kind, name := ByNumber, c.session.Number
			if c.subject.Kind == ByUser {
				kind, name = ByUser, c.session.User
			}
			want := time.Time{}
			if concerns {
				want = at
			}
			if got := r.NotBefore(kind, realm, name); !got.Equal(want) {
				t.Errorf("%s: not before %s in realm %q; want %s", c.name, got, realm, want)
			}
		}
	}
	var none Revocations
	if !none.NotBefore(ByNumber, "", number).IsZero() {
		t.Error("with none there is a not-before time")
	}
}

// A session that is sealed right after a revocation, within the same second, is
// valid when it opens.
func TestRevokeIsExact(t *testing.T) {
	ring := newRing(t)
	var r Revocations
	at := t0.Add(500 * time.Millisecond)
	r.Revoke(map[Subject]time.Time{{ByNumber, "realm", "+6421234567"}: at})
	for after, want := range map[time.Duration]bool{0: true, 1: false} {
		s := someSession()
		(Life{TTL: time.Hour}).Begin(&s, at.Add(after))
		sealed, err := s.Seal(ring, "realm")
		if err != nil {
			t.Fatal(err)
		}
		if s, err = Open(ring, "realm", sealed); err != nil {
			t.Fatal(err)
		}
		if got := r.Ended(&s, "realm"); got != want {
			t.Errorf("%d ns after: ended %t", after, got)
		}
	}
}

// At every step, the table agrees with a list of all revocations so far.
func TestRevokeProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r Revocations
		subject := rapid.Custom(func(t *rapid.T) Subject {
			s := Subject{Kind: Kind(rapid.IntRange(0, 2).Draw(t, "kind")),
				Realm: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "realm")}
			if s.Kind != Everyone {
				s.Name = rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name")
			}
			return s
		})
		all := map[Subject]time.Time{}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			if rapid.IntRange(0, 3).Draw(t, "step") == 0 {
				over := t0.Add(time.Duration(rapid.IntRange(0, 10).Draw(t, "over")))
				r.Sweep(over.Add(life), life)
				for s, at := range all {
					if !at.After(over) {
						delete(all, s)
					}
				}
			} else {
				more := map[Subject]time.Time{}
				for range rapid.IntRange(0, 3).Draw(t, "more") {
					more[subject.Draw(t, "subject")] = t0.Add(time.Duration(rapid.IntRange(0, 10).Draw(t, "at")))
				}
				for s, at := range more {
					if at.After(all[s]) {
						all[s] = at
					}
				}
				r.Revoke(more)
			}
			for _, realm := range []string{"", "a", "b", "c"} {
				s := Session{
					Number: rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "number"),
					User:   rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "user"),
					Issued: t0.Add(time.Duration(rapid.IntRange(-1, 11).Draw(t, "issued"))),
				}
				want := false
				for subject, at := range all {
					name := map[Kind]string{Everyone: "", ByNumber: s.Number, ByUser: s.User}[subject.Kind]
					if name == subject.Name && (subject.Realm == "" || subject.Realm == realm) && !s.Issued.After(at) {
						want = true
					}
				}
				if got := r.Ended(&s, realm); got != want {
					t.Fatalf("%+v in %q: ended %t, want %t by %v", s, realm, got, want, all)
				}
			}
		}
	})
}

// Ended finds an earlier revocation also while other goroutines revoke and sweep.
func TestRevocationsConcurrently(t *testing.T) {
	var r Revocations
	s := someSession()
	r.Revoke(map[Subject]time.Time{{ByNumber, "", s.Number}: t0.Add(time.Hour)})
	var group sync.WaitGroup
	for w := range 2 {
		group.Go(func() {
			for i := range 300 {
				r.Revoke(map[Subject]time.Time{{ByNumber, "", fmt.Sprint(w, i)}: t0})
				r.Add(NewID(), t0)
				r.Sweep(t0.Add(life), life)
			}
		})
		group.Go(func() {
			for range 3000 {
				if !r.Ended(&s, "realm") {
					t.Error("a revoked number passes")
					return
				}
			}
		})
	}
	group.Wait()
}

func BenchmarkEnded(b *testing.B) {
	for _, c := range []struct{ ids, numbers int }{{0, 0}, {100_000, 0}, {0, 10_000}, {100_000, 10_000}} {
		b.Run(fmt.Sprintf("ids=%d,numbers=%d", c.ids, c.numbers), func(b *testing.B) {
			var r Revocations
			for range c.ids {
				r.Add(NewID(), t0)
			}
			list := make(map[Subject]time.Time)
			for i := range c.numbers {
				list[Subject{ByNumber, "", fmt.Sprintf("+6421%07d", i)}] = t0
			}
			r.Revoke(list)
			sessions := make([]Session, 1024)
			for i := range sessions {
				sessions[i] = someSession()
				sessions[i].Number = fmt.Sprintf("+6427%07d", i)
				if i%2 == 0 && c.numbers > 0 { // every second number was revoked and has verified again
					sessions[i].Number = fmt.Sprintf("+6421%07d", i)
					sessions[i].Issued = t0.Add(1)
				}
			}
			b.ReportAllocs()
			i := rand.IntN(len(sessions))
			for b.Loop() {
				i++
				if r.Ended(&sessions[i%len(sessions)], "app.example.com") {
					b.Fatal("ended")
				}
			}
		})
	}
}

// BenchmarkRevoke measures one more revocation beside 10,000.
func BenchmarkRevoke(b *testing.B) {
	var r Revocations
	list := make(map[Subject]time.Time)
	for i := range 10_000 {
		list[Subject{ByNumber, "", fmt.Sprintf("+6421%07d", i)}] = t0
	}
	r.Revoke(list)
	one := map[Subject]time.Time{{ByNumber, "", "+6427000000"}: t0}
	for b.Loop() {
		r.Revoke(one)
	}
}
