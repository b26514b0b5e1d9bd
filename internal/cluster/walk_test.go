package cluster_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/browser"
)

// These are the headings of the pages for a Redis that is down, and for a lost challenge.
const (
	unavailableHeading = "We cannot do this right now"
	uncheckedHeading   = "We cannot check your code right now"
	noChallengeHeading = "You need a new code"
)

// A visitor is a person at a browser, with a number of their own.
type visitor struct {
	*browser.Tab
	w      *world
	number string
}

func (w *world) visitor() *visitor {
	w.t.Helper()
	return &visitor{browser.NewTab(w.t), w, freshNumber()}
}

// ask goes from the app to the number form, does the given steps there, and sends the form.
func (v *visitor) ask(path string, before func()) {
	v.T.Helper()
	v.Open(v.w.url + path)
	v.UntilAt("/.websms/login")
	before()
	v.enterNumber()
}

func (v *visitor) enterNumber() {
	v.T.Helper()
	v.Fill("#phone", "0"+v.number[2:])
	v.Click("main button.primary")
}

func (v *visitor) enterCode(code string) {
	v.T.Helper()
	v.Fill("#code", code)
	v.Click("main button.primary")
}

// inApp waits until the app shows the name of the signed-in user.
func (v *visitor) inApp(path string) {
	v.T.Helper()
	v.UntilAt(path)
	v.UntilText("#user", "Signed in as +"+v.number)
}

// program returns a program with a copy of the browser's cookies.
func (v *visitor) program() *person {
	v.T.Helper()
	p := v.w.person()
	var cookies []*http.Cookie
	for _, c := range v.Cookies() {
		cookies = append(cookies, &http.Cookie{Name: c.Name, Value: c.Value, Path: "/"})
	}
	p.client.Jar.SetCookies(mustParse(v.w.t, v.w.url), cookies)
	return p
}

// signOut signs out, and checks that no node accepts the session any more.
func (v *visitor) signOut() {
	v.T.Helper()
	copied := v.program()
	v.Click("#out")
	v.UntilText(".notice", "You are signed out.")
	for i := range v.w.nodes {
		eventually(v.w.t, "the session is over at both nodes", func() bool {
			status := copied.at(i).get("/").StatusCode
			return status == http.StatusUnauthorized || status == http.StatusBadGateway // a node that is down
		})
	}
}

// A user signs in by hand, and each request goes to the other node.
func TestWalk(t *testing.T) {
	t.Parallel()
	w := start(t, setup{})
	v := w.visitor()
	v.ask("/timesheet", func() {})
	v.UntilAt("/.websms/verify")
	m := w.code(v.number, 1)
	browser.Eval[bool](v.Tab, `window.unreloaded = true`)
	eventually(t, "the page follows its code", func() bool { return w.streamed.Load() != 0 })
	v.UntilText("#delivery", "The code is on its way.")
	w.report(1-(int(w.streamed.Load())-1), m.ID) // to the node that does not serve the page's stream
	began := time.Now()
	v.UntilText("#delivery", "The code was delivered to ")
	t.Logf("the page shows a report to the other node after %v", time.Since(began))
	if !browser.Eval[bool](v.Tab, `window.unreloaded === true`) {
		t.Error("the page was loaded again")
	}
	v.Problems.Expect(http.StatusUnprocessableEntity)
	v.enterCode(otherCode(m.Code))
	v.UntilText("#problem", "not the code")
	v.enterCode(m.Code)
	v.inApp("/timesheet")
	v.Open(w.url + "/another")
	v.inApp("/another")

	copied := v.program().at(1)
	copied.want(copied.get("/"), http.StatusOK)
	w.pin(0)
	v.Click("#out")
	v.UntilText(".notice", "You are signed out.")
	began = time.Now()
	eventually(t, "the other node knows", func() bool { return copied.get("/").StatusCode == http.StatusUnauthorized })
	if took := time.Since(began); took > time.Second {
		t.Errorf("a logout at one node holds at the other after %v", took)
	}
	w.unpin()
	for i := range w.served {
		if w.served[i].Load() == 0 {
			t.Errorf("node %d got no request", i)
		}
	}
}

// A node is killed at each step, and the user goes on at the other node. A node that is back serves
// again.
func TestNodesDie(t *testing.T) {
	t.Parallel()
	for first, name := range []string{"one first", "the other first"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, setup{})
			v := w.visitor()
			v.Problems.Forget() // the event stream ends with its node
			down := first
			kill := func() { w.nodes[down].kill() }
			restore := func() {
				w.nodes[down].start()
				down = 1 - down
			}
			v.ask("/timesheet", kill)
			v.UntilAt("/.websms/verify")
			m := w.code(v.number, 1)
			restore()

			eventually(t, "the page follows its code", func() bool { return w.streamed.Load() != 0 })
			kill()
			w.report(1-down, m.ID)
			v.UntilText("#delivery", "The code was delivered to ")
			v.enterCode(otherCode(m.Code))
			v.UntilText("#problem", "not the code")
			restore()

			kill()
			v.enterCode(m.Code)
			v.inApp("/timesheet")
			restore()

			kill()
			v.Open(w.url + "/another")
			v.inApp("/another")
			v.signOut()
			restore()
			v.Open(w.url + "/another")
			v.UntilAt("/.websms/login")
		})
	}
}

// Redis is killed at each step and comes back with its data. Meanwhile a page says so, and
// afterwards the user goes on.
func TestRedisDies(t *testing.T) {
	t.Parallel()
	w := start(t, setup{redis: []string{"--appendonly", "yes", "--appendfsync", "always"}})
	v := w.visitor()
	v.Problems.Forget()
	restore := func() {
		w.redis.Restart()
		w.awaitRedis()
	}
	unavailable := func(heading string) {
		t.Helper()
		v.UntilText("h1", heading)
		for _, inside := range []string{"redis", "127.0.0.1", "goroutine", "dial"} {
			if words := strings.ToLower(v.Text("body")); strings.Contains(words, inside) {
				t.Errorf("the page says %q: %s", inside, words)
			}
		}
	}
	v.ask("/timesheet", w.redis.Stop)
	unavailable(unavailableHeading)
	restore()
	v.Click(".action a")
	v.UntilAt("/.websms/login")
	v.enterNumber()
	v.UntilAt("/.websms/verify")
	m := w.code(v.number, 1)

	for _, code := range []string{otherCode(m.Code), m.Code} {
		w.redis.Stop()
		v.enterCode(code)
		unavailable(uncheckedHeading)
		restore()
		v.Click(".action a")
		v.UntilText("h1", "Enter your code")
	}
	v.enterCode(m.Code)
	v.inApp("/timesheet")

	w.redis.Stop()
	v.Open(w.url + "/another")
	v.inApp("/another")
	restore()
	v.signOut()
}

// Redis comes back without data. The pending code is gone, and a page says so. A new code works. A
// signed-in user stays signed in.
func TestRedisLosesEverything(t *testing.T) {
	t.Parallel()
	w := start(t, setup{})
	v := w.visitor()
	v.Problems.Forget()
	lose := func() {
		w.redis.Restart()
		w.awaitRedis()
	}
	v.ask("/timesheet", lose)
	v.UntilAt("/.websms/verify")
	lost := w.code(v.number, 1)
	lose()
	v.enterCode(lost.Code)
	v.UntilText("h1", noChallengeHeading)
	v.Click(".action a")
	v.UntilAt("/.websms/login")
	v.enterNumber()
	v.UntilAt("/.websms/verify")
	v.enterCode(w.code(v.number, 2).Code)
	v.inApp("/timesheet")
	lose()
	v.Open(w.url + "/another")
	v.inApp("/another")
	v.signOut()
}
