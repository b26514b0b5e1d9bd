package pages

import "net/http"

// The Content Security Policy of every page (CSP Level 3): nothing but this
// origin's own files, no inline script or style, no frame around it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"

// formAction is added to the policy of every page but the code form.
//
// Chromium holds every redirect after a form to the form-action of its page, seen
// in version 156. The right code is answered with a redirect into the app, and an
// app that sends the user on to another origin, to its own single sign-on say,
// would end there: the code is used up, the session is there, and the user still
// looks at the code form. A page into which nobody can inject a form loses little
// by leaving the directive out.
const formAction = "; form-action 'self'"

// setHeaders sets what a browser must know of a page.
//
// Referrer-Policy keeps the page's address, which holds the path that the user
// wanted, from everybody. On its own it would also make browsers send
// "Origin: null" with the page's own forms (Fetch, "append a request Origin
// header"), and where they send no Sec-Fetch-Site either, on plain HTTP or in
// Safari before 16.4, a same-origin form could not be told from a forged one.
// So the layout narrows the policy to same-origin in a meta element: other
// origins learn as little as before, and this one gets a real Origin.
func setHeaders(h http.Header, v View) {
	csp := policy
	if _, ok := v.(Verify); !ok {
		csp += formAction
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", csp)
	h.Set("Permissions-Policy", "otp-credentials=(self)")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("X-Frame-Options", "DENY")
}
