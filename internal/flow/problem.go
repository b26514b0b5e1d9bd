package flow

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-websms/websms/internal/pages"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/otp"
)

// problem is an answer with an error: JSON (RFC 9457) for programs, or a page for
// browsers. Type is a slug that never changes, so programs may compare it.
type problem struct {
	Type         string `json:"type"`
	Title        string `json:"title"`
	Status       int    `json:"status"`
	AttemptsLeft *int   `json:"attempts_left,omitempty"`

	retryAfter time.Duration
	page       pages.View
}

// The problems that are the same for every request. Their types, titles and status
// codes are public: see docs/api.md.
var (
	problemUnverified  = fixedProblem("unverified", "Not verified", http.StatusUnauthorized, nil)
	problemCrossOrigin = fixedProblem("cross_origin", "Sent from another site", http.StatusForbidden, pages.CrossOrigin())
	problemTooEarly    = fixedProblem("too_early", "Sent before the connection was proved", http.StatusTooEarly, pages.TooEarly())
	problemNotFound    = fixedProblem("not_found", "No such page", http.StatusNotFound, pages.NotFound())
	problemMethod      = fixedProblem("method_not_allowed", "Method not allowed", http.StatusMethodNotAllowed, pages.MethodNotAllowed())
	problemTooLarge    = fixedProblem("too_large", "Body too large", http.StatusRequestEntityTooLarge, pages.TooLarge())
	problemBadRequest  = fixedProblem("bad_request", "The body could not be read", http.StatusBadRequest, pages.BadRequest())
	problemMediaType   = fixedProblem("unsupported_media_type", "Send a form or JSON", http.StatusUnsupportedMediaType, pages.BadRequest())
	problemNoChallenge = fixedProblem("no_challenge", "No code is awaited", http.StatusConflict, pages.NoChallenge())
	problemOther       = fixedProblem("other_challenge", "A newer code was asked for", http.StatusConflict, pages.NoChallenge())
	problemCookiesOff  = fixedProblem("cookies_off", "The browser sends no cookies", http.StatusBadRequest, nil)
	problemExpired     = fixedProblem("code_expired", "The code has expired", http.StatusGone, pages.Expired())
	problemTooMany     = fixedProblem("too_many_attempts", "Too many attempts", http.StatusTooManyRequests, pages.TooManyAttempts())
	problemInvalid     = fixedProblem("invalid_number", "Not a mobile number", http.StatusUnprocessableEntity, nil)
	problemCountry     = fixedProblem("country_not_allowed", "Numbers of this country are not served", http.StatusUnprocessableEntity, nil)
)

// Types of problems that are more than one problem, or that decide what happens next.
const (
	typeRateLimited = "rate_limited"
	typeUnavailable = "unavailable"
	typeWrongCode   = "wrong_code"
)

// fixedProblem returns a problem that is the same for every request. If page is nil, the
// problem has no page of its own: it needs one from the caller, or is only for programs.
func fixedProblem(slug, title string, status int, page pages.View) problem {
	return problem{Type: slug, Title: title, Status: status, page: page}
}

// noNumber returns the problem of a person without a number to send a code to.
func noNumber(page pages.View) problem {
	return fixedProblem("no_number", "No number is known to send a code to", http.StatusForbidden, page)
}

// problemWrongCode returns the problem of a wrong code. attemptsLeft is how often the
// browser may still answer the challenge.
func problemWrongCode(attemptsLeft int) problem {
	return problem{Type: typeWrongCode, Title: "Wrong code", Status: http.StatusUnprocessableEntity, AttemptsLeft: &attemptsLeft}
}

// problemIncomplete returns the problem of a text that cannot be the code.
func problemIncomplete(attemptsLeft int) problem {
	return problem{
		Type: "incomplete_code", Title: "Not all digits of the code", Status: http.StatusUnprocessableEntity, AttemptsLeft: &attemptsLeft,
	}
}

// problemOf returns the problem that the client sees for an error of the engine or of
// the directory. It logs errors that the operator must know of, each text at most once
// a second. An error that it does not know becomes status 503 with a wait of 10 s.
func (f *Flow) problemOf(err error) problem {
	var limit *otp.LimitError
	var down *otp.UnavailableError
	switch {
	case errors.As(err, &limit) && limit.Locked():
		return problem{
			Type: typeRateLimited, Title: "Too many wrong codes", Status: http.StatusTooManyRequests,
			retryAfter: afterLock(limit), page: pages.LockedOut(request.WholeSeconds(limit.RetryAfter), f.Company),
		}
	case errors.As(err, &limit):
		return problem{
			Type: typeRateLimited, Title: "Too many codes asked for", Status: http.StatusTooManyRequests,
			retryAfter: limit.RetryAfter, page: pages.RateLimited(request.WholeSeconds(limit.RetryAfter)),
		}
	case errors.Is(err, otp.ErrNoChallenge):
		return problemNoChallenge
	case errors.Is(err, otp.ErrExpired):
		return problemExpired
	case errors.Is(err, otp.ErrTooManyAttempts):
		return problemTooMany
	case errors.As(err, &down):
		f.Sampled.Warn("refusing for now", zap.Error(err))
	default:
		f.Sampled.Error("refusing a request after an unexpected error", zap.Error(err))
		down = &otp.UnavailableError{RetryAfter: 10 * time.Second}
	}
	return problemUnavailable(down.RetryAfter)
}

// problemUnavailable returns the problem of a service that is down for a time.
func problemUnavailable(retryAfter time.Duration) problem {
	return problem{
		Type: typeUnavailable, Title: "Unavailable for now", Status: http.StatusServiceUnavailable,
		retryAfter: retryAfter, page: pages.Unavailable(request.WholeSeconds(retryAfter)),
	}
}

// afterLock returns the Retry-After for a locked number. If only an operator can unlock
// it, the wait is unknown, so it returns 24 hours.
func afterLock(limit *otp.LimitError) time.Duration {
	if limit.RetryAfter > 0 {
		return limit.RetryAfter
	}
	return 24 * time.Hour
}

// refuse answers with p. A client that prefers JSON gets JSON. Another client gets the
// page view, or the problem's own page if view is nil, or JSON if there is no page.
func (f *Flow) refuse(w http.ResponseWriter, r *http.Request, p problem, view pages.View) error {
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(request.WholeSeconds(p.retryAfter)/time.Second)))
	}
	if view == nil {
		view = p.page
	}
	if view == nil || request.PrefersJSON(r) {
		return request.WriteJSON(w, p.Status, "application/problem+json", p)
	}
	if message, ok := view.(pages.Message); ok {
		view = message.To(request.TargetOf(r, f.Prefix))
	}
	return f.Pages.Write(w, p.Status, view)
}
