package pages

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"

	"github.com/caddy-websms/websms/internal/browser"
)

// stubWebOTP replaces the browser's prompt. The test decides how the prompt is answered.
const stubWebOTP = `
	navigator.credentials.get = (options) => new Promise((resolve, reject) => {
		window.asked = options;
		window.receive = (code) => resolve({ code, type: "otp" });
		options.signal.addEventListener("abort", () => {
			window.aborted = true;
			reject(new DOMException("aborted", "AbortError"));
		});
	});`

// clockAhead lets a test set the browser's clock forward.
const clockAhead = `
	window.ahead = 0;
	const wall = Date.now.bind(Date);
	Date.now = () => wall() + window.ahead;`

func TestWebOTPFillsAndSubmits(t *testing.T) {
	t.Parallel()
	v := codeForm()
	v.Remember, v.Remembered = 720*time.Hour, true
	s, b := newSite(t, v)
	b.Problems.Forgive("NavigationEntryMarkedSkippable") // the script goes to the next page, without a click of a person
	b.Ahead(stubWebOTP)
	b.Open(s.URL + prefix + "/verify")
	b.Until(`window.asked !== undefined`)
	if got := browser.Eval[string](b, `JSON.stringify(asked.otp)`); got != `{"transport":["sms"]}` {
		t.Errorf("asked for otp %s", got)
	}
	b.Run(`receive("482174")`)
	b.UntilShown("#app")
	posts := s.posted()
	if len(posts) != 1 || posts[0].path != prefix+"/verify" ||
		posts[0].form.Get("code") != "482174" || posts[0].form.Get("remember") != "1" {
		t.Errorf("posted %+v", posts)
	}
}

func TestWebOTPIsAbortedOnSubmit(t *testing.T) {
	t.Parallel()
	v := codeForm()
	v.ResendAt = noon
	s, b := newSite(t, v)
	b.Ahead(stubWebOTP + `addEventListener("submit", (event) => event.preventDefault());`)
	for _, form := range []string{`form[action$="/verify"]`, `form[action$="/resend"]`} {
		b.Open(s.URL + prefix + "/verify")
		b.Until(`window.asked !== undefined && window.aborted === undefined`)
		b.Fill("#code", "482174")
		b.Click(form + " button")
		b.Until(`window.aborted === true`)
	}
}

// If the user declines or the browser has no WebOTP, the script leaves the form alone and reports
// no error.
func TestWithoutWebOTP(t *testing.T) {
	t.Parallel()
	for name, stub := range map[string]string{
		"refused":        `navigator.credentials.get = () => Promise.reject(new DOMException("no", "NotAllowedError"));`,
		"throws":         `navigator.credentials.get = () => { throw new TypeError("no otp here"); };`,
		"nothing":        `navigator.credentials.get = () => Promise.resolve(null);`,
		"no get":         `Object.defineProperty(navigator, "credentials", { value: {} });`,
		"no credentials": `Object.defineProperty(navigator, "credentials", { value: undefined });`,
		"as it is":       ``,
	} {
		t.Log(name)
		s, b := newSite(t, codeForm())
		b.Ahead(stub)
		b.Open(s.URL + prefix + "/verify")
		// The countdown has begun, so the script ran to its end.
		b.Until(`document.querySelector("#resend button").disabled`)
		b.Fill("#code", "482174")
		b.Click(`form[action$="/verify"] button`)
		b.UntilShown("#app")
		if posts := s.posted(); len(posts) != 1 || posts[0].form.Get("code") != "482174" || posts[0].form.Has("remember") {
			t.Errorf("%s: posted %+v", name, posts)
		}
	}
}

func TestTypingNeverSubmits(t *testing.T) {
	t.Parallel()
	s, b := newSite(t, codeForm())
	b.Open(s.URL + prefix + "/verify")
	b.Fill("#code", "48a2-17x4")
	if got := browser.Eval[string](b, `code.value`); got != "482174" {
		t.Errorf("typed digits became %q", got)
	}
	b.Run(`code.value = ""`)
	browser.Call(b, input.InsertText, input.InsertTextParams{Text: "482 174"})
	if got := browser.Eval[string](b, `code.value`); got != "482174" {
		t.Errorf("inserted digits became %q", got)
	}
	if posts := s.posted(); len(posts) > 0 {
		t.Errorf("posted %+v", posts)
	}
}

func TestPaste(t *testing.T) {
	t.Parallel()
	s, b := newSite(t, codeForm())
	b.Open(s.URL + prefix + "/verify")
	for pasted, want := range map[string]string{
		"482174":                         "482174",
		"482 174":                        "482174",
		" 482-174\n":                     "482174",
		"4 8 2 1 7 4":                    "482174",
		"Harbour Bank: 482174. Valid 5m": "482174",
		"Your code: 482174\n@bank.example #482174": "482174",
		"٤٨٢ ١٧٤":           "482174",
		"رمزك ۴۸۲۱۷۴":       "482174",
		"𝟒𝟪𝟸𝟙𝟽𝟜":            "482174",
		"482174482174":      "482174",
		"482174 ٤٨٢١٧٤":     "482174",
		"0800 838 383":      "unchanged", // the browser pastes it, and the input event cleans it
		"nothing like that": "unchanged",
	} {
		got := browser.Eval[string](b, `(() => {
			code.value = "unchanged";
			const data = new DataTransfer();
			data.setData("text/plain", `+browser.Quote(pasted)+`);
			code.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
			return code.value;
		})()`)
		if got != want {
			t.Errorf("pasting %q gave %q, want %q", pasted, got, want)
		}
	}
}

// The field takes the digits of any keyboard, and a code that is filled in twice once.
func TestTypedDigits(t *testing.T) {
	t.Parallel()
	any := codeForm()
	any.AnyLength = true
	for _, c := range []struct {
		view Verify
		list map[string]string
	}{
		{codeForm(), map[string]string{
			"٤٨٢١٧٤": "482174", "४८२-१७४": "482174", "４８２１７４": "482174", "482174482174": "482174", "4821744": "4821744", "²3x": "3",
		}},
		{any, map[string]string{"12341234": "12341234", "1234512345": "12345", "٤٨٢١": "4821"}},
	} {
		s, b := newSite(t, c.view)
		b.Open(s.URL + prefix + "/verify")
		for typed, want := range c.list {
			b.Run(`code.value = ""; code.focus()`)
			browser.Call(b, input.InsertText, input.InsertTextParams{Text: typed})
			if got := browser.Eval[string](b, `code.value`); got != want {
				t.Errorf("%q became %q, want %q", typed, got, want)
			}
		}
	}
}

// No resend is offered that a limit would refuse until the code has expired. If the limit allows it
// earlier after all, the page offers it.
func TestLateResendByScript(t *testing.T) {
	t.Parallel()
	v := codeForm()
	v.ResendAt = noon.Add(9 * time.Minute)
	s, b := newSite(t, v)
	b.Ahead(clockAhead)
	b.Open(s.URL + prefix + "/verify")
	b.Until(`/^You can have another message in (9|8) minutes\.$/.test(document.querySelector("#limit").textContent)`)
	if !browser.Eval[bool](b, `document.querySelector("form#resend").hidden && !document.querySelector("#limit").hidden`) {
		t.Error("a resend is offered in vain")
	}
	b.Run(`ahead = 301_000`)
	b.Until(`document.querySelector("#limit").hidden && document.querySelector("#other").textContent === "Get a new code"`)
}

func TestCountdown(t *testing.T) {
	t.Parallel()
	v := codeForm()
	v.ResendAt = noon.Add(80 * time.Second)
	s, b := newSite(t, v)
	b.Ahead(clockAhead)
	b.Open(s.URL + prefix + "/verify")
	b.Until(`document.querySelector("#resend button").disabled`)
	b.Until(`/^You can send it again in (80|7\d) seconds\.$/.test(wait.textContent)`)

	// If the clock is set back, the button does not stay disabled, and the page shows no impossible
	// time.
	b.Run(`ahead = -3600_000`)
	b.Until(`/^You can send it again in (7\d|6\d) seconds\.$/.test(wait.textContent)`)

	b.Run(`ahead = 60_000`)
	b.Until(`/^You can send it again in (20|1\d|[1-9]) seconds?\.$/.test(wait.textContent)`)
	if !browser.Eval[bool](b, `document.querySelector("#resend button").disabled`) {
		t.Error("the button came back too early")
	}
	b.Run(`ahead = 81_000`)
	b.Until(`!document.querySelector("#resend button").disabled`)
	untilWords(b, "wait", "Messages can take a minute. You can send it again now.")
	// A screen reader does not read the countdown aloud every second.
	if n := browser.Eval[int](b, `document.querySelectorAll("#resend [aria-live], #resend [role]").length`); n != 0 {
		t.Errorf("%d live regions in the countdown", n)
	}
	b.Click("#resend button")
	b.UntilShown("#app")
	if posts := s.posted(); len(posts) != 1 || posts[0].path != prefix+"/resend" {
		t.Errorf("posted %+v", posts)
	}
}

// The script uses the same units as the server.
func TestCountdownUnits(t *testing.T) {
	t.Parallel()
	v := codeForm()
	s, b := newSite(t, v)
	// The clock is stopped, so that no time has passed when the script reads it.
	b.Ahead(`performance.now = () => 0; Date.now = () => 0;`)
	for _, d := range []time.Duration{time.Second, 90 * time.Second, 100 * time.Second, 4 * time.Minute, 10 * time.Minute} {
		v.ExpiresAt, v.ResendAt = v.Now.Add(2*d), v.Now.Add(d)
		s.show(v)
		b.Open(s.URL + prefix + "/verify")
		untilWords(b, "wait", "You can send it again in "+duration(d)+".")
		untilWords(b, "life", "It works for another "+duration(2*d)+".")
	}
}

func challenge(status string, expires, resend time.Time) string {
	return fmt.Sprintf(`{"status":%q,"masked":"+64•••567","code_length":6,"attempts_left":5,"expires_at":%q,"resend_at":%q}`,
		status, expires.Format(time.RFC3339), resend.Format(time.RFC3339))
}

func TestDeliveryStream(t *testing.T) {
	t.Parallel()
	v := codeForm()
	v.Status = "queued"
	s, b := newSite(t, v)
	b.Open(s.URL + prefix + "/verify")
	untilWords(b, "delivery", "Sending the code…")
	s.events <- challenge("accepted", v.ExpiresAt, v.ResendAt)
	untilWords(b, "delivery", "The code is on its way.")
	s.events <- "not json"
	s.events <- challenge("unheard-of", v.ExpiresAt, noon)
	// The event brought the time of the resend forward and changed nothing else.
	b.Until(`!document.querySelector("#resend button").disabled`)
	untilWords(b, "delivery", "The code is on its way.")
	s.events <- challenge("failed", v.ExpiresAt, noon)
	untilWords(b, "delivery", "The message may not have gone out. If a code arrives, it still works. If not, send the code again.")
	s.events <- challenge("delivered", v.ExpiresAt, noon)
	untilWords(b, "delivery", "The code was delivered to +64•••567.")
	if got := browser.Eval[string](b, `delivery.dataset.state`); got != "delivered" {
		t.Errorf("the state is %q", got)
	}
	// The script closes the stream after the delivery, because no other event follows.
	select {
	case <-s.left:
	case <-time.After(patience):
		t.Error("the stream is still open after the delivery")
	}
}

func TestStreamEndsWithThePage(t *testing.T) {
	t.Parallel()
	s, b := newSite(t, codeForm())
	b.Open(s.URL + prefix + "/verify")
	s.events <- challenge("failed", noon.Add(5*time.Minute), noon)
	b.Until(`delivery.dataset.state === "failed"`)
	b.Open(s.URL + "/app")
	select {
	case <-s.left:
	case <-time.After(patience):
		t.Error("the stream outlives its page")
	}
}

func TestNoStreamWhenThereIsNothingToWaitFor(t *testing.T) {
	t.Parallel()
	delivered, expired := codeForm(), codeForm()
	delivered.Status, expired.ExpiresAt = "delivered", noon
	for _, v := range []Verify{delivered, expired} {
		s, b := newSite(t, v)
		b.Ahead(stubWebOTP)
		b.Open(s.URL + prefix + "/verify")
		b.Until(`window.asked !== undefined`)
		b.Open(s.URL + "/app")
		if got := strings.Join(s.requests(), "\n"); strings.Contains(got, "/status") {
			t.Errorf("asked for the status:\n%s", got)
		}
	}
}

func TestExpiryIsSaid(t *testing.T) {
	t.Parallel()
	s, b := newSite(t, codeForm())
	b.Ahead(clockAhead)
	b.Open(s.URL + prefix + "/verify")
	b.Until(`delivery.dataset.state === "accepted"`)
	b.Run(`ahead = 270_000`)
	b.Until(`/another (30|2\d) seconds\.$/.test(life.textContent)`)
	b.Run(`ahead = 300_000`)
	untilWords(b, "delivery", "The code has expired.")
	untilWords(b, "other", "Get a new code")
	if !browser.Eval[bool](b, `document.getElementById("resend").hidden && document.getElementById("life").textContent === ""`) {
		t.Error("an expired code can be sent again, or still says how long it works")
	}
	select {
	case <-s.left:
	case <-time.After(patience):
		t.Error("the stream outlives its code")
	}
	b.Click("#other")
	b.UntilShown("#other")
	if got := s.requests(); got[len(got)-1] == "POST "+prefix+"/resend" || len(s.posted()) > 0 {
		t.Errorf("asked for %q", got)
	}
}

func TestSecondSubmitIsHeldBack(t *testing.T) {
	t.Parallel()
	s, b := newSite(t, Login{Example: "021 234 567"})
	// This script counts the submits that would leave the page, and stops them to simulate a slow
	// network. It keeps the functions that the page's script puts off for five seconds.
	b.Ahead(`
		window.sent = 0;
		addEventListener("submit", (event) => {
			if (!event.defaultPrevented) window.sent++;
			event.preventDefault();
		});
		const later = window.setTimeout;
		window.setTimeout = (f, ms, ...args) => {
			if (ms !== 5_000) return later(f, ms, ...args);
			window.givingUp = () => f(...args);
			return 1;
		};`)
	b.Open(s.URL + prefix + "/login")
	b.Fill("#phone", "021 234 567")
	b.Click("button")
	b.Until(`document.querySelector("button").ariaDisabled === "true"`)
	b.Click("button")
	b.Run(`document.querySelector("form").requestSubmit()`)
	if n := browser.Eval[int](b, `sent`); n != 1 {
		t.Errorf("submitted %d times", n)
	}
	// The button works again if a submit never ends.
	b.Run(`givingUp()`)
	b.Until(`document.querySelector("button").ariaDisabled === null`)
	b.Click("button")
	if n := browser.Eval[int](b, `sent`); n != 2 {
		t.Errorf("submitted %d times, want the second one let through", n)
	}
}

// A page that the browser restores from its cache works again.
func TestBackFromTheCache(t *testing.T) {
	t.Parallel()
	s, b := newSite(t, codeForm())
	b.Ahead(stubWebOTP + `addEventListener("submit", (event) => event.preventDefault());`)
	b.Open(s.URL + prefix + "/verify")
	b.Fill("#code", "482174")
	b.Click(`form[action$="/verify"] button`)
	b.Until(`document.querySelector("button").ariaDisabled === "true" && aborted`)
	b.Run(`dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }))`)
	select {
	case <-s.left:
	case <-time.After(patience):
		t.Fatal("the stream outlives its page")
	}
	if !browser.Eval[bool](b, `(() => {
		asked = undefined;
		dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
		return document.querySelector("button").ariaDisabled === null && asked !== undefined;
	})()`) {
		t.Error("the button is still held back, or the code no longer asked for")
	}
	s.events <- challenge("delivered", noon.Add(5*time.Minute), noon)
	untilWords(b, "delivery", "The code was delivered to +64•••567.")
}
