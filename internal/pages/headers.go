package pages

import "net/http"

// policy is the Content Security Policy of every page (CSP Level 3). It allows only files of this
// origin, and no inline script or style. At its end setHeaders adds the origins that may put
// the page into a frame.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"connect-src 'self'; base-uri 'none'; frame-ancestors "

// formAction is added to the policy of every page except the code form.
//
// Chromium applies the form-action of a page to every redirect that follows its form (seen in
// version 156). The right code is answered with a redirect into the app. If the app then sends the
// user to another origin, such as its single sign-on, Chromium would stop there: the code is used
// up and the session exists, but the user still sees the code form. Leaving the directive out costs
// little, because nobody can inject a form into this page.
const formAction = "; form-action 'self'"

// setHeaders sets the headers of a page.
//
// The page's address holds the path that the user asked for, and Referrer-Policy hides it from all
// sites. On its own, no-referrer would also make browsers send "Origin: null" with the page's own
// forms (Fetch, "append a request Origin header"). Some browsers also send no Sec-Fetch-Site: all
// of them on plain HTTP, and Safari before 16.4. There the gate could not tell a same-origin form
// from a forged one. So the layout sets the policy same-origin in a meta element: other origins
// still learn nothing, and this origin gets a real Origin.
//
// No page sends Cross-Origin-Opener-Policy. It would cut a popup of the application, whose session
// has ended, off from the page that opened it, and the popup could not report back after the login.
func setHeaders(h http.Header, v View) {
	csp := policy + "'none'"
	if message, ok := v.(Message); ok && message.Framed {
		csp = policy + "'self'"
		h.Del("X-Frame-Options") // of a header directive in front: it would only repeat, or contradict, the policy
	} else {
		h.Set("X-Frame-Options", "DENY")
	}
	if _, ok := v.(Verify); !ok {
		csp += formAction
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", csp)
	h.Set("Permissions-Policy", "otp-credentials=(self)")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
}
