package vault

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/vault/vaulttest"
	"github.com/caddy-websms/websms/session"
)

// A volatile archive may fail, lose everything, and be shared by processes that restart.
// Once it works again and every process has synced, all processes have the same ring.
// Then sessions that were not revoked are good, and all others are not.
func TestArchiveProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		now, a := harness.NewFakeClock(), vaulttest.NewArchive()
		type issued struct {
			sealed string
			ended  bool
		}
		var all []*Vault
		var sessions []issued
		open := func() *Vault {
			v, err := start(t.Context(), "vault", a, now.Now)
			if err != nil {
				rt.Fatal(err)
			}
			return v
		}
		defer func() {
			for _, v := range all {
				_ = v.Destruct()
			}
		}()
		for range 3 {
			all = append(all, open())
		}
		settle := func() {
			a.Fail()
			for range 2 {
				for _, v := range all {
					if err := v.syncOnly(t.Context()); err != nil {
						rt.Fatal(err)
					}
				}
			}
		}
		one := rapid.Custom(func(rt *rapid.T) int { return rapid.IntRange(0, len(all)-1).Draw(rt, "process") })
		rt.Repeat(map[string]func(*rapid.T){
			"a while": func(rt *rapid.T) {
				now.Advance(time.Duration(rapid.IntRange(1, 200).Draw(rt, "minutes")) * time.Minute)
			},
			"fail": func(rt *rapid.T) {
				a.Fail(rapid.SliceOfN(rapid.SampledFrom(append(vaulttest.Everything, "the answer to ChangeKeys")), 0, 4).Draw(rt, "ops")...)
			},
			"empty":    func(*rapid.T) { a.Empty() },
			"sync":     func(rt *rapid.T) { _ = all[one.Draw(rt, "who")].syncOnly(t.Context()) },
			"maintain": func(rt *rapid.T) { _ = all[one.Draw(rt, "who")].syncAndClean(t.Context()) },
			"sign in": func(rt *rapid.T) {
				if v := all[one.Draw(rt, "who")]; v.Ring.Ready() {
					_, sealed := v.issue(t, "+6421234567", "")
					sessions = append(sessions, issued{sealed: sealed})
				}
			},
			"sign out": func(rt *rapid.T) {
				v := all[one.Draw(rt, "who")]
				if len(sessions) == 0 {
					rt.Skip("nobody is in")
				}
				which := &sessions[rapid.IntRange(0, len(sessions)-1).Draw(rt, "which")]
				if s, err := session.Open(v.Ring, testRealm, which.sealed); err == nil {
					_ = v.Revoke(s.ID, s.Ends)
					which.ended = true
				}
			},
			"revoke a number": func(rt *rapid.T) {
				if v := all[one.Draw(rt, "who")]; v.Ring.Ready() {
					_ = v.RevokeNumber("", "+6421234567", now.Now())
					for i := range sessions {
						sessions[i].ended = true
					}
					now.Advance(1)
				}
			},
			"start anew": func(rt *rapid.T) {
				settle() // otherwise revocations that only this process knows are lost
				i := one.Draw(rt, "who")
				_ = all[i].Destruct()
				all[i] = open()
			},
			"all is well": func(rt *rapid.T) {
				settle()
				for i, v := range all {
					if !v.keys.Equal(a.Ring(t)) {
						rt.Fatalf("process %d has other keys than the archive", i)
					}
					for _, s := range sessions {
						if v.good(s.sealed) == s.ended {
							rt.Fatalf("at process %d a session is good: %t, ended: %t", i, !s.ended, s.ended)
						}
					}
				}
			},
		})
	})
}
