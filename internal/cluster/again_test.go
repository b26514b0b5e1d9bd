package cluster_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-websms/websms/websmstest"
)

// challengeOf matches the name of a challenge in the form of a page.
var challengeOf = regexp.MustCompile(`name="challenge" value="([-_0-9A-Za-z]+)"`)

// form returns the name by which the code page knows the challenge.
func (p *person) form() string {
	p.t.Helper()
	a := p.do("/.websms/verify", nil, asBrowser)
	found := challengeOf.FindStringSubmatch(a.body)
	if found == nil {
		p.t.Fatalf("the code page names no challenge: %s %s", a.Status, a.body)
	}
	return found[1]
}

// submit posts the code form as a page does.
func (p *person) submit(code, challenge string) answer {
	p.t.Helper()
	return p.do("/.websms/verify", url.Values{"code": {code}, "challenge": {challenge}, "rd": {"/a"}}, asBrowser)
}

// logged counts how often both nodes have logged a text so far.
func (w *world) logged(words string) (n int) {
	for i := range w.nodes {
		n += w.nodes[i].logged(words)
	}
	return n
}

// messagesTo counts the messages to a number, after a code of another challenge has come from each
// node. A message too many would arrive before them.
func (w *world) messagesTo(number string) (n int) {
	w.t.Helper()
	for i := range w.nodes {
		witness := freshNumber()
		p := w.person().at(i)
		p.want(p.send(witness), http.StatusAccepted)
		w.code(witness, 1)
	}
	for _, m := range w.sim.Messages() {
		if m.To == number {
			n++
		}
	}
	return n
}

const verifiedLine = `"event":"verified"`

// A code form that is sent twice is answered by both nodes with the same session, and one of them
// logs a verification.
func TestDoubleSubmitAtTwoNodes(t *testing.T) {
	t.Parallel()
	w := start(t, setup{})
	sessionOf := func(p *person, a answer) string {
		t.Helper()
		if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/a" {
			t.Fatalf("a press: %s to %q: %s", a.Status, a.Header.Get("Location"), a.body)
		}
		return p.get("/.websms/session").body
	}
	for first := range w.nodes {
		before := w.logged(verifiedLine)
		p := w.person()
		_, m := p.ask()
		challenge := p.form()
		one, two, program := p.twin().at(first), p.twin().at(1-first), p.twin().at(1-first)
		want := sessionOf(one, one.submit(m.Code, challenge))
		got := sessionOf(two, two.submit(m.Code[:3]+" "+m.Code[3:], challenge))
		if got != want || !strings.Contains(got, `"verified":true`) {
			t.Errorf("the second press has the session %s, want %s", got, want)
		}
		for what, each := range map[string]*person{"the first session": one, "the second session": two} {
			for i := range w.nodes {
				if a := each.at(i).get("/"); a.StatusCode != http.StatusOK {
					t.Errorf("%s at node %d: %s", what, i, a.Status)
				}
			}
		}
		program.want(program.verify(m.Code), http.StatusConflict) // a program names no challenge
		stranger := p.twin().at(1 - first)
		stranger.want(stranger.submit(otherCode(m.Code), challenge), http.StatusConflict)
		if n := w.logged(verifiedLine) - before; n != 1 {
			t.Errorf("%d verifications are logged, want 1", n)
		}
	}

	// Many presses at once, at both nodes.
	before := w.logged(verifiedLine)
	p := w.person()
	_, m := p.ask()
	challenge := p.form()
	var all sync.WaitGroup
	sessions := make([]string, 20)
	for i := range sessions {
		each := p.twin().at(i % 2)
		all.Go(func() {
			if a := each.submit(m.Code, challenge); a.StatusCode != http.StatusSeeOther {
				t.Errorf("press %d: %s", i, a.Status)
			}
			sessions[i] = each.get("/.websms/session").body
		})
	}
	all.Wait()
	for i, s := range sessions {
		if s != sessions[0] || !strings.Contains(s, `"verified":true`) {
			t.Errorf("press %d has the session %s, want %s", i, s, sessions[0])
		}
	}
	if n := w.logged(verifiedLine) - before; n != 1 {
		t.Errorf("%d verifications are logged, want 1", n)
	}
}

// A person who signs out at one node is not let in by a second press at the other.
func TestDoubleSubmitAfterSigningOut(t *testing.T) {
	t.Parallel()
	w := start(t, setup{})
	p := w.person()
	_, m := p.ask()
	challenge := p.form()
	again := p.twin().at(1)
	p = p.at(0)
	p.want(p.submit(m.Code, challenge), http.StatusSeeOther)
	copied := p.twin().at(1)
	p.want(p.logout(), http.StatusNoContent)
	eventually(t, "the other node knows", func() bool { return copied.get("/").StatusCode == http.StatusUnauthorized })
	again.want(again.submit(m.Code, challenge), http.StatusConflict)
	again.want(again.get("/"), http.StatusUnauthorized)
}

// A node that did not send a message gets the report that it was not delivered. The same code is sent
// once more, once over both nodes, whichever node gets the report and however often.
func TestSecondTryAtTheOtherNode(t *testing.T) {
	t.Parallel()
	w := start(t, setup{})
	for node := range w.nodes {
		for _, status := range []int{2, 16} {
			p, number := w.person(), freshNumber()
			p.want(p.at(node).send(number), http.StatusAccepted)
			first := w.code(number, 1)
			w.settled(first)
			w.fail(1-node, first.ID, status)
			second := w.code(number, 2)
			if second.Code != first.Code || second.ID == first.ID {
				t.Error("the second message has another code, or is the first one")
			}
			w.settled(second)
			if got := p.at(node).get("/.websms/status").field("status"); got != "failed" {
				t.Errorf("while the second message is on its way, the status is %v", got)
			}
			for i := range w.nodes {
				w.fail(i, first.ID, status)
				w.fail(i, second.ID, status)
			}
			if n := w.messagesTo(number); n != 2 {
				t.Errorf("%d messages, want 2", n)
			}
			p.want(p.at(1-node).verify(first.Code), http.StatusOK)
		}
	}

	// The same report reaches both nodes at once, many times.
	p := w.person()
	number, m := p.ask()
	w.settled(m)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() { w.fail(i%2, m.ID, 2) })
	}
	all.Wait()
	w.code(number, 2)
	if n := w.messagesTo(number); n != 2 {
		t.Errorf("reports at once: %d messages, want 2", n)
	}
	p.want(p.verify(m.Code), http.StatusOK)
}

// settled waits until a node has recorded that WebSMS took a message.
func (w *world) settled(m websmstest.Message) {
	w.t.Helper()
	eventually(w.t, "the sending is settled", func() bool { return w.logged(`"message_id":"`+m.ID+`"`) != 0 })
}

// fail posts a report with this status code to the webhook of one node. It may be called from any
// goroutine.
func (w *world) fail(node int, messageID string, status int) {
	w.t.Helper()
	body := fmt.Sprintf(`{"type":"dlr","messageId":%q,"statusCode":%d}`, messageID, status)
	req, err := http.NewRequest(http.MethodPost, "http://"+w.nodes[node].addr+"/webhook", strings.NewReader(body))
	if err != nil {
		w.t.Error(err)
		return
	}
	req.Header.Set("Authorization", "Bearer "+webhookSecret)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Error(err)
		return
	}
	res.Body.Close()
	// One event in work at both nodes at once is told to come again.
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusServiceUnavailable {
		w.t.Errorf("the webhook answers %s", res.Status)
	}
}

// A person asks again at the other node. Within the cooldown nothing is sent, and after it the same
// code. Attempts stay used.
func TestAskAgainAtTheOtherNode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cooldown string
		sent     int
	}{{"10m", 1}, {"0s", 3}} {
		w := start(t, setup{gate: "limits {\n per_number 100/1h\n per_ip 1000000/1h\n cooldown " + c.cooldown + "\n}"})
		p := w.person()
		number := freshNumber()
		p.want(p.at(0).send(number), http.StatusAccepted)
		m := w.code(number, 1)
		challenge := p.form()
		p.want(p.at(0).verify(otherCode(m.Code)), http.StatusUnprocessableEntity)
		p.want(p.at(1).send(number), http.StatusAccepted)
		a := p.at(1).do("/.websms/send", url.Values{"phone": {"0" + number[2:]}}, asBrowser)
		if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/.websms/verify" {
			t.Errorf("cooldown %s: a page is led to %q: %s", c.cooldown, a.Header.Get("Location"), a.Status)
		}
		if again := w.code(number, c.sent); again.Code != m.Code {
			t.Errorf("cooldown %s: another code was sent", c.cooldown)
		}
		if n := w.messagesTo(number); n != c.sent {
			t.Errorf("cooldown %s: %d messages, want %d", c.cooldown, n, c.sent)
		}
		for i := range w.nodes {
			if left := p.at(i).get("/.websms/verify").field("attempts_left"); left != float64(4) {
				t.Errorf("cooldown %s: node %d has %v attempts left, want 4", c.cooldown, i, left)
			}
			if p.at(i).form() != challenge {
				t.Errorf("cooldown %s: node %d has another challenge", c.cooldown, i)
			}
		}
		p.want(p.at(1).submit(m.Code, challenge), http.StatusSeeOther)
	}
}

// A text that cannot be the code costs no attempt at either node. Nor does the code form of an older
// challenge.
func TestIncompleteCodeAtEitherNode(t *testing.T) {
	t.Parallel()
	w := start(t, setup{gate: "code {\n attempts 2\n}\n" + roomy})
	p := w.person()
	p.ask()
	older := p.form()
	_, m := p.ask()
	for range 3 {
		for i := range w.nodes {
			for _, typed := range []string{"", m.Code[1:], m.Code + "0", "abcdef", strings.Repeat(m.Code, 3)} {
				a := p.at(i).verify(typed)
				p.want(a, http.StatusUnprocessableEntity)
				if a.field("type") != "incomplete_code" || a.field("attempts_left") != float64(2) {
					t.Errorf("an incomplete code at node %d: %s", i, a.body)
				}
			}
			p.want(p.at(i).submit(m.Code, older), http.StatusConflict)
		}
	}
	p.want(p.at(0).verify(otherCode(m.Code)), http.StatusUnprocessableEntity)
	if left := p.at(1).get("/.websms/verify").field("attempts_left"); left != float64(1) {
		t.Errorf("after a wrong code at the other node: %v attempts left, want 1", left)
	}
	arabic := strings.Map(func(digit rune) rune { return '٠' + digit - '0' }, m.Code)
	p.want(p.at(1).verify(arabic+" "+arabic), http.StatusOK)
}
