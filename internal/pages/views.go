package pages

import (
	"net/url"
	"strings"
	"time"
)

// Login is the page that asks for a mobile number. With a second factor the number is known
// already, and the page asks whether to text it.
type Login struct {
	ReturnTo  string   // path that the user asked for; posted back as rd
	Masked    string   // second factor: the masked number; there is no number field
	Example   string   // a number in local spelling, such as "021 234 567"
	Problem   *Problem // error of the last try
	Phone     string   // the number as the user typed it, which stays in its field
	SignedOut bool     // the user has just signed out
	Pending   bool     // the user has a code that still works, so the page leads back to its form
}

func (Login) view() string { return "login" }

func (v Login) title() string {
	if v.Problem != nil {
		return v.Problem.Title
	}
	return "Sign in"
}

func (v Login) model() any {
	return struct {
		Login
		Wrong      bool
		CookiesOff bool
	}{v, v.Masked == "" && v.Problem.at("invalid_number", "country_not_allowed"), v.Problem.at("cookies_off")}
}

// Verify is the page that asks for the code.
type Verify struct {
	Challenge    string // the name of the challenge, posted back
	Masked       string // the number that gets the code, such as "+64•••567"
	ReturnTo     string // path that the user asked for, kept by "Use another number"; may be empty
	CodeLength   int    // digits of the code
	AnyLength    bool   // the code may have any number of digits from 4 to 8, because WebSMS makes it
	AttemptsLeft int    // tries left; the page shows 1 and 2 only
	Status       string // queued, accepted, delivered or failed; any other value counts as queued

	// ExpiresAt is the end of the code's life. ResendAt is when the code may be sent again, which may be
	// after its end. Now is the server's clock when the page is written, because the browser's clock
	// may be wrong.
	ExpiresAt, ResendAt, Now time.Time

	Remember     time.Duration // how long to trust the device; 0 hides the offer
	Remembered   bool          // the user ticked the offer on the last try
	SecondFactor bool          // the number is fixed, so the page offers no other number
	Problem      *Problem      // error of the last try
	Sent         bool          // the code has just been sent again
}

func (Verify) view() string { return "verify" }

func (v Verify) title() string {
	if v.Problem != nil {
		return v.Problem.Title
	}
	return "Enter your code"
}

func (v Verify) model() any {
	m := verifyModel{
		Verify:     v,
		State:      v.Status,
		Deliveries: deliveries(v.Masked),
		Life:       v.ExpiresAt.Sub(v.Now),
		Wait:       max(0, v.ResendAt.Sub(v.Now)),
		Wrong:      v.Problem.at("wrong_code", "incomplete_code", "other_challenge"),
		Least:      v.CodeLength,
		Most:       v.CodeLength,
	}
	if v.AnyLength {
		m.Least, m.Most = 4, 8
	}
	m.Late = m.Life > 0 && m.Wait >= m.Life
	if m.Life <= 0 {
		m.State = "expired"
	} else if _, known := m.Deliveries[m.State]; !known {
		m.State = "queued"
	}
	return m
}

// verifyModel is a Verify with the values that the template needs besides.
type verifyModel struct {
	Verify
	State      string            // Status, or "expired"
	Deliveries map[string]string // text of each state
	Life, Wait time.Duration
	Wrong      bool // the code itself was wrong
	Late       bool // the code expires before it may be sent again
	Least      int  // the fewest digits that are a whole code
	Most       int  // the most digits that are a code and not two
}

// Recover is the page that asks for a recovery code. The company gives such a code to a user if no
// SMS arrives.
type Recover struct {
	ReturnTo string   // path that the user asked for; posted back as rd
	Problem  *Problem // error of the last try
}

func (Recover) view() string { return "recover" }

func (v Recover) title() string {
	if v.Problem != nil {
		return v.Problem.Title
	}
	return "Enter your recovery code"
}

func (v Recover) model() any { return v }

// Message is a page that reports an event and the next step.
type Message struct {
	Heading string
	Body    []string // paragraphs
	Steps   []string // steps to take in order, if there are several
	Action  *Action
	NewTab  bool // the action opens in a new tab, and this tab stays as it is
	Framed  bool // the page may stand in a frame of this origin, and the action opens in the whole window
}

// Action is the single next step on a [Message] page.
type Action struct {
	Label string
	Href  string // a path; without a leading slash it is relative to the prefix
}

// To returns the message with returnTo in the address of its action, if that leads to the number
// form. An address that has a return target already stays as it is.
func (v Message) To(returnTo string) Message {
	if v.Action != nil && v.Action.Href == "login" && returnTo != "/" {
		v.Action = &Action{Label: v.Action.Label, Href: "login?rd=" + url.QueryEscape(returnTo)}
	}
	return v
}

func (Message) view() string    { return "message" }
func (v Message) title() string { return v.Heading }
func (v Message) model() any    { return v }

// Problem is the error of the last try on a form. An error of a field is shown at the field. Any
// other error is shown above the form.
type Problem struct {
	Slug       string // such as "wrong_code"
	Title      string // a few words, for the browser's title bar
	Detail     string // the next step, in a sentence
	RetryAfter time.Duration
}

// at reports whether the problem has one of the slugs.
func (p *Problem) at(slugs ...string) bool {
	if p == nil {
		return false
	}
	for _, s := range slugs {
		if strings.EqualFold(p.Slug, s) {
			return true
		}
	}
	return false
}
