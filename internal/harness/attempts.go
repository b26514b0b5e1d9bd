package harness

import (
	"net/http"
	"testing"
)

// IsIn reports whether the gate lets a browser pass, and whether it renewed the
// browser's session.
func IsIn(b *Browser) (passed, renewed bool) {
	b.T.Helper()
	a := b.Get("/", API)
	return a.StatusCode == http.StatusOK, a.SetCookie("websms_session") != nil
}

// WantIn checks whether the gate lets a browser pass.
func WantIn(t *testing.T, what string, b *Browser, want bool) {
	t.Helper()
	if in, _ := IsIn(b); in != want {
		t.Errorf("%s: in is %t", what, in)
	}
}

// AskFor asks for a code to a fresh number and returns it.
func AskFor(w *World, b *Browser) string {
	w.T.Helper()
	number := FreshNumber()
	if a := b.Request(number); a.StatusCode != http.StatusAccepted {
		w.T.Fatalf("send: %s %s", a.Status, a.Text)
	}
	return w.CodeFor(number, 1)
}

// SendWrongs answers with so many wrong codes, asking for new ones as it needs to,
// each time in a new browser. It returns the last answer.
func SendWrongs(w *World, number string, count int) (last Answer) {
	w.T.Helper()
	for done := 0; done < count; {
		b := w.Browser()
		wrong := OtherCode(b.Ask(number))
		for range 5 {
			if last = b.AnswerWith(wrong); last.StatusCode != http.StatusUnprocessableEntity {
				w.T.Fatalf("wrong code %d: %s %s", done+1, last.Status, Excerpt(last.Text))
			}
			if done++; done == count {
				break
			}
		}
	}
	return last
}

// LockoutGate holds the options of a gate that locks a number for 15 minutes after
// seven wrong codes in a row, and for good after sixteen.
const LockoutGate = "code {\n ttl 10m\n}\nlimits {\n per_number 1000/1h\n cooldown 0s\n lockout 7 15m\n max_failures 16\n}"
