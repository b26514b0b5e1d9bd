package websms_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
)

// A revocation ends sessions at once, and still does after a restart. A number that is verified
// afterwards is signed in, also within the same second.
func TestAdminRevokes(t *testing.T) {
	const gate = "realm staff\n" + harness.Plenty
	now := harness.UseClock(t)
	file := harness.PhoneFile(t, "alice,"+harness.AlicePhone, "bob,"+harness.BobPhone)
	w := harness.Start(t, harness.Setup{Front: harness.Passwords, Gate: gate})
	admin := harness.StartAdmin(w, gate)
	number, other := w.Browser(), w.Browser()
	for b, e164 := range map[*harness.Browser]string{number: "+6421000001", other: "+6421000002"} {
		b.As("carol").Login(e164)
	}
	harness.WantStatus(t, "revoking a number", harness.AdminPost(t, admin, "/websms/revoke", `{"number": "+6421000001"}`), http.StatusOK)
	harness.WantStatus(t, "whose number it is", number.Get("/", harness.Page), http.StatusFound)
	harness.WantStatus(t, "another number", other.Get("/", harness.Page), http.StatusOK)
	now.Advance(time.Nanosecond)
	number.Login("+6421000001")
	harness.WantStatus(t, "who verifies it anew", number.Get("/", harness.Page), http.StatusOK)

	harness.WantStatus(t, "in another realm",
		harness.AdminPost(t, admin, "/websms/revoke", `{"number": "+6421000001", "realm": "guests"}`), http.StatusOK)
	harness.WantStatus(t, "whose realm it is not", number.Get("/", harness.Page), http.StatusOK)
	harness.WantStatus(t, "in this realm", harness.AdminPost(t, admin, "/websms/revoke", `{"number": "+6421000001", "realm": "staff"}`),
		http.StatusOK)
	harness.WantStatus(t, "whose realm it is", number.Get("/", harness.Page), http.StatusFound)

	var id string
	for _, line := range w.Logged("websms.audit") {
		if line["event"] == "verified" && line["number"] == "+64•••002" {
			id = line["session"].(string)
		}
	}
	harness.WantStatus(t, "revoking a session", harness.AdminPost(t, admin, "/websms/revoke", `{"session": "`+id+`"}`), http.StatusOK)
	harness.WantStatus(t, "whose session it is", other.Get("/", harness.Page), http.StatusFound)

	second := strings.Replace(harness.WithDirectory(file), harness.Plenty, gate, 1)
	w.Load(second)
	alice, bob := w.Browser(), w.Browser()
	alice.LoginAs("alice", harness.AlicePhone)
	bob.LoginAs("bob", harness.BobPhone)
	harness.WantStatus(t, "revoking a user", harness.AdminPost(t, admin, "/websms/revoke", `{"user": "alice", "realm": "staff"}`),
		http.StatusOK)
	for _, when := range []string{"at once", "after a restart"} {
		harness.WantStatus(t, when+", alice", alice.Get("/", harness.Page), http.StatusFound)
		harness.WantStatus(t, when+", bob", bob.Get("/", harness.Page), http.StatusOK)
		harness.Restart(w, second)
	}
	now.Advance(time.Nanosecond)
	alice.LoginAs("alice", harness.AlicePhone)

	events := map[any]int{}
	for _, line := range w.Logged("websms.audit") {
		events[line["event"]]++
	}
	if events["session_revoked"] != 5 {
		t.Errorf("the audit log has %v; want 5 session_revoked", events)
	}
	w.WantNoSecrets("+6421000001")
}

// Revoking a number also forgets its devices: they count as strangers afterwards.
func TestAdminRevokesDevices(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: harness.LockoutGate})
	admin := harness.StartAdmin(w, harness.LockoutGate)
	number := harness.FreshNumber()
	owner := w.Browser()
	owner.Login(number)
	harness.SendWrongs(w, number, 7)
	harness.WantStatus(t, "the owner, while strangers are locked", owner.Request(number), http.StatusAccepted)
	harness.AdminPost(t, admin, "/websms/revoke", fmt.Sprintf(`{"number": %q}`, number))
	harness.WantStatus(t, "the owner's device, revoked", owner.Request(number), http.StatusTooManyRequests)
	now.Advance(15 * time.Minute)
	owner.Login(number)
	harness.SendWrongs(w, number, 7)
	harness.WantStatus(t, "the owner's device, verified anew", owner.Request(number), http.StatusAccepted)
}

// An operator unlocks a number that is locked for good, for strangers and for devices.
func TestAdminUnlocks(t *testing.T) {
	for _, realm := range []string{"", "staff"} {
		gate := "limits {\n per_number 1000/1h\n cooldown 0s\n lockout 100 1s\n max_failures 6\n}"
		ask := fmt.Sprintf(`{"number": %%q, "realm": %q}`, realm)
		if realm != "" {
			gate += "\nrealm " + realm
		}
		w := harness.Start(t, harness.Setup{Gate: gate})
		admin := harness.StartAdmin(w, gate)
		number := harness.FreshNumber()
		owner := w.Browser()
		owner.Login(number)
		harness.SendWrongs(w, number, 6)
		for range 2 {
			wrong := strings.Repeat("9", 6)
			owner.Ask(number)
			for range 5 {
				owner.AnswerWith(wrong)
			}
		}
		harness.WantStatus(t, "a stranger", w.Browser().Request(number), http.StatusTooManyRequests)
		harness.WantStatus(t, "the owner", owner.Request(number), http.StatusTooManyRequests)
		if a := harness.AdminPost(t, admin, "/websms/unlock",
			fmt.Sprintf(`{"number": %q, "realm": "another"}`, number)); a.StatusCode != http.StatusNotFound {
			t.Errorf("in another realm: %s %s", a.Status, a.Text)
		}
		harness.WantStatus(t, "a stranger, unlocked elsewhere", w.Browser().Request(number), http.StatusTooManyRequests)
		if a := harness.AdminPost(t, admin, "/websms/unlock", fmt.Sprintf(ask, number)); a.JSON("unlocked") != true {
			t.Errorf("unlock: %s %s", a.Status, a.Text)
		}
		if a := harness.AdminPost(t, admin, "/websms/unlock", fmt.Sprintf(ask, number)); a.StatusCode != http.StatusNotFound {
			t.Errorf("unlock again: %s %s", a.Status, a.Text)
		}
		harness.SendWrongs(w, number, 5)
		owner.Login(number)
		w.Browser().Login(number)
	}
}

// An operator clears a spent budget. Only the budget of that realm is cleared, and its warning can
// come again.
func TestAdminClearsBudget(t *testing.T) {
	for _, realm := range []string{"", "staff"} {
		gate := "limits {\n per_number 2/1h\n cooldown 0s\n budget 3/1h\n lockout 100 1s\n max_failures 3\n}"
		if realm != "" {
			gate += "\nrealm " + realm
		}
		w := harness.Start(t, harness.Setup{Gate: gate})
		admin := harness.StartAdmin(w, gate)
		locked := harness.FreshNumber()
		unlock := func(realm string, want int) {
			t.Helper()
			a := harness.AdminPost(t, admin, "/websms/unlock", fmt.Sprintf(`{"budget": true, "realm": %q}`, realm))
			if a.StatusCode != want {
				t.Errorf("unlock of the budget in %q: %s %s, want %d", realm, a.Status, a.Text, want)
			}
		}
		unlock(realm, http.StatusNotFound)
		harness.SendWrongs(w, locked, 3)
		for range 2 {
			harness.WantStatus(t, "within the budget", w.Browser().Request(harness.FreshNumber()), http.StatusAccepted)
		}
		harness.WantStatus(t, "past the budget", w.Browser().Request(harness.FreshNumber()), http.StatusTooManyRequests)
		unlock("another", http.StatusNotFound)
		harness.WantStatus(t, "cleared elsewhere", w.Browser().Request(harness.FreshNumber()), http.StatusTooManyRequests)
		unlock(realm, http.StatusOK)
		unlock(realm, http.StatusNotFound)
		harness.WantStatus(t, "a number that is locked", w.Browser().Request(locked), http.StatusTooManyRequests)
		for range 3 {
			harness.WantStatus(t, "within the budget anew", w.Browser().Request(harness.FreshNumber()), http.StatusAccepted)
		}
		harness.WantStatus(t, "past the budget again", w.Browser().Request(harness.FreshNumber()), http.StatusTooManyRequests)
	}
}

// A mistake of an operator is refused and changes nothing. The error says what to do instead.
func TestAdminMistakes(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	admin := harness.StartAdmin(w, harness.Plenty)
	b := w.Browser()
	b.Login("+6421234567")
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
		a := harness.AdminPost(t, admin, "/websms/"+c.path, c.body)
		if a.StatusCode != http.StatusBadRequest || !strings.Contains(a.Text, c.want) || strings.Contains(a.Text, "21234567x") {
			t.Errorf("%s %.80s: %s %s; want %q", c.path, c.body, a.Status, a.Text, c.want)
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
	harness.WantStatus(t, "the session after all that", b.Get("/", harness.Page), http.StatusOK)
	harness.WantStatus(t, "a number that is not locked",
		harness.AdminPost(t, admin, "/websms/unlock", `{"number": "+6421999999"}`), http.StatusNotFound)
	for _, line := range w.Logged("websms.audit") {
		if line["event"] == "session_revoked" || line["event"] == "number_unlocked" {
			t.Errorf("the audit log has %v", line)
		}
	}
}

// After Caddy refuses a configuration, it keeps the admin endpoint of that configuration. Commands
// there still act on the running configuration.
func TestAdminAfterRefusal(t *testing.T) {
	for name, refused := range map[string]func(w *harness.World) string{
		"with another storage": func(w *harness.World) string {
			return strings.Replace(w.Config("second_factor {\n directory /nonexistent/users.csv\n}"), w.Dir, t.TempDir(), 1)
		},
		"without a gate": func(w *harness.World) string {
			return fmt.Sprintf("{\n ADMIN\n persist_config off\n storage file_system %q\n}\n:%d {\n tls /nonexistent.pem /nonexistent.key\n}\n",
				w.Dir, harness.FreePort(t))
		},
	} {
		w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
		admin := harness.StartAdmin(w, harness.Plenty)
		b := w.Browser()
		number := harness.FreshNumber()
		b.Login(number)
		text := strings.Replace(refused(w), "ADMIN", "admin "+strings.TrimPrefix(admin, "http://"), 1)
		if err := harness.LoadCaddyfile(text); err == nil {
			t.Fatalf("%s: it is not refused", name)
		}
		harness.WantStatus(t, name+": the session", b.Get("/", harness.Page), http.StatusOK)
		harness.Eventually(t, "the admin endpoint answers", func() bool {
			res, err := http.Get(admin + "/config/")
			if err == nil {
				res.Body.Close()
			}
			return err == nil
		})
		harness.WantStatus(t, name+": revoking", harness.AdminPost(t, admin, "/websms/revoke", fmt.Sprintf(`{"number": %q}`, number)),
			http.StatusOK)
		harness.WantStatus(t, name+": the session, revoked", b.Get("/", harness.Page), http.StatusFound)
	}
}
