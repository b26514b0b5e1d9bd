package cluster_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-websms/websms/websmstest"
)

// person is a program with cookies. It prefers JSON and follows no redirect.
type person struct {
	*world
	client *http.Client
	node   int // the node that gets its requests, or -1 for either
}

func (w *world) person() *person {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return &person{world: w, node: -1, client: &http.Client{
		Jar: jar, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// at returns the same person, but all requests go to one node.
func (p *person) at(node int) *person {
	there := *p
	there.node = node
	return &there
}

// twin returns another browser with a copy of the cookies.
func (p *person) twin() *person {
	p.t.Helper()
	twin := p.world.person()
	u := mustParse(p.t, p.url)
	twin.client.Jar.SetCookies(u, p.client.Jar.Cookies(u))
	twin.node = p.node
	return twin
}

// answer is a response, with its body read.
type answer struct {
	*http.Response
	body string
	took time.Duration
}

// field returns a field of the answer's JSON body.
func (a answer) field(name string) any {
	var fields map[string]any
	if json.Unmarshal([]byte(a.body), &fields) != nil {
		return nil
	}
	return fields[name]
}

// do sends a request. If form is not nil, it posts the form. If there is no answer, the status is 0
// and the test goes on, because do may be called from any goroutine.
func (p *person) do(path string, form url.Values, accept string) answer {
	p.t.Helper()
	method, body := http.MethodGet, io.Reader(nil)
	if form != nil {
		method, body = http.MethodPost, strings.NewReader(form.Encode())
	}
	none := answer{Response: &http.Response{Status: "no answer", Header: http.Header{}}}
	req, err := http.NewRequest(method, p.url+path, body)
	if err != nil {
		p.t.Error(err)
		return none
	}
	req.Header.Set("Accept", accept)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if p.node >= 0 {
		req.Header.Set(pinHeader, strconv.Itoa(p.node))
	}
	began := time.Now()
	res, err := p.client.Do(req)
	if err != nil {
		p.t.Errorf("%s %s: %v", method, path, err)
		return none
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Errorf("%s %s: reading the body: %v", method, path, err)
		return none
	}
	return answer{res, string(text), time.Since(began)}
}

const (
	asProgram = "application/json"
	asBrowser = "text/html,application/xhtml+xml,*/*;q=0.8"
)

func (p *person) get(path string) answer { p.t.Helper(); return p.do(path, nil, asProgram) }

func (p *person) send(number string) answer {
	p.t.Helper()
	return p.do("/.websms/send", url.Values{"phone": {"+" + number}}, asProgram)
}

func (p *person) verify(code string) answer {
	p.t.Helper()
	return p.do("/.websms/verify", url.Values{"code": {code}}, asProgram)
}

func (p *person) logout() answer {
	p.t.Helper()
	return p.do("/.websms/logout", url.Values{}, asProgram)
}

// ask asks for a code for a new number. It returns the number and the message.
func (p *person) ask() (number string, m websmstest.Message) {
	p.t.Helper()
	number = freshNumber()
	p.want(p.send(number), http.StatusAccepted)
	return number, p.code(number, 1)
}

// login signs in with a new number and returns the number.
func (p *person) login() string {
	p.t.Helper()
	number, m := p.ask()
	p.want(p.verify(m.Code), http.StatusOK)
	return number
}

// want checks the status of an answer.
func (p *person) want(a answer, status int) {
	p.t.Helper()
	if a.StatusCode != status {
		p.t.Fatalf("%s %s; want %d", a.Status, a.body, status)
	}
}

// wantUnavailable checks that an answer is a 503 with Retry-After, that it comes in time, and that
// it shows nothing of the systems behind the gate.
func (p *person) wantUnavailable(a answer) {
	p.t.Helper()
	p.want(a, http.StatusServiceUnavailable)
	if after, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || after < 1 || after > 60 {
		p.t.Errorf("Retry-After is %q, want some seconds", a.Header.Get("Retry-After"))
	}
	// A quarter of a second is the timeout for Redis. The rest is for a busy machine.
	if a.took > 2*time.Second {
		p.t.Errorf("the refusal takes %v", a.took)
	}
	for _, inside := range []string{"redis", "Redis", "127.0.0.1:" + portOf(p.redis.Addr()), "goroutine", ".go:", "dial tcp", "panic"} {
		if strings.Contains(a.body, inside) {
			p.t.Errorf("the refusal says %q: %s", inside, a.body)
		}
	}
}
