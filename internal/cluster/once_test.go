package cluster_test

import (
	"net/http"
	"strconv"
	"sync"
	"testing"
)

// Two hundred right answers reach two nodes at the same time. The gate accepts one.
func TestOneSuccessOfManyAtOnce(t *testing.T) {
	t.Parallel()
	w := start(t, setup{gate: "code {\n attempts 10\n}\n" + roomy})
	p := w.person()
	_, m := p.ask()
	code := m.Code
	var statuses sync.Map
	right := make(chan struct{})
	var all sync.WaitGroup
	for i := range 200 {
		each := p.twin().at(i % 2)
		all.Go(func() {
			<-right
			a := each.verify(code)
			statuses.Store(i, a.StatusCode)
		})
	}
	close(right)
	all.Wait()
	count := make(map[int]int)
	statuses.Range(func(_, status any) bool {
		count[status.(int)]++
		return true
	})
	t.Logf("answers by status: %v", count)
	if count[http.StatusOK] != 1 {
		t.Errorf("%d of 200 right answers are taken, want 1", count[http.StatusOK])
	}
	if gone := count[http.StatusConflict]; gone != 199 {
		t.Errorf("%d answers say that there is no challenge, want 199", gone)
	}
}

// A limit of three codes allows three, whichever node counts.
func TestOneLimitOfTwoNodes(t *testing.T) {
	t.Parallel()
	w := start(t, setup{gate: "limits {\n per_number 3/10m\n per_ip 1000000/1h\n}"})
	number := freshNumber()
	answers := make([]answer, 6)
	var all sync.WaitGroup
	for i := range answers {
		p := w.person().at(i % 2)
		all.Go(func() { answers[i] = p.send(number) })
	}
	all.Wait()
	count := make(map[int]int)
	for _, a := range answers {
		count[a.StatusCode]++
		if a.StatusCode != http.StatusTooManyRequests {
			continue
		}
		if after, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || after < 590 || after > 600 {
			t.Errorf("Retry-After is %q, want almost ten minutes", a.Header.Get("Retry-After"))
		}
	}
	if count[http.StatusAccepted] != 3 || count[http.StatusTooManyRequests] != 3 {
		t.Errorf("six askers are told %v, want 202 and 429 three times each", count)
	}
	w.code(number, 3)
	// A code of another challenge arrives after those, so no other message follows.
	for i := range w.nodes {
		other := freshNumber()
		p := w.person().at(i)
		p.want(p.send(other), http.StatusAccepted)
		w.code(other, 1)
	}
	sent := 0
	for _, m := range w.sim.Messages() {
		if m.To == number {
			sent++
		}
	}
	if sent != 3 {
		t.Errorf("%d codes were sent to the number, want 3", sent)
	}
}
