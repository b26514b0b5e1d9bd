package websms

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// beside adds a site of its own to the world, and returns a world that asks there.
func (w *world) beside(gateOptions, port, directives string) *world {
	w.t.Helper()
	number := freePort(w.t)
	plain := w.config
	w.config = func(options string) string {
		return plain(options) + fmt.Sprintf("\nhttp://%s:%d {\n%s\n}\n", port, number, directives)
	}
	w.load(gateOptions)
	there := *w
	there.url = fmt.Sprintf("http://localhost:%d", number)
	return &there
}

// A gate of a realm opens for no session that was made at a host of the same
// name, whoever claims to be that host.
func TestHostIsNoRealm(t *testing.T) {
	const gate = "realm staff\n" + plenty
	w := start(t, setup{gate: gate})
	weak := w.beside(gate, "", "websms_otp {\n company Weak\n code {\n length 4\n}\n "+unhindered(plenty)+"\n}\nrespond weak")
	b := weak.browser()
	b.header.Set("Host", "staff")
	before := len(w.sim.Messages())
	wantStatus(t, "asking at the weak gate", b.request(listed), http.StatusAccepted)
	a := b.answerWith(b.code(before))
	wantStatus(t, "verifying there", a, http.StatusOK)
	for _, name := range []string{"websms_session", "websms_session_device"} {
		thief := w.browser()
		thief.header.Set("Cookie", name+"="+a.setCookie(name).Value+"; websms_session="+a.setCookie(name).Value)
		wantStatus(t, "the realm's gate, with its "+name, thief.get("/secret", page), http.StatusFound)
	}
}

// What one gate of a scope locks, wrong codes at another do not unlock.
func TestSecondGateLiftsNoLock(t *testing.T) {
	useClock(t)
	lax := "websms_otp /lax/* {\n company Lax\n prefix /lax/.websms\n limits {\n per_number 1000/1h\n per_ip 1000/1h\n cooldown 0s\n lockout 7 1m\n}\n}"
	w := start(t, setup{front: lax, gate: "limits {\n per_number 1000/1h\n cooldown 0s\n lockout 10 720h\n}"})
	number := freshNumber()
	waiting := w.browser() // at the lax gate, before the lock
	wantStatus(t, "asking at the lax gate", waiting.post("/lax/.websms/send", []string{"phone", number}, api), http.StatusAccepted)
	w.codeFor(number, 1)
	w.wrongs(number, 10)
	waiting.post("/lax/.websms/verify", []string{"code", "00"}, api)
	wantWait(t, "the strict gate", w.browser().request(number), "rate_limited", "2592000")
}

// A gate that strangers can ask at locks nobody out, and uses up nothing, of
// one behind a first factor.
func TestStrangersDoNotReachTheSecondFactor(t *testing.T) {
	useClock(t)
	gate := "second_factor {\n directory " + directory(t, "alice,"+alicePhone) + "\n}\nlimits {\n per_number 2/10m\n budget 3/1h\n}"
	w := start(t, setup{front: passwords, gate: gate})
	public := w.beside(gate, "localhost", "websms_otp {\n company Public\n limits {\n cooldown 0s\n per_number 100/10m\n budget 20/1h\n per_ip 1000/1h\n}\n}\nrespond public")
	public.wrongs(alicePhone, 10)
	wantStatus(t, "a stranger", public.browser().request(alicePhone), http.StatusTooManyRequests)
	alice := w.browser()
	alice.asUser("alice", alicePhone)
	// It locks all the same, and an operator unlocks it.
	admin := w.admin(gate)
	for range 2 {
		b := w.browser().as("alice")
		wrong := other(alicePhone[1:7])
		b.request("")
		for range 5 {
			b.answerWith(wrong)
		}
	}
	if a := adminPost(t, admin, "/websms/unlock", fmt.Sprintf(`{"number": %q}`, alicePhone)); a.json("unlocked") != true {
		t.Errorf("unlock: %s %s", a.Status, a.body)
	}
}

// A gate that people pass by number is no first factor for another: it sets
// the placeholders of one itself, and the number in them is the person's choice.
func TestNumberGateIsNoFirstFactor(t *testing.T) {
	w := start(t, setup{})
	two := w.beside("", "localhost", "map {http.auth.user.id} {http.auth.user.phone} {\n alice "+alicePhone+"\n}\n"+passwords+`
		route {
			websms_otp {
				company First
				prefix /.first
				session {
					cookie first
				}
				`+unhindered(plenty)+`
			}
			websms_otp {
				company Second
				prefix /.second
				second_factor {
					phone {http.auth.user.phone}
				}
				`+unhindered(plenty)+`
			}
			respond inside
		}`)
	thief := two.browser().as("alice") // with the password, and a phone of their own
	thief.post("/.first/send", []string{"phone", "+6421999888"}, api)
	wantStatus(t, "the first gate", thief.post("/.first/verify", []string{"code", w.codeFor("+6421999888", 1)}, api), http.StatusOK)
	wantProblem(t, "the second gate sends", thief.post("/.second/send", nil, api), http.StatusForbidden, "no_number")
	if a := thief.get("/", page); strings.Contains(a.body, "inside") {
		t.Errorf("the thief is inside: %s", a.Status)
	}
	if n := len(w.messagesTo("+6421999888")); n != 1 {
		t.Errorf("%d messages went to the thief; want 1", n)
	}
}

// What was asked at a gate with a list shows nothing of it at another gate of
// its realm that has none.
func TestListShowsAtNoGate(t *testing.T) {
	open := "websms_otp /open/* {\n company Open\n realm staff\n prefix /open/.websms\n " + unhindered(plenty) + "\n}"
	w := start(t, setup{front: open, gate: "realm staff\n" + listGate + plenty})
	for _, number := range []string{listed, unlisted} {
		b := w.browser()
		wantStatus(t, "asking", b.request(number), http.StatusAccepted)
		status := func() any { return b.get("/open/.websms/status", api).json("status") }
		eventually(t, "it is accepted", func() bool { return status() != "queued" })
		if number == listed {
			eventually(t, "the network reports", func() bool { return len(w.logged("websms.dlr")) >= 2 })
		}
		if got := status(); got != "accepted" {
			t.Errorf("listed %t: it shows %v at the gate without a list", number == listed, got)
		}
	}
}
