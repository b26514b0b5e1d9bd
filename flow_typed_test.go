package websms_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
)

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
			if a.StatusCode != http.StatusBadRequest || a.SetCookie("websms_session_probe") == nil ||
				a.SetCookie("websms_session_challenge") != nil {
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
		cookie := harness.With("Cookie", "websms_session"+name+"=x")
		a := w.Browser().Post("/.websms/send", []string{"phone", harness.FreshNumber()}, harness.Page, cookie)
		harness.WantStatus(t, "with the cookie websms_session"+name, a, http.StatusSeeOther)
	}
	w.WantNoSecrets()
}

// A text that cannot be the code costs no attempt. A code may be typed in the digits of any script.
func TestTypedCodes(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty})
	b := w.Browser()
	code := harness.AskFor(w, b)
	for _, typed := range []string{
		"", " ", "1", code[1:], code + "0", "abcdef", strings.Repeat("9", 5000), code + code[1:], code + code + code,
	} {
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
