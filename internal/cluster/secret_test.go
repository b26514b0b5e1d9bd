package cluster_test

import (
	"bytes"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The data in a busy Redis shows no number and no code.
func TestDumpShowsNothing(t *testing.T) {
	t.Parallel()
	w := start(t, setup{gate: "limits {\n per_ip 1000000/1h\n lockout 3 15m\n}"})
	var used []string
	for range 3 {
		p := w.person() // verified, and signed out
		number, m := p.ask()
		used = append(used, number)
		w.report(0, m.ID)
		p.want(p.verify(otherCode(m.Code)), http.StatusUnprocessableEntity)
		p.want(p.verify(m.Code), http.StatusOK)
		p.want(p.logout(), http.StatusNoContent)

		number = freshNumber() // two browsers ask for a code to it, with other spellings
		used = append(used, number)
		for _, spelling := range []string{"00" + number, "0" + number[2:]} {
			waiting := w.person()
			a := waiting.do("/.websms/send", map[string][]string{"phone": {spelling}}, asProgram)
			waiting.want(a, http.StatusAccepted)
		}
		w.code(number, 2)

		locked := w.person()
		number, m = locked.ask()
		used = append(used, number)
		code := m.Code
		for range 3 {
			locked.verify(otherCode(code))
		}
		locked.want(locked.verify(code), http.StatusTooManyRequests)
	}
	// An operator revokes a person by number.
	body := strings.NewReader(`{"number":"+` + used[0] + `"}`)
	res, err := http.Post("http://"+w.nodes[0].admin+"/websms/revoke", "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusNoContent {
		t.Fatalf("revoking a number: %s", res.Status)
	}
	dump := w.redis.Dump()
	if got := bytes.Count(dump, []byte("websms:")); got < 20 {
		t.Fatalf("the dump has %d keys of ours, which is not busy", got)
	}
	for _, m := range w.sim.Messages() { // proves that the search finds a number
		if find([]byte("to:+"+m.To+":"), m.To) == nil || find([]byte("\x06"+m.Code+"\xff"), m.Code) == nil {
			t.Fatal("what is in a dump is not found")
		}
	}
	show := func(what, text string) {
		if at := find(dump, text); at != nil {
			t.Errorf("the dump shows %s: %q", what, dump[max(0, at[0]-60):min(len(dump), at[1]+60)])
		}
	}
	for _, number := range used {
		for _, spelling := range []string{"+" + number, number, "00" + number, "0" + number[2:], number[2:]} {
			show("a number", spelling)
		}
	}
	messages := w.sim.Messages()
	if len(messages) < 12 {
		t.Fatalf("%d messages were sent, want 12 and more", len(messages))
	}
	for _, m := range messages {
		show("a code", m.Code)
	}
	show("the client secret", "csk_demo")
	show("the bearer", webhookSecret)
}

// find returns the surroundings of text in data, or nil. It ignores matches within a longer run of
// digits, because those are times.
func find(data []byte, text string) []int {
	return regexp.MustCompile(`(?:^|[^0-9])` + regexp.QuoteMeta(text) + `(?:[^0-9]|$)`).FindIndex(data)
}

// The nodes share their webhook deliveries. An event that comes twice, to one node or to both, is
// handled once, and each node shows the result.
func TestReportsAtBothNodes(t *testing.T) {
	t.Parallel()
	w := start(t, setup{})
	p := w.person().at(0)
	_, m := p.ask()
	w.report(1, m.ID)
	began := time.Now()
	eventually(t, "the report is shown", func() bool { return p.get("/.websms/status").field("status") == "delivered" })
	if took := time.Since(began); took > time.Second {
		t.Errorf("the report is shown after %v, want within a second", took)
	}
	w.report(0, m.ID)
	w.report(1, m.ID)
	handled := 0
	for _, n := range w.nodes {
		handled += n.logged(`"msg":"delivery report"`)
	}
	if handled != 1 {
		t.Errorf("one report that comes three times is handled %d times", handled)
	}
}

// A logout at one node is in force at the other node within a second.
func TestLogoutHoldsEverywhere(t *testing.T) {
	t.Parallel()
	w := start(t, setup{})
	for i := range 6 {
		p := w.person()
		p.login()
		copied := p.twin().at(1 - i%2)
		copied.want(copied.get("/"), http.StatusOK)
		p.want(p.at(i%2).logout(), http.StatusNoContent)
		began := time.Now()
		eventually(t, "the other node knows", func() bool { return copied.get("/").StatusCode == http.StatusUnauthorized })
		if took := time.Since(began); took > time.Second {
			t.Errorf("the other node lets a session in for %v after it was ended", took)
		}
	}
}
