package pages

import (
	"fmt"
	"time"
)

// These are the texts of the pages. A text reports an event and the next step. It blames nobody and
// never shows whether a number is known to the gate.

// deliveries returns the delivery texts of the code page, by status.
func deliveries(masked string) map[string]string {
	return map[string]string{
		"queued":    "Sending the code…",
		"accepted":  "The code is on its way.",
		"delivered": "The code was delivered to " + masked + ".",
		"failed":    "The message may not have gone out. If a code arrives, it still works. If not, send the code again.",
		"expired":   "The code has expired.",
	}
}

// toLogin returns an action that leads to the number form.
func toLogin(label string) *Action { return &Action{Label: label, Href: "login"} }

// InvalidNumber says that the input is not a mobile number. The example is a valid number, or it is
// empty.
func InvalidNumber(example string) *Problem {
	detail := "Enter a mobile number that can receive text messages."
	if example != "" {
		detail = "Enter a mobile number, like " + example + "."
	}
	return &Problem{Slug: "invalid_number", Title: "Check the number", Detail: detail}
}

// CountryNotAllowed says that the gate sends no codes to the number's country.
func CountryNotAllowed() *Problem {
	return &Problem{
		Slug:   "country_not_allowed",
		Title:  "Check the number",
		Detail: "We cannot text numbers in that country. Use another mobile number.",
	}
}

// WrongCode says that the code is wrong, and how many tries are left.
func WrongCode(attemptsLeft int) *Problem {
	return &Problem{
		Slug:   "wrong_code",
		Title:  "Wrong code",
		Detail: "That is not the code we sent. " + triesLeft(attemptsLeft),
	}
}

// IncompleteCode says that the text cannot be the code. length is its number of digits, unless any
// number from 4 to 8 may be right.
func IncompleteCode(length int, anyLength bool) *Problem {
	detail := fmt.Sprintf("The code has %d digits. Enter all of them, and no other digits.", length)
	if anyLength {
		detail = "The code has 4 to 8 digits. Enter all of them, and no other digits."
	}
	return &Problem{Slug: "incomplete_code", Title: "Check the code", Detail: detail}
}

// OtherChallenge says that the user has asked for another code since the page was opened, perhaps
// in another tab. masked is the number that got the latest code.
func OtherChallenge(masked string) *Problem {
	return &Problem{
		Slug:   "other_challenge",
		Title:  "Enter the latest code",
		Detail: "You have asked for another code since you opened that page. Enter the code from the latest message, sent to " + masked + ".",
	}
}

// NotSent says that no other code was sent, and that the code before it still works. slug is
// "rate_limited" or "unavailable".
func NotSent(slug string, retryAfter time.Duration) *Problem {
	p := &Problem{
		Slug: slug, Title: "Please wait a little", RetryAfter: retryAfter,
		Detail: "There have been too many requests, so we have not sent another code. The code that you have still works.",
	}
	if slug != "rate_limited" {
		p.Title = "We cannot send another code right now"
		p.Detail = "Something on our side is not working. You did nothing wrong. The code that you have still works."
	}
	return p
}

// CookiesOff says that the browser sent no cookie with the number, so that no code was sent.
func CookiesOff() *Problem {
	return &Problem{
		Slug:  "cookies_off",
		Title: "Allow cookies to sign in",
		Detail: "Your browser did not send the cookie that we need to sign you in, so we have not sent a code. " +
			"In your browser's settings, search for “cookies”, and allow them for this site. Then press the button below.",
	}
}

// WrongRecovery says that the recovery code is wrong, used or expired.
func WrongRecovery(company string) *Problem {
	return &Problem{
		Slug:  "wrong_code",
		Title: "Wrong recovery code",
		Detail: "That recovery code did not work. Check each letter and digit. A code works once, within 10 minutes. " +
			"If you need a new one, ask " + company + ".",
	}
}

// TooManyTries says that too many recovery codes were tried from one IP address.
func TooManyTries(retryAfter time.Duration) *Problem {
	return &Problem{
		Slug:       "rate_limited",
		Title:      "Please wait a little",
		Detail:     "Too many recovery codes have been tried from your network.",
		RetryAfter: retryAfter,
	}
}

// triesLeft says how many times the user may still try the code.
func triesLeft(n int) string {
	switch {
	case n <= 0:
		return "You have no tries left."
	case n == 1:
		return "You have one try left."
	default:
		return fmt.Sprintf("You have %d tries left.", n)
	}
}

// Expired is the page for a code that was entered after its lifetime.
func Expired() Message {
	return Message{
		Heading: "This code has expired",
		Body:    []string{"To keep you safe, a code only works for a few minutes. Get a new one and enter it as soon as it arrives."},
		Action:  toLogin("Get a new code"),
	}
}

// TooManyAttempts is the page for a challenge that ended after too many wrong codes.
func TooManyAttempts() Message {
	return Message{
		Heading: "Too many wrong codes",
		Body:    []string{"To keep you safe, we have cancelled this code. Get a new one and try again."},
		Action:  toLogin("Get a new code"),
	}
}

// NoChallenge is the page for a browser that has no challenge.
func NoChallenge() Message {
	return Message{
		Heading: "You need a new code",
		Body: []string{
			"We have no code to check for this browser. You may have used your code already, or asked for it in another browser.",
		},
		Action: toLogin("Get a new code"),
	}
}

// RateLimited is the page that tells a user to wait before the next code. A retryAfter of 0 means
// that the wait is unknown.
func RateLimited(retryAfter time.Duration) Message {
	return Message{
		Heading: "Please wait a little",
		Body: []string{
			"There have been too many requests, so we have not sent a code.",
			tryAgain(retryAfter),
		},
		Action: toLogin("Back to sign in"),
	}
}

// LockedOut is the page for a number that is locked after too many wrong codes. A retryAfter of 0
// means that the number stays locked until company unlocks it.
func LockedOut(retryAfter time.Duration, company string) Message {
	m := Message{
		Heading: "Too many wrong codes",
		Body: []string{
			"Too many wrong codes were entered for this mobile number. To keep you safe, we have stopped texting codes to it.",
		},
		Action: toLogin("Back to sign in"),
	}
	if retryAfter <= 0 {
		m.Body = append(m.Body, "Ask "+company+" to unlock your number.")
	} else {
		m.Body = append(m.Body, tryAgain(retryAfter))
	}
	return m
}

// NoNumber is the page for a user without a mobile number.
func NoNumber(company string) Message {
	return Message{
		Heading: "We have no mobile number for you",
		Body: []string{
			"The first step of signing in worked. The next step is a code by text message, but we have no mobile number to send it to.",
			"Ask " + company + " to add your mobile number, then try again.",
		},
		Action: toLogin("Try again"),
	}
}

// NoUser is the page for a request in which the first factor names no user.
func NoUser(company string) Message {
	return Message{
		Heading: "We do not know who you are",
		Body: []string{
			"You need to sign in with your password or certificate first. We did not receive that sign-in.",
			"Try again. If you see this page again, tell " + company + ".",
		},
		Action: toLogin("Try again"),
	}
}

// CodeUnavailable is the page for a code that the gate cannot check at the moment. A retryAfter of
// 0 means that the wait is unknown.
func CodeUnavailable(retryAfter time.Duration) Message {
	return Message{
		Heading: "We cannot check your code right now",
		Body: []string{
			"Something on our side is not working. You did nothing wrong. Keep your code: it works until it expires.",
			tryAgain(retryAfter),
		},
		Action: &Action{Label: "Back to the code", Href: "verify"},
	}
}

// Unavailable is the page for a gate that cannot send or check codes at the moment. A retryAfter of
// 0 means that the wait is unknown.
func Unavailable(retryAfter time.Duration) Message {
	return Message{
		Heading: "We cannot do this right now",
		Body: []string{
			"Something on our side is not working, so we cannot send or check codes. You did nothing wrong.",
			tryAgain(retryAfter),
		},
		Action: toLogin("Back to sign in"),
	}
}

// tryAgain says when the user can try again. An after of 0 means that the wait is unknown.
func tryAgain(after time.Duration) string {
	if after <= 0 {
		return "Try again in a few minutes."
	}
	return "Try again in " + duration(after) + "."
}

// CrossOrigin is the page for a form that another site has posted.
func CrossOrigin() Message {
	return Message{
		Heading: "This form came from another website",
		Body: []string{
			"To keep you safe, we only accept forms from our own pages. We have not changed or sent anything.",
			"To sign in, start here.",
		},
		Action: toLogin("Sign in"),
	}
}

// TooEarly is the page for a form that was posted in TLS early data. Most users never see it,
// because browsers send such a form again by themselves.
func TooEarly() Message {
	return Message{
		Heading: "Please send that again",
		Body: []string{
			"Your browser sent the form before the secure connection was ready. We have not changed or sent anything.",
			"Go back and send the form again.",
		},
		Action: toLogin("Start again"),
	}
}

// NotFound is the page for an address that does not exist.
func NotFound() Message {
	return Message{
		Heading: "Page not found",
		Body:    []string{"If you typed the web address, check that it is correct."},
		Action:  toLogin("Sign in"),
	}
}

// MethodNotAllowed is the page for an address that does not take the request's method.
func MethodNotAllowed() Message {
	return Message{
		Heading: "This page cannot do that",
		Body:    []string{"This address does not accept that kind of request. We have not changed or sent anything."},
		Action:  toLogin("Sign in"),
	}
}

// TooLarge is the page for a request that is too long.
func TooLarge() Message {
	return Message{
		Heading: "That was too long",
		Body:    []string{"We received more than a number or a code, so we did not read it. We have not changed or sent anything."},
		Action:  toLogin("Start again"),
	}
}

// BadRequest is the page for a request that cannot be read.
func BadRequest() Message {
	return Message{
		Heading: "We could not read that",
		Body: []string{
			"Your form did not arrive complete. We have not changed or sent anything.",
			"Go back and try again, or start again.",
		},
		Action: toLogin("Start again"),
	}
}

// SignInAbove is the page in a frame of the app whose session has ended. Its link to sign in,
// loginHref, opens in the whole window, because in a frame a user cannot see the address of a
// login page.
func SignInAbove(loginHref string) Message {
	return Message{
		Heading: "You are not signed in",
		Body:    []string{"To see this part of the page, sign in first."},
		Action:  &Action{Label: "Sign in", Href: loginHref},
		Framed:  true,
	}
}

// FormOfAnotherSite is the page for a form that another website has posted to the app, such as the
// answer of a payment. The browser sends no session cookie with it, because the cookie is
// SameSite=Lax, so signing in does not help. Only a bypass for the address does.
func FormOfAnotherSite(company, loginHref string) Message {
	return Message{
		Heading: "We did not accept a form from another website",
		Body: []string{
			"Another website sent you here with a form, for example after a payment or a sign-in. " +
				"The form does not show us that you are signed in, so we have not passed it on.",
			"Keep this tab open. Sign in, and check whether the step is complete. If it is not, repeat it at the other website.",
			"If you see this page again, tell " + company + ". They can let this address through with the setting “bypass”.",
		},
		Action: &Action{Label: "Sign in", Href: loginHref},
		NewTab: true,
	}
}

// FormNotSent is the page for a form of the app that was posted without a session. It replaces the
// form in its tab. So the link to sign in, loginHref, opens a new tab.
func FormNotSent(loginHref string) Message {
	return Message{
		Heading: "Your form was not sent",
		Body: []string{
			"You are not signed in, so your form was not sent or saved.",
			"Keep this tab open so that you do not lose what you filled in.",
		},
		Steps: []string{
			"Select “Sign in” below. It opens a new tab.",
			"When you are signed in, come back to this tab and go back one page.",
			"Send the form again. If the form is empty, go forward to this page and reload it. " +
				"Your browser then offers to send what you filled in.",
		},
		Action: &Action{Label: "Sign in", Href: loginHref},
		NewTab: true,
	}
}
