package pages

import (
	"strings"
	"testing"
	"time"
)

func TestMessagesSayWhatToDo(t *testing.T) {
	messages := map[string]Message{
		"expired": Expired(), "attempts": TooManyAttempts(), "challenge": NoChallenge(), "limited": RateLimited(time.Minute),
		"unavailable": Unavailable(time.Minute), "code unavailable": CodeUnavailable(time.Minute),
		"origin": CrossOrigin(), "early": TooEarly(), "found": NotFound(), "method": MethodNotAllowed(),
		"large": TooLarge(), "bad": BadRequest(), "form": FormNotSent("/login"),
		"foreign form": FormOfAnotherSite("Acme", "/login"), "frame": SignInAbove("/login"),
		"number": NoNumber("Acme"), "user": NoUser("Acme"),
	}
	headings := make(map[string]string)
	for name, m := range messages {
		if m.Heading == "" || len(m.Body) == 0 || m.Action == nil || m.Action.Label == "" || m.Action.Href == "" {
			t.Errorf("%s leaves the reader alone: %+v", name, m)
		}
		if other := headings[m.Heading]; other != "" {
			t.Errorf("%s and %s have the same heading", name, other)
		}
		headings[m.Heading] = name
		for _, sentence := range append(m.Body, m.Steps...) {
			if !strings.HasSuffix(sentence, ".") {
				t.Errorf("%s: %q is no sentence", name, sentence)
			}
		}
	}
}

// The page of a locked number says how long to wait or whose help to ask for.
func TestLockedOut(t *testing.T) {
	for after, want := range map[time.Duration]string{15 * time.Minute: "Try again in 15 minutes.", 0: "Ask Acme to unlock your number."} {
		m := LockedOut(after, "Acme")
		if got := m.Body[len(m.Body)-1]; got != want || m.Action == nil {
			t.Errorf("after %s: %q, action %v; want %q", after, got, m.Action, want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for after, want := range map[time.Duration]string{
		0:                "Try again in a few minutes.",
		-time.Second:     "Try again in a few minutes.",
		30 * time.Second: "Try again in 30 seconds.",
		10 * time.Minute: "Try again in 10 minutes.",
	} {
		for _, m := range []Message{RateLimited(after), Unavailable(after), CodeUnavailable(after)} {
			if got := m.Body[len(m.Body)-1]; got != want {
				t.Errorf("%s after %v: %q, want %q", m.Heading, after, got, want)
			}
		}
	}
}

func TestFieldProblems(t *testing.T) {
	for slug, p := range map[string]*Problem{
		"invalid_number": InvalidNumber("021 234 567"), "country_not_allowed": CountryNotAllowed(), "wrong_code": WrongCode(3),
	} {
		if p.Slug != slug || p.Title == "" || p.Detail == "" {
			t.Errorf("%s: %+v", slug, p)
		}
	}
	if !strings.Contains(InvalidNumber("021 234 567").Detail, "021 234 567") {
		t.Error("no example of a number")
	}
	for left, want := range map[int]string{3: "You have 3 tries left.", 1: "You have one try left.", 0: "You have no tries left."} {
		if got := WrongCode(left).Detail; !strings.HasSuffix(got, want) {
			t.Errorf("%d tries: %q", left, got)
		}
	}
}

// A caller may change the action of its page. Other pages must not change with it.
func TestMessagesShareNothing(t *testing.T) {
	m := Expired()
	m.Action.Href = "login?rd=%2Fmine"
	m.Body[0] = "changed"
	if next := Expired(); next.Action.Href != "login" || next.Body[0] == "changed" {
		t.Errorf("the next page has %+v and %q", *next.Action, next.Body)
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:                      "0 seconds",
		0:                                 "0 seconds",
		time.Millisecond:                  "1 second",
		time.Second:                       "1 second",
		29*time.Second + time.Millisecond: "30 seconds",
		90 * time.Second:                  "90 seconds",
		91 * time.Second:                  "2 minutes",
		5 * time.Minute:                   "5 minutes",
		90 * time.Minute:                  "90 minutes",
		12 * time.Hour:                    "12 hours",
		24 * time.Hour:                    "24 hours",
		48 * time.Hour:                    "2 days",
		720 * time.Hour:                   "30 days",
		time.Duration(1<<63 - 1):          "106752 days",
		time.Duration(-1 << 63):           "0 seconds",
	} {
		if got := duration(d); got != want {
			t.Errorf("duration(%v) = %q, want %q", d, got, want)
		}
	}
}
