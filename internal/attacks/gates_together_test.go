package attacks_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
)

// A session that was made at a host with the name of a realm does not open that realm, although a
// client chooses its Host header.
func TestHostIsNoRealm(t *testing.T) {
	const gate = "realm staff\n" + harness.Plenty
	w := harness.Start(t, harness.Setup{Gate: gate})
	weak := harness.RunBeside(w, gate, "",
		"websms_otp {\n company Weak\n code {\n length 4\n}\n "+harness.Unhindered(harness.Plenty)+"\n}\nrespond weak")
	b := weak.Browser()
	b.Header.Set("Host", "staff")
	before := len(w.Sim.Messages())
	harness.WantStatus(t, "asking at the weak gate", b.Request(harness.Listed), http.StatusAccepted)
	a := b.AnswerWith(b.Code(before))
	harness.WantStatus(t, "verifying there", a, http.StatusOK)
	for _, name := range []string{"websms_session", "websms_session_device"} {
		thief := w.Browser()
		thief.Header.Set("Cookie", name+"="+a.SetCookie(name).Value+"; websms_session="+a.SetCookie(name).Value)
		harness.WantStatus(t, "the realm's gate, with its "+name, thief.Get("/secret", harness.Page), http.StatusFound)
	}
}

// Wrong codes at one gate of a scope do not unlock a number that another gate has locked.
func TestSecondGateLiftsNoLock(t *testing.T) {
	harness.UseClock(t)
	lax := "websms_otp /lax/* {\n company Lax\n prefix /lax/.websms\n limits {\n per_number 1000/1h\n per_ip 1000/1h\n" +
		" cooldown 0s\n lockout 7 1m\n}\n}"
	w := harness.Start(t, harness.Setup{Front: lax, Gate: "limits {\n per_number 1000/1h\n cooldown 0s\n lockout 10 720h\n}"})
	number := harness.FreshNumber()
	waiting := w.Browser() // it asked at the lax gate before the lock
	harness.WantStatus(t, "asking at the lax gate",
		waiting.Post("/lax/.websms/send", []string{"phone", number}, harness.API), http.StatusAccepted)
	w.CodeFor(number, 1)
	harness.SendWrongs(w, number, 10)
	waiting.Post("/lax/.websms/verify", []string{"code", "000000"}, harness.API)
	wantWait(t, "the strict gate", w.Browser().Request(number), "rate_limited", "2592000")
}

// A gate for strangers locks nobody out of a gate behind a first factor, and uses up none of its
// limits.
func TestStrangersDoNotReachTheSecondFactor(t *testing.T) {
	harness.UseClock(t)
	gate := "second_factor {\n directory " + harness.PhoneFile(t, "alice,"+harness.AlicePhone) +
		"\n}\nlimits {\n per_number 2/10m\n budget 3/1h\n}"
	w := harness.Start(t, harness.Setup{Front: harness.Passwords, Gate: gate})
	public := harness.RunBeside(w, gate, "localhost",
		"websms_otp {\n company Public\n limits {\n cooldown 0s\n per_number 100/10m\n budget 20/1h\n per_ip 1000/1h\n}\n}\nrespond public")
	harness.SendWrongs(public, harness.AlicePhone, 10)
	harness.WantStatus(t, "a stranger", public.Browser().Request(harness.AlicePhone), http.StatusTooManyRequests)
	alice := w.Browser()
	alice.LoginAs("alice", harness.AlicePhone)
	// The second gate still locks by itself, and an operator unlocks it.
	admin := harness.StartAdmin(w, gate)
	for range 2 {
		b := w.Browser().As("alice")
		wrong := harness.OtherCode(harness.AlicePhone[1:7])
		b.Request("")
		for range 5 {
			b.AnswerWith(wrong)
		}
	}
	if a := harness.AdminPost(t, admin, "/websms/unlock", fmt.Sprintf(`{"number": %q}`, harness.AlicePhone)); a.JSON("unlocked") != true {
		t.Errorf("unlock: %s %s", a.Status, a.Text)
	}
}

// A gate by number is no first factor for another gate. It sets the same placeholders, but the
// number in them is the person's own choice.
func TestNumberGateIsNoFirstFactor(t *testing.T) {
	w := harness.Start(t, harness.Setup{})
	two := harness.RunBeside(w, "", "localhost",
		"map {http.auth.user.id} {http.auth.user.phone} {\n alice "+harness.AlicePhone+"\n}\n"+harness.Passwords+`
		route {
			websms_otp {
				company First
				prefix /.first
				session {
					cookie first
				}
				`+harness.Unhindered(harness.Plenty)+`
			}
			websms_otp {
				company Second
				prefix /.second
				second_factor {
					phone {http.auth.user.phone}
				}
				`+harness.Unhindered(harness.Plenty)+`
			}
			respond inside
		}`)
	thief := two.Browser().As("alice") // has the password, and another phone
	thief.Post("/.first/send", []string{"phone", "+6421999888"}, harness.API)
	harness.WantStatus(t, "the first gate", thief.Post("/.first/verify", []string{"code", w.CodeFor("+6421999888", 1)}, harness.API),
		http.StatusOK)
	harness.WantProblem(t, "the second gate sends", thief.Post("/.second/send", nil, harness.API), http.StatusForbidden, "no_number")
	if a := thief.Get("/", harness.Page); strings.Contains(a.Text, "inside") {
		t.Errorf("the thief is inside: %s", a.Status)
	}
	if n := len(w.MessagesTo("+6421999888")); n != 1 {
		t.Errorf("%d messages went to the thief; want 1", n)
	}
}

// A challenge of a gate with a list stays hidden also at a gate without a list in the same realm.
func TestListShowsAtNoGate(t *testing.T) {
	open := "websms_otp /open/* {\n company Open\n realm staff\n prefix /open/.websms\n " + harness.Unhindered(harness.Plenty) + "\n}"
	w := harness.Start(t, harness.Setup{Front: open, Gate: "realm staff\n" + harness.ListGate + harness.Plenty})
	for _, number := range []string{harness.Listed, harness.Unlisted} {
		b := w.Browser()
		harness.WantStatus(t, "asking", b.Request(number), http.StatusAccepted)
		status := func() any { return b.Get("/open/.websms/status", harness.API).JSON("status") }
		harness.Eventually(t, "it is accepted", func() bool { return status() != "queued" })
		if number == harness.Listed {
			harness.Eventually(t, "the network reports", func() bool { return len(w.Logged("websms.dlr")) >= 2 })
		}
		if got := status(); got != "accepted" {
			t.Errorf("listed %t: it shows %v at the gate without a list", number == harness.Listed, got)
		}
	}
}
