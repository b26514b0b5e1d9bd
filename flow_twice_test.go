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

// sessionAs returns the session JSON that a browser with only this session cookie gets.
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
