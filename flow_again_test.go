package websms_test

import (
	"io/fs"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
)

// challengeOf matches the name of a challenge in the form of a page.
var challengeOf = regexp.MustCompile(`name="challenge" value="([-_0-9A-Za-z]+)"`)

// formOf opens the code page and returns the name of its challenge.
func formOf(t *testing.T, b *harness.Browser) string {
	t.Helper()
	a := b.Get("/.websms/verify", harness.Page)
	found := challengeOf.FindStringSubmatch(a.Text)
	if found == nil {
		t.Fatalf("the code page names no challenge: %s %s", a.Status, harness.Excerpt(a.Text))
	}
	return found[1]
}

// A person who asks again for the same number gets the same code. Within the cooldown nothing is sent.
// Another number, and a challenge that is over, get a code of their own.
func TestAskAgain(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: "code {\n attempts 3\n ttl 2m\n}\nlimits {\n per_number 5/1h\n per_ip 1000/1h\n cooldown 30s\n}"})
	w.Sim.SetWebhook("", "")
	for _, kind := range []http.Header{harness.API, harness.Page} {
		number, b := harness.FreshNumber(), w.Browser().Visit()
		status := http.StatusAccepted
		if kind.Get("Accept") == harness.Page.Get("Accept") {
			status = http.StatusSeeOther
		}
		ask := func(phone string) harness.Answer {
			return b.Post("/.websms/send", []string{"phone", phone, "rd", "/b"}, kind)
		}
		harness.WantStatus(t, "the first ask", ask(number), status)
		code := w.CodeFor(number, 1)
		harness.WantStatus(t, "a wrong code", b.AnswerWith(harness.OtherCode(code)), http.StatusUnprocessableEntity)
		before := b.Get("/.websms/verify", harness.API).Text
		now.Advance(29 * time.Second)
		w.WantSends("within the cooldown", 0, harness.FreshNumber(), func() {
			for _, spelling := range []string{number, "0" + number[3:], "0064 " + number[3:]} {
				harness.WantStatus(t, "within the cooldown", ask(spelling), status)
			}
		})
		if after := b.Get("/.websms/verify", harness.API).Text; after != before {
			t.Errorf("within the cooldown the challenge became %s; want %s", after, before)
		}
		now.Advance(time.Second)
		harness.WantStatus(t, "after the cooldown", ask(number), status)
		if got := w.CodeFor(number, 2); got != code {
			t.Error("the second message has another code")
		}
		after := b.Get("/.websms/verify", harness.API)
		if after.JSON("attempts_left") != float64(2) {
			t.Errorf("asking again: %s; want 2 attempts left", after.Text)
		}
		other := harness.FreshNumber()
		harness.WantStatus(t, "another number", ask(other), status)
		w.CodeFor(other, 1)
		harness.WantStatus(t, "the replaced code", b.AnswerWith(code), http.StatusUnprocessableEntity)

		b = w.Browser().Visit()
		harness.WantStatus(t, "another browser", ask(number), status)
		mine := w.CodeFor(number, 3)
		now.Advance(2 * time.Minute)
		harness.WantStatus(t, "after the code has expired", ask(number), status)
		if fresh := w.CodeFor(number, 4); fresh == mine || fresh == code {
			t.Error("after the code has expired, the same code is sent") // one in 500,000
		}
		a := b.Post("/.websms/verify", []string{"code", w.CodeFor(number, 4)}, harness.Page)
		if a.Header.Get("Location") != "/b" {
			t.Errorf("the login leads to %q; want /b", a.Header.Get("Location"))
		}
	}
}

// An ask or a resend that is refused leaves the code page open, and the code good.
func TestRefusedAskKeepsCode(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: "code {\n ttl 10m\n}\nlimits {\n per_number 1/1h\n per_ip 1000/1h\n budget 3/1h\n cooldown 1s\n}"})
	b, number := w.Browser().Visit(), harness.FreshNumber()
	harness.WantStatus(t, "the first ask", b.Request(number), http.StatusAccepted)
	code := w.CodeFor(number, 1)
	w.Browser().Ask(harness.FreshNumber())
	w.Browser().Ask(harness.FreshNumber()) // the budget is used up
	now.Advance(time.Second)
	for what, a := range map[string]harness.Answer{
		"a resend":       b.Post("/.websms/resend", nil, harness.Page),
		"the same":       b.Post("/.websms/send", []string{"phone", number}, harness.Page),
		"another number": b.Post("/.websms/send", []string{"phone", harness.FreshNumber()}, harness.Page),
	} {
		if a.StatusCode != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" || challengeOf.FindString(a.Text) == "" ||
			!strings.Contains(a.Text, "The code that you have still works.") {
			t.Errorf("%s: %s %s", what, a.Status, harness.Excerpt(a.Text))
		}
	}
	for _, phone := range []string{number, harness.FreshNumber()} {
		a := b.Post("/.websms/send", []string{"phone", phone, "rd", "/orders?open=7"}, harness.Page)
		if !strings.Contains(a.Text, `name="rd" value="/orders?open=7"`) {
			t.Errorf("the refusal forgets where the person wants to go: %s", harness.Excerpt(a.Text))
		}
	}
	harness.WantProblem(t, "a resend of a program", b.Resend(), http.StatusTooManyRequests, "rate_limited")
	harness.WantProblem(t, "an ask of a program", b.Request(number), http.StatusTooManyRequests, "rate_limited")
	if a := w.Browser().Visit().Post("/.websms/send", []string{"phone", number}, harness.Page); challengeOf.FindString(a.Text) != "" ||
		a.StatusCode != http.StatusTooManyRequests {
		t.Errorf("without a code: %s %s", a.Status, harness.Excerpt(a.Text))
	}
	harness.WantStatus(t, "the code", b.AnswerWith(code), http.StatusOK)
}

// While a code can still be entered, the login page leads to its form. A link with a return target
// leads there after the code.
func TestLoginLeadsBack(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b := w.Browser()
	back := func() bool {
		return strings.Contains(harness.UnescapeHTML(b.Get("/.websms/login?rd=/orders", harness.Page).Text), `href="/.websms/verify?rd=%2forders"`)
	}
	if back() {
		t.Error("without a challenge, the login page leads to the code form")
	}
	code := harness.AskFor(w, b)
	if !back() {
		t.Error("the login page does not lead back to the code form")
	}
	a := b.Get("/.websms/verify?rd=/orders", harness.Page)
	if !strings.Contains(a.Text, `name="rd" value="/orders"`) {
		t.Errorf("the code form does not keep the target: %s", harness.Excerpt(a.Text))
	}
	a = b.Post("/.websms/verify", []string{"code", code, "rd", "/orders", "challenge", formOf(t, b)}, harness.Page)
	if a.Header.Get("Location") != "/orders" {
		t.Errorf("the code leads to %q", a.Header.Get("Location"))
	}
	b.Post("/.websms/logout", nil, harness.API)
	if back() {
		t.Error("after the code was used, the login page leads to the code form")
	}
	harness.AskFor(w, b)
	now.Advance(5 * time.Minute)
	if back() {
		t.Error("after the code has expired, the login page leads to its form")
	}
}

// A form of an older tab does not count against the challenge of a newer one.
func TestOtherChallenge(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b := w.Browser()
	first := harness.AskFor(w, b)
	old := formOf(t, b)
	second := harness.AskFor(w, b)
	if old == formOf(t, b) {
		t.Fatal("two challenges have one name")
	}
	for range 7 {
		for _, kind := range []http.Header{harness.API, harness.Page} {
			a := b.Post("/.websms/verify", []string{"code", first, "challenge", old}, kind)
			if a.StatusCode != http.StatusConflict {
				t.Fatalf("the form of an older tab: %s %s", a.Status, harness.Excerpt(a.Text))
			}
			if kind.Get("Accept") == harness.API.Get("Accept") {
				harness.WantProblem(t, "the form of an older tab", a, http.StatusConflict, "other_challenge")
			} else if found := challengeOf.FindStringSubmatch(a.Text); found == nil || found[1] != formOf(t, b) {
				t.Errorf("the answer is no form for the latest code: %s", harness.Excerpt(a.Text))
			}
		}
	}
	if left := b.Get("/.websms/verify", harness.API).JSON("attempts_left"); left != float64(5) {
		t.Errorf("%v attempts left, want 5", left)
	}
	harness.WantProblem(t, "another text", b.Post("/.websms/verify", []string{"code", second, "challenge", "x"}, harness.API),
		http.StatusConflict, "other_challenge")
	harness.WantStatus(t, "the latest", b.Post("/.websms/verify", []string{"code", second, "challenge", formOf(t, b)}, harness.API), http.StatusOK)
}

// sessionAs returns what a browser with only this session cookie is told of its session.
func sessionAs(w *harness.World, a harness.Answer) string {
	w.T.Helper()
	cookie := a.SetCookie("websms_session")
	if cookie == nil {
		return a.Status + " without a session"
	}
	return w.Browser().Get("/.websms/session", harness.API, harness.With("Cookie", cookie.Name+"="+cookie.Value)).Text
}

// A person presses twice because the answer is slow. Both answers have the same session, and the
// audit log tells of one verification. After ten seconds, and without the name of the challenge,
// there is one winner.
func TestDoubleSubmit(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty + "\nsession {\n remember 720h\n}"})
	verified := func() (lines int) {
		for _, line := range w.Logged("websms.audit") {
			if line["event"] == "verified" {
				lines++
			}
		}
		return lines
	}
	b := w.Browser()
	code := harness.AskFor(w, b)
	form, cookie := formOf(t, b), harness.With("Cookie", b.Cookies())
	press := func(code string, more ...string) harness.Answer {
		stranger := w.Browser() // it keeps only the cookies from before the first press
		return stranger.Post("/.websms/verify", append([]string{"code", code, "rd", "/a"}, more...), harness.Page, cookie)
	}
	first := press(code, "challenge", form)
	want := sessionAs(w, first)
	if first.StatusCode != http.StatusSeeOther || !strings.Contains(want, `"verified":true`) {
		t.Fatalf("the first press: %s, %s", first.Status, want)
	}
	now.Advance(10*time.Second - time.Microsecond)
	again := press(code[:3]+" "+code[3:], "challenge", form)
	if got := sessionAs(w, again); again.StatusCode != http.StatusSeeOther || again.Header.Get("Location") != "/a" || got != want {
		t.Errorf("the second press: %s to %q, %s; want %s", again.Status, again.Header.Get("Location"), got, want)
	}
	if n := verified(); n != 1 {
		t.Errorf("%d verifications in the audit log, want 1", n)
	}
	for what, a := range map[string]harness.Answer{
		"without the challenge": press(code), "a wrong code": press(harness.OtherCode(code), "challenge", form),
		"no code": press("", "challenge", form),
	} {
		if a.StatusCode != http.StatusConflict || a.SetCookie("websms_session") != nil {
			t.Errorf("%s: %s", what, a.Status)
		}
	}
	now.Advance(time.Microsecond)
	harness.WantStatus(t, "after ten seconds", press(code, "challenge", form), http.StatusConflict)

	// A person who signs out stays signed out.
	code = harness.AskFor(w, b)
	form, cookie = formOf(t, b), harness.With("Cookie", b.Cookies())
	harness.WantStatus(t, "the code", b.Post("/.websms/verify", []string{"code", code, "challenge", form}, harness.Page), http.StatusSeeOther)
	b.Post("/.websms/logout", nil, harness.API)
	if a := press(code, "challenge", form); a.StatusCode != http.StatusConflict || a.SetCookie("websms_session") != nil {
		t.Errorf("a second press after signing out: %s", a.Status)
	}

	// Many presses at once, on different connections.
	code = harness.AskFor(w, b)
	form, cookie = formOf(t, b), harness.With("Cookie", b.Cookies())
	before := verified()
	seen := make([]string, 50)
	var wg sync.WaitGroup
	for i := range seen {
		wg.Go(func() { seen[i] = sessionAs(w, press(code, "challenge", form)) })
	}
	wg.Wait()
	for i := range seen {
		if seen[i] != seen[0] || !strings.Contains(seen[i], `"verified":true`) {
			t.Fatalf("press %d: %s; the first: %s", i, seen[i], seen[0])
		}
	}
	if n := verified() - before; n != 1 {
		t.Errorf("%d verifications in the audit log, want 1", n)
	}
}

// Two answers to one code may differ in "trust this device". Signing out ends both for good: the
// storage keeps the end as long as the longer one could last.
func TestDoubleSubmitSignsOutBoth(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty + "\nsession {\n ttl 1h\n remember 720h\n}"})
	b := w.Browser()
	code := harness.AskFor(w, b)
	form, cookie := formOf(t, b), harness.With("Cookie", b.Cookies())
	trusted := []string{"code", code, "challenge", form, "remember", "1"}
	harness.WantStatus(t, "the code", b.Post("/.websms/verify", trusted[:4], harness.Page), http.StatusSeeOther)
	twin := w.Browser().Post("/.websms/verify", trusted, harness.Page, cookie)
	b.Post("/.websms/logout", nil, harness.API)
	if got := sessionAs(w, twin); !strings.Contains(got, "unverified") {
		t.Errorf("after signing out: %s", got)
	}
	entry := regexp.MustCompile(`^[0-9a-f]{32}-([0-9]+)$`)
	var ends []int64
	err := filepath.WalkDir(w.Dir, func(path string, _ fs.DirEntry, err error) error {
		if name := entry.FindStringSubmatch(filepath.Base(path)); name != nil {
			end, _ := strconv.ParseInt(name[1], 10, 64)
			ends = append(ends, end)
		}
		return err
	})
	if want := now.Now().Add(720 * time.Hour).Unix(); err != nil || len(ends) != 1 || ends[0] < want {
		t.Errorf("the storage keeps the end until %d (%v), want one until %d", ends, err, want)
	}
}

// The session of the first press stays good, if the second one carries the cookie of an older
// session, and if it carries that of the new one.
func TestDoubleSubmitKeepsSession(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b := w.Browser()
	b.Login(harness.FreshNumber())
	code := harness.AskFor(w, b)
	form, cookie := formOf(t, b), b.Cookies()
	first := b.Post("/.websms/verify", []string{"code", code, "challenge", form}, harness.Page)
	made := first.SetCookie("websms_session")
	for what, sent := range map[string]string{
		"the old session":         cookie,
		"the new session as well": cookie + "; websms_session=" + made.Value,
	} {
		a := w.Browser().Post("/.websms/verify", []string{"code", code, "challenge", form}, harness.Page, harness.With("Cookie", sent))
		harness.WantStatus(t, what, a, http.StatusSeeOther)
		harness.WantIn(t, "after a second press with "+what, b, true)
	}
}

// The code page offers no resend that a limit would refuse, and says when there will be one.
func TestResendIsOfferedInTime(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: "code {\n ttl 5m\n}\nlimits {\n per_number 2/10m\n cooldown 30s\n}"})
	b, number := w.Browser(), harness.FreshNumber()
	b.Ask(number)
	offered := func() (bool, string) {
		text := b.Get("/.websms/verify", harness.Page).Text
		_, form, _ := strings.Cut(text, `action="/.websms/resend"`)
		head, _, _ := strings.Cut(form, ">")
		return !strings.Contains(head, "hidden"), text
	}
	if yes, text := offered(); !yes || b.Get("/.websms/status", harness.API).JSON("resend_at") != "2026-07-01T09:00:30Z" {
		t.Errorf("the first message: no resend is offered: %s", harness.Excerpt(text))
	}
	now.Advance(45500 * time.Millisecond)
	if at := b.Get("/.websms/status", harness.API).JSON("resend_at"); at != "2026-07-01T09:00:30Z" {
		t.Errorf("after the cooldown, the next message is said to be at %v", at)
	}
	now.Advance(14500 * time.Millisecond)
	harness.WantStatus(t, "a resend", b.Resend(), http.StatusAccepted)
	w.CodeFor(number, 2)
	if yes, text := offered(); yes || !strings.Contains(text, "You can have another message 9 minutes after this page opened.") {
		t.Errorf("the limit is reached: a resend is offered: %v, %s", yes, text)
	}
	if at := b.Get("/.websms/status", harness.API).JSON("resend_at"); at != "2026-07-01T09:10:00Z" {
		t.Errorf("the next message is said to be at %v", at)
	}
	harness.WantProblem(t, "a resend", b.Resend(), http.StatusTooManyRequests, "rate_limited")
}

// A browser without cookies gets no SMS. Its page says how to allow them, and one press sends.
func TestCookiesOff(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: "limits {\n per_number 2/1h\n per_ip 1000/1h\n cooldown 0s\n}"})
	number := harness.FreshNumber()
	post := func(b *harness.Browser, headers ...http.Header) harness.Answer {
		return b.Post("/.websms/send", []string{"phone", "0" + number[3:], "rd", "/a?b=%2F"}, append([]http.Header{harness.Page}, headers...)...)
	}
	w.WantSends("without cookies", 0, harness.FreshNumber(), func() {
		for range 20 { // no limit counts them
			b := w.Browser()
			b.Client.Jar = nil
			b.Visit()
			a := post(b)
			if a.StatusCode != http.StatusBadRequest || a.SetCookie("websms_session_probe") == nil || a.SetCookie("websms_session_challenge") != nil {
				t.Fatalf("without cookies: %s, sets %v", a.Status, a.Header["Set-Cookie"])
			}
			for _, want := range []string{"Allow cookies", ` value="0` + number[3:] + `"`, `name="rd" value="/a?b=%2F"`} {
				if !strings.Contains(harness.UnescapeHTML(a.Text), want) {
					t.Errorf("the page lacks %q: %s", want, a.Text)
				}
			}
		}
		b := w.Browser()
		harness.WantStatus(t, "cookies of others", post(b, harness.With("Cookie", "theme=dark; xwebsms_session=1")), http.StatusBadRequest)
		harness.WantStatus(t, "a wrong method", b.Get("/.websms/send", harness.Page), http.StatusMethodNotAllowed)
		harness.WantStatus(t, "another origin", post(b, harness.With("Origin", "https://evil.example")), http.StatusForbidden)
		harness.WantStatus(t, "another type", b.Send("/.websms/send", "text/plain", "phone=1", harness.Page), http.StatusUnsupportedMediaType)
		harness.WantStatus(t, "too long", b.Send("/.websms/send", "application/x-www-form-urlencoded", strings.Repeat("x", 9000), harness.Page),
			http.StatusRequestEntityTooLarge)
	})
	b := w.Browser()
	harness.WantStatus(t, "the login page was skipped", post(b), http.StatusBadRequest)
	harness.WantStatus(t, "one press more", post(b), http.StatusSeeOther)
	w.CodeFor(number, 1)
	harness.WantStatus(t, "a program without cookies", w.Browser().Request(harness.FreshNumber()), http.StatusAccepted)
	for _, name := range []string{"", "_challenge", "_device", "_notice", "_probe"} {
		a := w.Browser().Post("/.websms/send", []string{"phone", harness.FreshNumber()}, harness.Page, harness.With("Cookie", "websms_session"+name+"=x"))
		harness.WantStatus(t, "with the cookie websms_session"+name, a, http.StatusSeeOther)
	}
	w.WantNoSecrets()
}

// What cannot be the code costs no attempt. A code may be typed in the digits of any script.
func TestTypedCodes(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b := w.Browser()
	code := harness.AskFor(w, b)
	for _, typed := range []string{"", " ", "1", code[1:], code + "0", "abcdef", strings.Repeat("9", 5000), code + code[1:], code + code + code} {
		a := b.AnswerWith(typed)
		harness.WantProblem(t, "an incomplete code", a, http.StatusUnprocessableEntity, "incomplete_code")
		if a.JSON("attempts_left") != float64(5) || len(a.Cookies()) > 0 {
			t.Errorf("an incomplete code: %s, sets %v", a.Text, a.Cookies())
		}
		page := b.Post("/.websms/verify", []string{"code", typed, "challenge", formOf(t, b)}, harness.Page)
		if page.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(page.Text, "The code has 6 digits.") {
			t.Errorf("an incomplete code, for a person: %s %s", page.Status, harness.Excerpt(page.Text))
		}
	}
	for _, script := range []rune{'٠', '۰', '०', '০', '๐', '၀', '０', '𝟘', '𞥐'} {
		typed := ""
		for _, digit := range harness.AskFor(w, b) {
			typed += string(script + digit - '0')
		}
		harness.WantStatus(t, "a code in the digits of "+string(script), b.AnswerWith(typed+"\u200f "+typed), http.StatusOK)
	}
	w.WantNoSecrets()
}
