package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/caddy-websms/websms/internal/browser"
	"github.com/caddy-websms/websms/internal/harness"
)

// The tests of this file are about people who type a code in their own way, ask again, press twice,
// or block cookies. They run Caddy in this process, so they are not parallel.

// askFor asks for a code to a number and returns the code of the n-th message to it.
func (a *application) askFor(b *browser.Tab, number string, n int) (code string) {
	b.T.Helper()
	b.UntilAt("/.websms/login")
	b.Fill("#phone", number)
	b.Click("button.primary")
	b.UntilAt("/.websms/verify")
	return a.CodeFor(number, n)
}

// audited counts the lines of an event in the audit log.
func (a *application) audited(event string) (n int) {
	for _, line := range a.Logged("websms.audit") {
		if line["event"] == event {
			n++
		}
	}
	return n
}

// withScripts runs a test in a browser with JavaScript, and in one without.
func withScripts(t *testing.T, do func(t *testing.T, scripts bool)) {
	for _, scripts := range []bool{true, false} {
		t.Run(fmt.Sprintf("scripts=%t", scripts), func(t *testing.T) { do(t, scripts) })
	}
}

// newTabWith opens a tab with or without JavaScript.
func newTabWith(t *testing.T, scripts bool) *browser.Tab {
	t.Helper()
	b := browser.NewTab(t)
	if !scripts {
		b.WithoutScripts()
	}
	return b
}

// attemptsLeft returns how many attempts the browser's challenge has left.
func attemptsLeft(b *browser.Tab) int {
	b.T.Helper()
	b.Run(`fetch("/.websms/verify", { headers: { Accept: "application/json" } })
		.then((r) => r.json()).then((c) => { window.left = c.attempts_left; })`)
	b.Until("window.left !== undefined")
	return browser.Eval[int](b, "left")
}

// in writes the digits of a code in another script, given its zero.
func in(zero rune, code string) string {
	return strings.Map(func(digit rune) rune { return zero + digit - '0' }, code)
}

// A code lets the browser in as people and phones enter it: on another keyboard, in groups, or filled
// in twice.
func TestCodesAsPeopleTypeThem(t *testing.T) {
	a := serve(t, "", nil)
	for name, enter := range map[string]func(b *browser.Tab, code string){
		"on an Arabic keyboard":    func(b *browser.Tab, code string) { b.Press(in('٠', code)) },
		"on a Persian keyboard":    func(b *browser.Tab, code string) { b.Press(in('۰', code[:3]) + " " + in('۰', code[3:])) },
		"on a Japanese keyboard":   func(b *browser.Tab, code string) { b.Press(in('０', code)) },
		"in groups":                func(b *browser.Tab, code string) { b.Press(" " + code[:2] + "-" + code[2:4] + "–" + code[4:]) },
		"filled in twice":          func(b *browser.Tab, code string) { insert(b, code); insert(b, code) },
		"filled in twice at once":  func(b *browser.Tab, code string) { insert(b, code+code) },
		"twice, in Arabic, marked": func(b *browser.Tab, code string) { insert(b, "\u200f"+in('٠', code)+" "+in('٠', code)+"\u200f") },
	} {
		t.Run(name, func(t *testing.T) {
			withScripts(t, func(t *testing.T, scripts bool) {
				b := newTabWith(t, scripts)
				b.Open(a.URL + "/orders")
				code := a.askFor(b, harness.FreshNumber(), 1)
				b.Fill("#code", "")
				enter(b, code)
				if got := browser.Eval[string](b, `document.querySelector("#code").value`); scripts && got != code {
					t.Errorf("the field holds %q, want %q", got, code)
				}
				b.Click("main button.primary")
				b.UntilAt("/orders")
			})
		})
	}
	if wrong := a.audited("wrong_code"); wrong != 0 {
		t.Errorf("%d wrong codes in the audit log", wrong)
	}
}

// insert enters text as a phone does that fills in a code: at once, without keys.
func insert(b *browser.Tab, text string) {
	b.T.Helper()
	browser.Call(b, input.InsertText, input.InsertTextParams{Text: text})
}

// A person opens the app again while the SMS is on its way. The login page leads back to the code,
// and the code leads to the page that the person opened last.
func TestOpenedAgain(t *testing.T) {
	a := serve(t, "limits {\n cooldown 1m\n}", nil)
	const first, last = "/orders?id=1", "/orders?id=7&next=https%3A%2F%2Fx.example%2F&q=Caf%E9"
	withScripts(t, func(t *testing.T, scripts bool) {
		link := last
		if scripts {
			link += "#row=3" // the page's script keeps it
		}
		for what, back := range map[string]func(b *browser.Tab, number string){
			"by the link": func(b *browser.Tab, _ string) {
				b.UntilText(".links a", "I have a code")
				b.Click(".links a")
			},
			"asking again": func(b *browser.Tab, number string) {
				b.Fill("#phone", "0"+number[3:])
				b.Click("button.primary")
			},
		} {
			t.Run(what, func(t *testing.T) {
				b, number := newTabWith(t, scripts), harness.FreshNumber()
				b.Open(a.URL + first)
				code := a.askFor(b, number, 1)
				tab := b.Beside()
				if !scripts {
					tab.WithoutScripts()
				}
				tab.Open(a.URL + link)
				tab.UntilAt("/.websms/login")
				a.WantSends(what, 0, harness.FreshNumber(), func() {
					back(tab, number)
					tab.UntilAt("/.websms/verify")
					tab.UntilText("h1", "Enter your code")
				})
				tab.Fill("#code", code)
				tab.Click("main button.primary")
				untilAddress(tab, a.URL+link)
				if !a.saw(last) {
					t.Errorf("the application did not see %q, but %q", last, a.uris)
				}
			})
		}
	})
}

// In the code form of an older tab no code counts. The answer asks for the latest code, which works
// there too.
func TestTwoTabsTwoCodes(t *testing.T) {
	a := serve(t, "code {\n attempts 3\n}", nil)
	withScripts(t, func(t *testing.T, scripts bool) {
		older := newTabWith(t, scripts)
		older.Open(a.URL + "/older")
		old := a.askFor(older, harness.FreshNumber(), 1)
		newer := older.Beside()
		newer.Open(a.URL + "/newer")
		number := harness.FreshNumber()
		latest := a.askFor(newer, number, 1)
		stale := older.Beside() // its form is of the latest challenge
		stale.Open(a.URL + "/.websms/verify")

		older.Problems.Expect(http.StatusConflict)
		older.Fill("#code", old)
		older.Click("main button.primary")
		older.UntilText("#problem", "Enter the code from the latest message")
		older.Until(`document.title.startsWith("Enter the latest code")`)
		older.UntilText("#problem", "•••"+number[len(number)-3:])
		if left := attemptsLeft(newer); left != 3 {
			t.Errorf("%d attempts left, want 3", left)
		}
		older.Fill("#code", latest)
		older.Click("main button.primary")
		older.UntilText("#app", "/older")

		// The other tab is in too, as soon as it sends its form or is opened again.
		newer.Fill("#code", latest)
		newer.Click("main button.primary")
		newer.UntilText("#app", "/newer")
		stale.Open(a.URL + "/stale")
		stale.UntilText("#app", "/stale")
	})
	if verified, wrong := a.audited("verified"), a.audited("wrong_code"); verified != 2 || wrong != 0 {
		t.Errorf("the audit log has %d verifications and %d wrong codes, want 2 and 0", verified, wrong)
	}
}

// A slowProxy stands in front of a gate. It gives the gate each request at once, but keeps the first
// answer to a code for itself until the browser gives up.
type slowProxy struct {
	URL  string
	kept atomic.Int32 // answers to codes
}

// slow starts a slow proxy in front of the gate.
func (a *application) slow(t *testing.T) *slowProxy {
	t.Helper()
	gate, err := url.Parse(a.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := new(slowProxy)
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(gate)
			r.Out.Host = r.In.Host
		},
		ModifyResponse: func(r *http.Response) error {
			if r.Request.Method == http.MethodPost && r.Request.URL.Path == "/.websms/verify" && p.kept.Add(1) == 1 {
				<-r.Request.Context().Done()
			}
			return nil
		},
		FlushInterval: -1,
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) {}, // the browser has gone
	})
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections) // runs first, because streams do not end by themselves
	p.URL = strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	return p
}

// A person who gets no answer presses again, and is in. The script holds back presses at once, but
// lets one through while the gate still takes it.
func TestPressedTwice(t *testing.T) {
	withScripts(t, func(t *testing.T, scripts bool) {
		a := serve(t, "", nil)
		p := a.slow(t)
		b := newTabWith(t, scripts)
		b.Problems.Forgive("/.websms/verify: net::ERR_ABORTED") // the first press
		b.Open(p.URL + "/orders?id=7#row=3")
		code := a.askFor(b, harness.FreshNumber(), 1)
		b.Fill("#code", code)
		at := browser.Eval[[]float64](b, `(() => {
			const box = document.querySelector("main button.primary").getBoundingClientRect();
			return [box.x + box.width / 2, box.y + box.height / 2];
		})()`)
		press := func() { b.Do(chromedp.MouseClickXY(at[0], at[1])) } // while it waits, the page runs no script of a test
		press()
		harness.Eventually(t, "the gate has answered", func() bool { return p.kept.Load() == 1 })
		press()
		harness.Eventually(t, "a second press reaches the gate", func() bool {
			if scripts {
				press()
			}
			return p.kept.Load() == 2
		})
		b.UntilText("#app", "/orders")
		if verified := a.audited("verified"); verified != 1 || p.kept.Load() != 2 {
			t.Errorf("%d posts and %d verifications, want 2 and 1", p.kept.Load(), verified)
		}
	})
}

// A page posts its form many times at once. Each answer signs the browser in, into one session.
func TestPostedManyTimesAtOnce(t *testing.T) {
	a := serve(t, "", nil)
	b := browser.NewTab(t)
	b.Problems.Forgive("/orders: net::ERR_ABORTED") // the script follows no redirect
	b.Open(a.URL + "/orders")
	code := a.askFor(b, harness.FreshNumber(), 1)
	b.Fill("#code", code)
	b.Run(`{
		const form = document.querySelector("form[action$='/verify']");
		const post = () => fetch(form.action, {
			method: "POST", body: new URLSearchParams(new FormData(form)), redirect: "manual", headers: { Accept: "text/html" },
		});
		Promise.all([...Array(6)].map(post)).then((all) => { window.types = all.map((r) => r.type).join(" "); });
	}`)
	b.Until("window.types")
	if types := browser.Eval[string](b, "types"); types != strings.TrimSpace(strings.Repeat("opaqueredirect ", 6)) {
		t.Errorf("the answers are %q, want six redirects", types)
	}
	b.Open(a.URL + "/orders")
	b.UntilText("#app", "/orders")
	if verified := a.audited("verified"); verified != 1 {
		t.Errorf("%d verifications, want 1", verified)
	}
}

// A browser that blocks cookies gets no SMS. The page says how to allow them. After that, one press
// sends the code, or two without JavaScript, and the code leads to the page that was opened.
func TestCookiesBlocked(t *testing.T) {
	a := serve(t, "", nil)
	chromium, err := browser.Start(filepath.Join(t.TempDir(), "profile"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(chromium.Stop)
	withScripts(t, func(t *testing.T, scripts bool) {
		chromium.SetCookies(t, false)
		b, number := chromium.NewTab(t), harness.FreshNumber()
		link := a.URL + "/orders?id=7&q=Caf%E9"
		if scripts {
			link += "#row=3"
		} else {
			b.WithoutScripts()
		}
		b.Open(link)
		b.UntilAt("/.websms/login")
		local := "0" + number[3:]
		b.Fill("#phone", local)
		a.WantSends("without cookies", 0, harness.FreshNumber(), func() {
			for range 2 {
				b.Problems.Expect(http.StatusBadRequest)
				b.Click("button.primary")
				b.UntilText("#problem", "Allow cookies to sign in")
				b.UntilText("#problem", "In your browser's settings")
				if kept := browser.Eval[string](b, `document.querySelector("#phone").value`); kept != local {
					t.Errorf("the field holds %q, want the number", kept)
				}
				b.Run(`document.querySelector("#problem").remove()`)
			}
		})
		if cookies := b.Cookies(); len(cookies) != 0 {
			t.Errorf("the browser has %d cookies", len(cookies))
		}
		chromium.SetCookies(t, true)
		if !scripts { // the cookie of the page was blocked, and comes with the next answer
			b.Problems.Expect(http.StatusBadRequest)
			b.Click("button.primary")
			b.UntilText("#problem", "Allow cookies to sign in")
		}
		b.Click("button.primary")
		b.UntilAt("/.websms/verify")
		b.Fill("#code", a.CodeFor(number, 1))
		b.Click("main button.primary")
		untilAddress(b, link)
	})
}

// A resend that a limit refuses leaves the code page open. The page says so, offers no other one, and
// the code still works.
func TestRefusedResend(t *testing.T) {
	for name, c := range map[string]struct {
		limits string
		used   int  // codes to others, after the page was opened
		late   bool // the button is hidden from the beginning
	}{
		"by the rate of the number": {"per_number 1/10m", 0, true},
		"by the budget":             {"budget 2/1h", 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			withScripts(t, func(t *testing.T, scripts bool) {
				a := serve(t, "limits {\n cooldown 1s\n "+c.limits+"\n}", nil)
				b, number := newTabWith(t, scripts), harness.FreshNumber()
				b.Open(a.URL + "/orders?id=7")
				code := a.askFor(b, number, 1)
				hidden := func() bool { return !browser.Eval[bool](b, `document.querySelector("#resend").checkVisibility()`) }
				if hidden() != c.late {
					t.Fatalf("the button is hidden: %t", hidden())
				}
				if !c.late {
					b.Until(`!document.querySelector("#resend button").disabled`)
					for range c.used {
						a.Browser().Ask(harness.FreshNumber())
					}
					b.Problems.Expect(http.StatusTooManyRequests)
					b.Click("#resend button")
					b.UntilText("#problem", "The code that you have still works.")
					if scripts { // otherwise a reload of this page posts again
						b.UntilAt("/.websms/verify")
					}
					if !hidden() {
						t.Error("after the limit has refused, the button is offered")
					}
				}
				b.UntilText("#limit", "You can have another message ")
				b.Open(a.URL + "/.websms/verify?rd=/orders%3Fid=7")
				b.Until(`document.querySelector("#code") && !document.querySelector("#problem")`)
				if !hidden() {
					t.Error("after a reload, the button is offered")
				}
				b.Fill("#code", code)
				b.Click("main button.primary")
				untilAddress(b, a.URL+"/orders?id=7")
				if n := len(a.MessagesTo(number)); n != 1 {
					t.Errorf("%d messages, want 1", n)
				}
			})
		})
	}
}

// A message that is not delivered is sent once more. The open page says that it may not have gone
// out, until the second one is delivered.
func TestSecondTryIsFollowed(t *testing.T) {
	a := serve(t, "", nil)
	a.Sim.SetWebhook("", "") // the test reports
	b, number := browser.NewTab(t), harness.FreshNumber()
	b.Open(a.URL + "/orders")
	code := a.askFor(b, number, 1)
	report := func(status int) {
		harness.Deliver(a.Browser(), fmt.Sprintf(`{"type":"dlr","messageId":%q,"statusCode":%d}`, a.MessagesTo(number)[0].ID, status))
	}
	b.Run(`window.unreloaded = true`)
	b.UntilText("#delivery", "The code is on its way.")
	report(2)
	b.UntilText("#delivery", "may not have gone out")
	if again := a.CodeFor(number, 2); again != code {
		t.Error("the second message has another code")
	}
	harness.Eventually(t, "the second try is settled", func() bool { return a.audited("code_sent") == 2 })
	if words := b.Text("#delivery"); !strings.Contains(words, "may not have gone out") {
		t.Errorf("while the second message is on its way, the page says %q", words)
	}
	report(1)
	b.UntilText("#delivery", "The code was delivered to ")
	if !browser.Eval[bool](b, "window.unreloaded === true") {
		t.Error("the page was loaded again")
	}
	b.Fill("#code", code)
	b.Click("main button.primary")
	b.UntilAt("/orders")
}
