package pages

import (
	"strings"
	"time"
)

// Login is the page that asks for a mobile number or, as a second factor, for
// leave to text the number that is known already.
type Login struct {
	ReturnTo  string   // where the user wanted to go; posted back as rd
	Masked    string   // second factor: the masked number; there is no number field
	Example   string   // a number as people here write it, such as "021 234 567"
	Problem   *Problem // what was wrong with the last try
	SignedOut bool     // the user has just signed out
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
		Wrong bool
	}{v, v.Masked == "" && v.Problem.at("invalid_number", "country_not_allowed")}
}

// Verify is the page that asks for the code.
type Verify struct {
	Masked       string // the number the code goes to, such as "+64•••567"
	ReturnTo     string // where the user wanted to go, kept by "Use another number"; may be empty
	CodeLength   int    // digits of the code
	AttemptsLeft int    // tries left; told when it is 1 or 2
	Status       string // queued, accepted, delivered or failed; another is taken for queued

	// When the code stops working, when it may be sent again, and the server's
	// clock as the page is written. The browser's clock is not trusted.
	ExpiresAt, ResendAt, Now time.Time

	Remember     time.Duration // offers to trust the device for so long; 0 does not
	Remembered   bool          // the offer was taken on the last try
	SecondFactor bool          // the number is given: there is no other to use
	Problem      *Problem      // what was wrong with the last try
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
		Wrong:      v.Problem.at("wrong_code"),
		MaxLength:  2 * v.CodeLength,
	}
	if m.Life <= 0 {
		m.State = "expired"
	} else if _, known := m.Deliveries[m.State]; !known {
		m.State = "queued"
	}
	return m
}

// verifyModel is a Verify with what follows from it.
type verifyModel struct {
	Verify
	State      string            // Status, or "expired"
	Deliveries map[string]string // what to say in each state
	Life, Wait time.Duration
	Wrong      bool // the problem is the code itself
	MaxLength  int  // room for a code pasted with a space between any two digits
}

// Recover is the page that asks for a recovery code: what the company whose
// pages these are has given to somebody whom no SMS reaches.
type Recover struct {
	ReturnTo string   // where the user wanted to go; posted back as rd
	Problem  *Problem // what was wrong with the last try
}

func (Recover) view() string { return "recover" }

func (v Recover) title() string {
	if v.Problem != nil {
		return v.Problem.Title
	}
	return "Enter your recovery code"
}

func (v Recover) model() any { return v }

// Message is a page that says what happened and what to do next.
type Message struct {
	Heading string
	Body    []string // paragraphs
	Steps   []string // what to do in order, when it takes more than one thing
	Action  *Action
	NewTab  bool // the action opens in a new tab, and this one stays as it is
}

// Action is the one thing to do on a [Message] page.
type Action struct {
	Label string
	Href  string // a path; without a leading slash it stands below the prefix
}

func (Message) view() string    { return "message" }
func (v Message) title() string { return v.Heading }
func (v Message) model() any    { return v }

// Problem says on a form what was wrong with the last try. A problem of a field
// is shown at the field, another one above the form.
type Problem struct {
	Slug       string // such as "wrong_code"
	Title      string // a few words, for the browser's title bar
	Detail     string // what to do now
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
