package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	_ "github.com/caddy-websms/websms"
	"github.com/caddy-websms/websms/internal/browser"
	"github.com/caddy-websms/websms/internal/harness"
)

// The tests of this file run Caddy in this process, with an application of a few pages, so that they
// can move the clock. So they are not parallel.

// An application is a legacy application behind the gate.
type application struct {
	*harness.World
	mu   sync.Mutex
	uris []string // of all requests that reached the application, as the browser sent them
}

// serve starts a gate with an application of these pages, by path. The limits are high, unless the
// options of the gate name some.
func serve(t *testing.T, gate string, pages map[string]string) *application {
	t.Helper()
	needChromium(t)
	a := new(application)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.uris = append(a.uris, r.RequestURI)
		a.mu.Unlock()
		body, ok := pages[r.URL.Path]
		if !ok {
			body = `<!DOCTYPE html><html lang="en"><link rel="icon" href="data:,"><title>App</title><p id="app">` + r.URL.Path + `</p></html>`
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if strings.HasSuffix(r.URL.Path, ".js") {
			w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		}
		fmt.Fprint(w, body)
	}))
	t.Cleanup(upstream.Close)
	if !strings.Contains(gate, "limits {") {
		gate += "\n" + harness.Plenty
	}
	a.World = harness.Start(t, harness.Setup{
		Gate: gate, Front: "handle /* {\n reverse_proxy " + strings.TrimPrefix(upstream.URL, "http://") + "\n}",
	})
	return a
}

// saw reports whether a request for a path and query reached the application byte for byte.
func (a *application) saw(uri string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.uris, uri)
}

// signIn goes through the forms of the gate.
func (a *application) signIn(b *browser.Tab) {
	b.T.Helper()
	number := harness.FreshNumber()
	b.UntilAt("/.websms/login")
	b.Fill("#phone", number)
	b.Click("button.primary")
	b.UntilAt("/.websms/verify")
	b.Fill("#code", a.CodeFor(number, 1))
	b.Click("main button.primary")
}

// page returns a page with this body.
func page(body string) string {
	return `<!DOCTYPE html><html lang="en"><head><link rel="icon" href="data:,"><title>App</title></head><body>` + body + `</body></html>`
}

// untilAddress waits until the tab shows the page of exactly this address.
func untilAddress(b *browser.Tab, address string) {
	b.T.Helper()
	b.Until("location.href === " + browser.Quote(address))
}

// framePages are a frameset, and pages with the other frames that HTML has. In each, a link opens a
// page in the frame "main".
var framePages = map[string]string{
	"/frameset": `<!DOCTYPE html PUBLIC "-//W3C//DTD HTML 4.01 Frameset//EN" "http://www.w3.org/TR/html4/frameset.dtd">
		<html lang="en"><head><link rel="icon" href="data:,"><title>Desk</title></head>
		<frameset cols="30%,70%"><frame name="menu" src="/menu"><frame name="main" src="/welcome"></frameset></html>`,
	"/menu": page(`<p><a href="/orders?id=7" target="main">Orders</a></p>`),
	"/iframe": page(`<p><a href="/orders?id=7" target="main">Orders</a></p>
		<iframe name="main" width="800" height="400" src="/welcome"></iframe>`),
	"/embed": page(`<p><a href="/orders?id=7" target="main">Orders</a></p><embed name="main" width="800" height="400" src="/welcome">`),
	"/object": page(`<object width="800" height="400" type="text/html" data="/welcome">
		<a href="/object" target="_top">Sign in</a></object>`),
	"/logout": page(`<form method="post" action="/.websms/logout"><button>Sign out</button></form>`),
	"/public": page(`<iframe name="main" width="800" height="400" src="/welcome"></iframe>`),
}

// inFrame is an expression for an element in the n-th frame of the page, from 0.
func inFrame(n int, css string) string {
	return fmt.Sprintf("window.frames[%d]?.document.querySelector(%s)", n, browser.Quote(css))
}

// clickInFrame clicks on the middle of an element in the n-th frame of the page. So no script has to
// run in the frame.
func clickInFrame(b *browser.Tab, n int, css string) {
	b.T.Helper()
	middle := `(() => {
		const element = ` + inFrame(n, css) + `;
		if (!element || element.ownerDocument.readyState !== "complete") return null;
		const outer = document.querySelectorAll("frame, iframe, embed")[` + fmt.Sprint(n) + `].getBoundingClientRect();
		const inner = element.getBoundingClientRect();
		return [outer.x + inner.x + inner.width / 2, outer.y + inner.y + inner.height / 2];
	})()`
	b.Until(middle)
	at := browser.Eval[[]float64](b, middle)
	b.Do(chromedp.MouseClickXY(at[0], at[1]))
}

// signOut ends the session in another tab of the same browser.
func (a *application) signOut(b *browser.Tab) {
	b.T.Helper()
	other := b.Beside()
	other.Open(browser.Eval[string](b, "location.origin") + "/logout")
	other.Click("button")
	other.UntilAt("/.websms/login")
}

// The session of an application in frames ends while its page is open. The frame says so, its link
// takes the whole window to the login, and after the code the window shows the page with the frames.
func TestFramesWhoseSessionEnds(t *testing.T) {
	now := harness.UseClock(t)
	now.Advance(time.Since(now.Now())) // the browser judges cookies by its own clock
	a := serve(t, "session {\n ttl 3h\n idle 20m\n}", framePages)
	const query = "?tab=2&next=https%3A%2F%2Fx.example%2F&q=Caf%E9"
	for _, c := range []struct {
		path          string
		main          int // the place of the frame "main"
		scripts, idle bool
		back          string // where the login ends
	}{
		{"/frameset", 1, true, false, "/frameset" + query + "#row=3"},
		{"/iframe", 0, true, true, "/iframe" + query + "#row=3"},
		{"/embed", 0, true, false, "/embed" + query + "#row=3"},
		// Without JavaScript the gate knows the page of the link that was followed, by its Referer.
		{"/frameset", 1, false, true, "/menu"},
		{"/iframe", 0, false, false, "/iframe" + query},
		{"/embed", 0, false, true, "/embed" + query},
	} {
		t.Run(fmt.Sprintf("%s,scripts=%t", c.path, c.scripts), func(t *testing.T) {
			b := browser.NewTab(t)
			b.Problems.Forgive("QuirksModeIssue") // framesets have no other doctype
			if !c.scripts {
				b.WithoutScripts()
			}
			b.Open(a.URL + c.path + query + "#row=3")
			a.signIn(b)
			b.Until(inFrame(c.main, "#app") + "?.textContent === '/welcome'")
			if c.idle {
				now.Advance(21 * time.Minute)
			} else {
				a.signOut(b)
			}

			b.Problems.Expect(http.StatusUnauthorized)
			if c.path == "/frameset" {
				clickInFrame(b, 0, "a")
			} else {
				b.Click("a")
			}
			b.Until(inFrame(c.main, "h1") + "?.textContent === 'You are not signed in'")
			clickInFrame(b, c.main, "a.primary")
			a.signIn(b)
			untilAddress(b, a.URL+c.back)
			if c.scripts {
				b.Until(inFrame(c.main, "#app") + "?.textContent === '/welcome'")
			}
		})
	}
}

// An object shows its own content in place of an answer with an error. The gate's page is an answer
// with status 401, so the application has to bring a link of its own.
func TestObjectShowsItsFallback(t *testing.T) {
	a := serve(t, "bypass {\n path /object\n}", framePages)
	b := browser.NewTab(t)
	b.Problems.Expect(http.StatusUnauthorized)
	b.Problems.Forgive("/welcome: net::ERR_ABORTED")
	b.Open(a.URL + "/object")
	b.UntilShown("object a")
}

// A page that anybody may read has a frame behind the gate. The frame leads through the login and
// back to the page around it, without JavaScript too.
func TestFrameInAPublicPage(t *testing.T) {
	a := serve(t, "bypass {\n path /public\n}", framePages)
	for _, scripts := range []bool{true, false} {
		t.Run(fmt.Sprintf("scripts=%t", scripts), func(t *testing.T) {
			b := browser.NewTab(t)
			if !scripts {
				b.WithoutScripts()
			}
			b.Problems.Expect(http.StatusUnauthorized)
			b.Open(a.URL + "/public?a=%2F%2Fb")
			clickInFrame(b, 0, "a.primary")
			a.signIn(b)
			untilAddress(b, a.URL+"/public?a=%2F%2Fb")
			b.Until(inFrame(0, "#app") + "?.textContent === '/welcome'")
		})
	}
}

// On plain HTTP, browsers do not say that a request is for a frame. So the gate answers as to a page
// of its own, and the frame stays empty, because no login form may stand in a frame. To load the
// page around the frame again leads to the login.
func TestFrameOnPlainHTTP(t *testing.T) {
	a := serve(t, "", framePages)
	a.Serve(harness.Plenty, "")
	url := strings.Replace(a.URL, "localhost", browser.PlainHost, 1)
	b := browser.NewTab(t)
	b.Open(url + "/iframe?x=1")
	a.signIn(b)
	b.Until(inFrame(0, "#app") + "?.textContent === '/welcome'")
	a.signOut(b)
	b.Problems.Forget() // the browser complains of the page that must not stand in a frame
	b.Click("a")
	b.Until(`document.querySelector("iframe").contentDocument === null`)
	b.Do(chromedp.Reload())
	a.signIn(b)
	untilAddress(b, url+"/iframe?x=1")
}

// The script of the recipe for plain HTTP finds out that the session has ended.
func TestPageWatchesItsSession(t *testing.T) {
	script := strings.Replace(sample(t, "frames.md", "html", "setInterval"), "60_000", "200", 1)
	a := serve(t, "", map[string]string{"/desk": page(`<p id="app">Desk</p>` + script), "/logout": framePages["/logout"]})
	a.Serve(harness.Plenty, "")
	url := strings.Replace(a.URL, "localhost", browser.PlainHost, 1)
	b := browser.NewTab(t)
	b.Open(url + "/desk?x=1")
	a.signIn(b)
	untilAddress(b, url+"/desk?x=1")
	b.Problems.Forgive("/.websms/session: status 401") // two of these may be under way at once
	a.signOut(b)
	a.signIn(b)
	untilAddress(b, url+"/desk?x=1")
}

// The service worker of the recipe does not hide the login page.
func TestServiceWorkerPassesTheLogin(t *testing.T) {
	worker := sample(t, "cross-origin.md", "js", `addEventListener("fetch"`)
	a := serve(t, "", map[string]string{"/sw.js": worker, "/logout": framePages["/logout"]})
	b := browser.NewTab(t)
	b.Open(a.URL + "/app")
	a.signIn(b)
	b.UntilAt("/app")
	b.Run(`navigator.serviceWorker.register("/sw.js").then(() => navigator.serviceWorker.ready).then(() => { window.ready = true; })`)
	b.Until("window.ready")
	target := a.URL + "/app?next=https%3A%2F%2Fx.example#/orders/7"
	b.Open(target)
	b.Until("navigator.serviceWorker.controller && location.hash")
	a.signOut(b)
	b.Do(chromedp.Reload())
	a.signIn(b)
	untilAddress(b, target)
	b.Until(`navigator.serviceWorker.controller && document.querySelector("#app")?.textContent === "/app"`)
}

// sample returns the block of a recipe that holds some words.
func sample(t *testing.T, file, kind, words string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "recipes", file))
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(string(text), "```"+kind+"\n")[1:] {
		if block, _, _ = strings.Cut(block, "```"); strings.Contains(block, words) {
			return block
		}
	}
	t.Fatalf("docs/recipes/%s has no %s with %q", file, kind, words)
	return ""
}

// A deep link arrives byte for byte after the code, also one with a URL in its query, and with a
// fragment, which no server sees.
func TestDeepLinks(t *testing.T) {
	a := serve(t, "", nil)
	for _, target := range []string{
		"/orders#/7?tab=2&q=a//b",
		"/authorize?redirect_uri=https%3A%2F%2Fclient.example%2Fcb&state=a%2F%2Fb",
		"/authorize?client_id=x&redirect_uri=https://client.example/cb%3Fa%3Db&scope=openid+profile&state=%7B%22a%22%3A%22%2F%2F%22%7D#x",
		"/doc?p=C%3A%5CTemp%5Cx.txt&id=%2f%2fserver&q=Caf%E9&&;b#C:%5Ca",
		"/m%C4%81ori/?q=%25252F%252F&r=%00#%E2%80%A8",
	} {
		t.Run(target, func(t *testing.T) {
			b := browser.NewTab(t)
			b.Open(a.URL + target)
			number := harness.FreshNumber()
			b.UntilAt("/.websms/login")
			b.Problems.Expect(http.StatusUnprocessableEntity)
			b.Fill("#phone", "12") // a refusal on the way loses nothing
			b.Click("button.primary")
			b.UntilText("#problem", "Enter a mobile number")
			b.Do(chromedp.Reload())
			b.Until(`!document.querySelector("#problem")`)
			b.Fill("#phone", number)
			b.Click("button.primary")
			b.UntilAt("/.websms/verify")
			code := a.CodeFor(number, 1)
			b.Problems.Expect(http.StatusUnprocessableEntity)
			b.Fill("#code", harness.OtherCode(code))
			b.Click("main button.primary")
			b.UntilText("#problem", "not the code")
			b.Fill("#code", code)
			b.Click("main button.primary")
			untilAddress(b, a.URL+target)
			if uri, _, _ := strings.Cut(target, "#"); !a.saw(uri) {
				t.Errorf("the application did not see %q, but %q", uri, a.uris)
			}
		})
	}
}

// A popup of the application opens when the session has ended. After the login in the popup it can
// still speak to the page that opened it.
func TestPopupKeepsItsOpener(t *testing.T) {
	a := serve(t, "", map[string]string{
		"/opener": page(`<button>Choose</button><p id="heard"></p><script>
			addEventListener("message", (e) => { document.getElementById("heard").textContent = e.origin + " " + e.data; });
			document.querySelector("button").onclick = () => { window.child = open("/popup?x=1", "child", "width=500,height=700"); };
		</script>`),
		"/logout": framePages["/logout"],
		"/popup": page(`<p id="popup">Choose</p><button>Take it</button><script>
			document.querySelector("button").onclick = () => opener.postMessage("order 7", location.origin);
		</script>`),
	})
	b := browser.NewTab(t)
	b.Open(a.URL + "/opener")
	a.signIn(b)
	b.UntilAt("/opener")
	a.signOut(b)

	popup := b.Popup(func() { b.Click("button") })
	a.signIn(popup)
	popup.UntilAt("/popup")
	if !browser.Eval[bool](popup, "opener !== null && !opener.closed") {
		t.Error("the popup has lost its opener")
	}
	if !browser.Eval[bool](b, "!child.closed && child.location.pathname === '/popup'") {
		t.Error("the opener has lost its popup")
	}
	popup.Click("button")
	b.UntilText("#heard", a.URL+" order 7")
}

// A script whose session has ended gets JSON instead of the login page, and can read where to sign
// in. It needs no X-Requested-With for that, except in browsers on plain HTTP.
func TestScriptIsToldToSignIn(t *testing.T) {
	a := serve(t, "", framePages)
	a.Serve(harness.Plenty, "")
	const ask = `Promise.all([
		fetch("/api/orders"),
		fetch("/api/orders", { headers: { "X-Requested-With": "XMLHttpRequest", Accept: "text/html" } }),
		fetch("/api/orders", { method: "POST", body: "{}", headers: { "X-Requested-With": "XMLHttpRequest" } }),
		fetch("/api/orders", { method: "DELETE" }),
	]).then((answers) => Promise.all(answers.map(async (r) =>
		[r.status, r.redirected, r.headers.get("WWW-Authenticate"), r.headers.get("Content-Type"), (await r.json()).type].join(" ")))
	).then((lines) => { window.told = lines; })`
	for _, host := range []string{"localhost", browser.PlainHost} {
		b := browser.NewTab(t)
		url := strings.Replace(a.URL, "localhost", host, 1)
		b.Open(url + "/orders")
		a.signIn(b)
		b.UntilAt("/orders")
		a.signOut(b)
		for range 4 {
			b.Problems.Expect(http.StatusUnauthorized)
		}
		b.Run(ask)
		b.Until("window.told")
		for i, got := range browser.Eval[[]string](b, "told") {
			if want := `401 false WebSMS login="/.websms/login" application/problem+json unverified`; got != want {
				t.Errorf("%s, request %d: the script is told %q; want %q", host, i, got, want)
			}
		}
	}
}
