package websms

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// admin turns on the admin endpoint of a world, and returns its address.
func (w *world) admin(gateOptions string) string {
	w.t.Helper()
	address := fmt.Sprintf("localhost:%d", freePort(w.t))
	plain := w.config
	w.config = func(options string) string {
		return strings.Replace(plain(options), "admin off", "admin "+address, 1)
	}
	w.load(gateOptions)
	return "http://" + address
}

// restart ends Caddy, and with it all that it holds in memory, and starts it again.
func (w *world) restart(gateOptions string) {
	w.t.Helper()
	if err := caddy.Stop(); err != nil {
		w.t.Fatal(err)
	}
	w.load(gateOptions)
}

// adminPost posts to the admin endpoint.
func adminPost(t *testing.T, address, path, body string) answer {
	t.Helper()
	return (&world{t: t, url: address}).browser().send(path, "application/json", body)
}

// What is revoked is out at once, and after a restart; what is verified
// afterwards is in, also within the same second.
func TestAdminRevokes(t *testing.T) {
	const gate = "realm staff\n" + plenty
	now := useClock(t)
	file := directory(t, "alice,"+alicePhone, "bob,"+bobPhone)
	w := start(t, setup{front: passwords, gate: gate})
	admin := w.admin(gate)
	number, other := w.browser(), w.browser()
	for b, e164 := range map[*browser]string{number: "+6421000001", other: "+6421000002"} {
		b.as("carol").login(e164)
	}
	wantStatus(t, "revoking a number", adminPost(t, admin, "/websms/revoke", `{"number": "+6421000001"}`), http.StatusOK)
	wantStatus(t, "whose number it is", number.get("/", page), http.StatusFound)
	wantStatus(t, "another number", other.get("/", page), http.StatusOK)
	now.Advance(time.Nanosecond)
	number.login("+6421000001")
	wantStatus(t, "who verifies it anew", number.get("/", page), http.StatusOK)

	wantStatus(t, "in another realm", adminPost(t, admin, "/websms/revoke", `{"number": "+6421000001", "realm": "guests"}`), http.StatusOK)
	wantStatus(t, "whose realm it is not", number.get("/", page), http.StatusOK)
	wantStatus(t, "in this realm", adminPost(t, admin, "/websms/revoke", `{"number": "+6421000001", "realm": "staff"}`), http.StatusOK)
	wantStatus(t, "whose realm it is", number.get("/", page), http.StatusFound)

	var id string
	for _, line := range w.logged("websms.audit") {
		if line["event"] == "verified" && line["number"] == "+64•••002" {
			id = line["session"].(string)
		}
	}
	wantStatus(t, "revoking a session", adminPost(t, admin, "/websms/revoke", `{"session": "`+id+`"}`), http.StatusOK)
	wantStatus(t, "whose session it is", other.get("/", page), http.StatusFound)

	second := strings.Replace(withDirectory(file), plenty, gate, 1)
	w.load(second)
	alice, bob := w.browser(), w.browser()
	alice.asUser("alice", alicePhone)
	bob.asUser("bob", bobPhone)
	wantStatus(t, "revoking a user", adminPost(t, admin, "/websms/revoke", `{"user": "alice", "realm": "staff"}`), http.StatusOK)
	for _, when := range []string{"at once", "after a restart"} {
		wantStatus(t, when+", alice", alice.get("/", page), http.StatusFound)
		wantStatus(t, when+", bob", bob.get("/", page), http.StatusOK)
		w.restart(second)
	}
	now.Advance(time.Nanosecond)
	alice.asUser("alice", alicePhone)

	events := map[any]int{}
	for _, line := range w.logged("websms.audit") {
		events[line["event"]]++
	}
	if events["session_revoked"] != 5 {
		t.Errorf("the audit log has %v; want 5 session_revoked", events)
	}
	w.wantNoSecrets("+6421000001")
}

// A number that is revoked makes strangers of its devices.
func TestAdminRevokesDevices(t *testing.T) {
	now := useClock(t)
	w := start(t, setup{gate: lockoutGate})
	admin := w.admin(lockoutGate)
	number := freshNumber()
	owner := w.browser()
	owner.login(number)
	w.wrongs(number, 7)
	wantStatus(t, "the owner, while strangers are locked", owner.request(number), http.StatusAccepted)
	adminPost(t, admin, "/websms/revoke", fmt.Sprintf(`{"number": %q}`, number))
	wantStatus(t, "the owner's device, revoked", owner.request(number), http.StatusTooManyRequests)
	now.Advance(15 * time.Minute)
	owner.login(number)
	w.wrongs(number, 7)
	wantStatus(t, "the owner's device, verified anew", owner.request(number), http.StatusAccepted)
}

// What is locked for good is unlocked by an operator, strangers and devices alike.
func TestAdminUnlocks(t *testing.T) {
	for _, realm := range []string{"", "staff"} {
		gate := "limits {\n per_number 1000/1h\n cooldown 0s\n lockout 100 1s\n max_failures 6\n}"
		ask := fmt.Sprintf(`{"number": %%q, "realm": %q}`, realm)
		if realm != "" {
			gate += "\nrealm " + realm
		}
		w := start(t, setup{gate: gate})
		admin := w.admin(gate)
		number := freshNumber()
		owner := w.browser()
		owner.login(number)
		w.wrongs(number, 6)
		for range 2 {
			wrong := strings.Repeat("9", 6)
			owner.ask(number)
			for range 3 {
				owner.answerWith(wrong)
			}
		}
		wantStatus(t, "a stranger", w.browser().request(number), http.StatusTooManyRequests)
		wantStatus(t, "the owner", owner.request(number), http.StatusTooManyRequests)
		if a := adminPost(t, admin, "/websms/unlock", fmt.Sprintf(`{"number": %q, "realm": "another"}`, number)); a.StatusCode != http.StatusNotFound {
			t.Errorf("in another realm: %s %s", a.Status, a.body)
		}
		wantStatus(t, "a stranger, unlocked elsewhere", w.browser().request(number), http.StatusTooManyRequests)
		if a := adminPost(t, admin, "/websms/unlock", fmt.Sprintf(ask, number)); a.json("unlocked") != true {
			t.Errorf("unlock: %s %s", a.Status, a.body)
		}
		if a := adminPost(t, admin, "/websms/unlock", fmt.Sprintf(ask, number)); a.StatusCode != http.StatusNotFound {
			t.Errorf("unlock again: %s %s", a.Status, a.body)
		}
		w.wrongs(number, 5)
		owner.login(number)
		w.browser().login(number)
	}
}

// A budget that is spent is cleared by an operator: that of one realm, and
// nothing else. The warning of it comes again.
func TestAdminClearsBudget(t *testing.T) {
	for _, realm := range []string{"", "staff"} {
		gate := "limits {\n per_number 2/1h\n cooldown 0s\n budget 3/1h\n lockout 100 1s\n max_failures 3\n}"
		if realm != "" {
			gate += "\nrealm " + realm
		}
		w := start(t, setup{gate: gate})
		admin := w.admin(gate)
		locked := freshNumber()
		unlock := func(realm string, want int) {
			t.Helper()
			a := adminPost(t, admin, "/websms/unlock", fmt.Sprintf(`{"budget": true, "realm": %q}`, realm))
			if a.StatusCode != want {
				t.Errorf("unlock of the budget in %q: %s %s, want %d", realm, a.Status, a.body, want)
			}
		}
		unlock(realm, http.StatusNotFound)
		w.wrongs(locked, 3)
		for range 2 {
			wantStatus(t, "within the budget", w.browser().request(freshNumber()), http.StatusAccepted)
		}
		wantStatus(t, "past the budget", w.browser().request(freshNumber()), http.StatusTooManyRequests)
		unlock("another", http.StatusNotFound)
		wantStatus(t, "cleared elsewhere", w.browser().request(freshNumber()), http.StatusTooManyRequests)
		unlock(realm, http.StatusOK)
		unlock(realm, http.StatusNotFound)
		wantStatus(t, "a number that is locked", w.browser().request(locked), http.StatusTooManyRequests)
		for range 3 {
			wantStatus(t, "within the budget anew", w.browser().request(freshNumber()), http.StatusAccepted)
		}
		wantStatus(t, "past the budget again", w.browser().request(freshNumber()), http.StatusTooManyRequests)
	}
}

// What an operator gets wrong is refused, with what to do, and changes nothing.
func TestAdminMistakes(t *testing.T) {
	w := start(t, setup{gate: plenty})
	admin := w.admin(plenty)
	b := w.browser()
	b.login("+6421234567")
	for _, c := range []struct{ path, body, want string }{
		{"revoke", ``, "not understood"},
		{"revoke", `[]`, "not understood"},
		{"revoke", `{"numbers": "+6421234567"}`, "not understood"},
		{"revoke", `{"number": 6421234567}`, "not understood"},
		{"revoke", `{"number": "+6421234567"} {}`, "send one alone"},
		{"revoke", `{}`, "give one of"},
		{"revoke", `{"realm": "staff"}`, "give one of"},
		{"revoke", `{"number": "+6421234567", "user": "alice"}`, "give one of"},
		{"revoke", `{"session": "00112233445566778899aabbccddeeff", "realm": "staff"}`, "give one of"},
		{"revoke", `{"session": "0011"}`, "32 hexadecimal digits"},
		{"revoke", `{"number": "021 234 567"}`, "country code"},
		{"revoke", `{"number": "+6421234567x"}`, "country code"},
		{"unlock", `{"number": "6421234567"}`, "country code"},
		{"unlock", `{"user": "alice"}`, "give a number"},
		{"unlock", `{"number": "+6421234567", "session": "x"}`, "give a number"},
		{"unlock", `{"number": "+6421234567", "budget": true}`, "not both"},
		{"unlock", `{"budget": "yes"}`, "not understood"},
		{"revoke", `{"user": "alice", "budget": true}`, "unlock alone"},
		{"challenges", `{"number": "+6421234567", "budget": true}`, "unlock alone"},
		{"revoke", `{"user": " alice"}`, "space"},
		{"revoke", `{"user": "` + strings.Repeat("a", 1100) + `"}`, "bytes"},
		{"revoke", `{"user": "alice", "realm": "` + strings.Repeat("a", 200) + `"}`, "realm is longer"},
		{"revoke", `{"user": "` + strings.Repeat("a", 9000) + `"}`, "not understood"},
	} {
		a := adminPost(t, admin, "/websms/"+c.path, c.body)
		if a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, c.want) || strings.Contains(a.body, "21234567x") {
			t.Errorf("%s %.80s: %s %s; want %q", c.path, c.body, a.Status, a.body, c.want)
		}
	}
	for _, path := range []string{"revoke", "unlock"} {
		res, err := http.Get(admin + "/websms/" + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != http.MethodPost {
			t.Errorf("GET %s: %s, Allow %q", path, res.Status, res.Header.Get("Allow"))
		}
	}
	wantStatus(t, "the session after all that", b.get("/", page), http.StatusOK)
	wantStatus(t, "a number that is not locked", adminPost(t, admin, "/websms/unlock", `{"number": "+6421999999"}`), http.StatusNotFound)
	for _, line := range w.logged("websms.audit") {
		if line["event"] == "session_revoked" || line["event"] == "number_unlocked" {
			t.Errorf("the audit log has %v", line)
		}
	}
}

// Caddy keeps the admin endpoint of a configuration that it has refused. What
// an operator does there concerns the one that runs.
func TestAdminAfterRefusal(t *testing.T) {
	for name, refused := range map[string]func(w *world) string{
		"with another storage": func(w *world) string {
			return strings.Replace(w.config("second_factor {\n directory /nonexistent/users.csv\n}"), w.dir, t.TempDir(), 1)
		},
		"without a gate": func(w *world) string {
			return fmt.Sprintf("{\n ADMIN\n persist_config off\n storage file_system %q\n}\n:%d {\n tls /nonexistent.pem /nonexistent.key\n}\n", w.dir, freePort(t))
		},
	} {
		w := start(t, setup{gate: plenty})
		admin := w.admin(plenty)
		b := w.browser()
		number := freshNumber()
		b.login(number)
		text := strings.Replace(refused(w), "ADMIN", "admin "+strings.TrimPrefix(admin, "http://"), 1)
		if err := loadCaddyfile(text); err == nil {
			t.Fatalf("%s: it is not refused", name)
		}
		wantStatus(t, name+": the session", b.get("/", page), http.StatusOK)
		eventually(t, "the admin endpoint answers", func() bool {
			res, err := http.Get(admin + "/config/")
			if err == nil {
				res.Body.Close()
			}
			return err == nil
		})
		wantStatus(t, name+": revoking", adminPost(t, admin, "/websms/revoke", fmt.Sprintf(`{"number": %q}`, number)), http.StatusOK)
		wantStatus(t, name+": the session, revoked", b.get("/", page), http.StatusFound)
	}
}
