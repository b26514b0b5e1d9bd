package memorystore

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/otp"
)

// stopper plays random calls to a store while Caddy stops, with a kill at any
// moment, a file that cannot be written at times, and configurations that start
// again.
type stopper struct {
	t       *testing.T
	s       *savedStore
	now     time.Time
	asked   []*otp.Reservation
	over    map[otp.ID]bool // used or replaced, and acknowledged
	failing bool
	serial  int
}

func TestStopRandomKills(t *testing.T) {
	check(t, func(r *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			r.Fatal(err)
		}
		p := &stopper{t: t, s: openSaved(t, dir, storeEpoch), now: storeEpoch, over: make(map[otp.ID]bool)}
		defer func() {
			p.fail(false)
			p.s.close()
		}()
		r.Repeat(map[string]func(*rapid.T){
			"reserve": p.reserve, "attempt": p.attempt, "resend": p.resend, "settle": p.settle, "kill": p.kill,
			"stop": func(*rapid.T) { p.s.keep(nil) }, "start": func(*rapid.T) { p.s.resume() }, "flush": p.flush,
			"full": func(r *rapid.T) { p.fail(rapid.Bool().Draw(r, "full")) },
		})
	})
}

func (p *stopper) fail(failing bool) {
	p.failing = failing
	p.s.file.writing.Lock()
	defer p.s.file.writing.Unlock()
	p.s.file.update = p.s.file.db.Update
	if failing {
		p.s.file.update = func(func(*bbolt.Tx) error) error { return errors.New("no space left on device") }
	}
}

func (p *stopper) any(t *rapid.T) *otp.Reservation {
	if len(p.asked) == 0 {
		t.Skip("none yet")
	}
	return p.asked[rapid.IntRange(max(0, len(p.asked)-5), len(p.asked)-1).Draw(t, "challenge")]
}

// unavailable reports whether a call was refused because of the file. That may
// happen only while the file fails.
func (p *stopper) unavailable(t *rapid.T, err error) bool {
	unavailable := errors.As(err, new(*otp.UnavailableError))
	if unavailable && !p.failing {
		t.Fatal(err)
	}
	return unavailable
}

func (p *stopper) reserve(t *rapid.T) {
	r := testReservation(p.now)
	if len(p.asked) > 0 && rapid.Bool().Draw(t, "replaces") {
		r.Replaces = p.any(t).ID
	}
	err := p.s.Reserve(ctxBg, r)
	if p.unavailable(t, err) {
		p.over[r.ID] = true // it never was
	} else if r.Replaces != (otp.ID{}) {
		p.over[r.Replaces] = true
	}
	p.asked = append(p.asked, r)
}

func (p *stopper) attempt(t *rapid.T) {
	r := p.any(t)
	a := &otp.Answer{Now: p.now}
	if rapid.Bool().Draw(t, "right") {
		a.Proof = r.Proof
	}
	_, err := p.s.Attempt(ctxBg, r.ID, a)
	p.unavailable(t, err)
	if err == nil {
		if p.over[r.ID] {
			t.Fatal("a code is good twice")
		}
		p.over[r.ID] = true
	}
}

func (p *stopper) resend(t *rapid.T) {
	_, err := p.s.Resend(ctxBg, p.any(t).ID, &otp.Renewal{Now: p.now, TTL: 5 * time.Minute})
	p.unavailable(t, err)
}

func (p *stopper) settle(t *rapid.T) {
	p.serial++
	s := &otp.Settlement{Sending: 1, MessageID: fmt.Sprint("MSG", p.serial), Status: otp.Accepted, Taken: p.now, Now: p.now}
	if err := p.s.Settle(ctxBg, p.any(t).ID, s); err != nil {
		t.Fatal(err)
	}
}

func (p *stopper) flush(*rapid.T) { p.s.file.flush(p.s.memory) }

// kill checks what a kill now would leave: no code that was used, no attempt
// that is given back, and after a flush all pending challenges.
func (p *stopper) kill(t *rapid.T) {
	written := !p.failing && rapid.Bool().Draw(t, "written") && p.s.file.flush(p.s.memory) == nil
	c := p.s.crashed(p.now)
	defer c.close()
	for _, r := range p.asked {
		now, err := p.s.Get(ctxBg, "", r.ID, p.now)
		then, gone := c.Get(ctxBg, "", r.ID, p.now)
		if p.over[r.ID] && !errors.Is(gone, otp.ErrNoChallenge) {
			t.Fatalf("a kill brings back a code that was used: %+v", then)
		}
		if gone == nil && (err != nil || then.AttemptsLeft > now.AttemptsLeft || then.Sending > now.Sending) {
			t.Fatalf("a kill brings back %+v, %v of %+v, %v", then, gone, now, err)
		}
		if p.s.keeper.on && written && recordText(then, gone) != recordText(now, err) {
			t.Fatalf("a kill leaves %s of %s", recordText(then, gone), recordText(now, err))
		}
		if !p.s.keeper.on && gone == nil {
			t.Fatal("a crash keeps a pending code")
		}
	}
}
