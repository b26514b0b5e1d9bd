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

// problem is a refusal, as JSON (RFC 9457) or as a page. Its type is a stable
// slug that programs may compare.
type problem struct {
	Type         string `json:"type"`
	Title        string `json:"title"`
	Status       int    `json:"status"`
	AttemptsLeft *int   `json:"attempts_left,omitempty"`

	retryAfter time.Duration
	page       pages.View
}

// The problems that depend on nothing.
var (
	problemUnverified  = problem{Type: "unverified", Title: "Not verified", Status: http.StatusUnauthorized}
	problemCrossOrigin = problem{Type: "cross_origin", Title: "Sent from another site", Status: http.StatusForbidden, page: pages.CrossOrigin()}
	problemTooEarly    = problem{Type: "too_early", Title: "Sent before the connection was proved", Status: http.StatusTooEarly, page: pages.TooEarly()}
	problemNotFound    = problem{Type: "not_found", Title: "No such page", Status: http.StatusNotFound, page: pages.NotFound()}
	problemMethod      = problem{Type: "method_not_allowed", Title: "Method not allowed", Status: http.StatusMethodNotAllowed, page: pages.MethodNotAllowed()}
	problemTooLarge    = problem{Type: "too_large", Title: "Body too large", Status: http.StatusRequestEntityTooLarge, page: pages.TooLarge()}
	problemBadRequest  = problem{Type: "bad_request", Title: "The body could not be read", Status: http.StatusBadRequest, page: pages.BadRequest()}
	problemMediaType   = problem{Type: "unsupported_media_type", Title: "Send a form or JSON", Status: http.StatusUnsupportedMediaType, page: pages.BadRequest()}
	problemNoChallenge = problem{Type: "no_challenge", Title: "No code is awaited", Status: http.StatusConflict, page: pages.NoChallenge()}
	problemExpired     = problem{Type: "code_expired", Title: "The code has expired", Status: http.StatusGone, page: pages.Expired()}
	problemTooMany     = problem{Type: "too_many_attempts", Title: "Too many attempts", Status: http.StatusTooManyRequests, page: pages.TooManyAttempts()}
	problemInvalid     = problem{Type: "invalid_number", Title: "Not a mobile number", Status: http.StatusUnprocessableEntity}
	problemNoNumber    = problem{Type: "no_number", Title: "No number is known to send a code to", Status: http.StatusForbidden}
	problemCountry     = problem{Type: "country_not_allowed", Title: "Numbers of this country are not served", Status: http.StatusUnprocessableEntity}
)

func problemWrongCode(attemptsLeft int) problem {
	return problem{Type: "wrong_code", Title: "Wrong code", Status: http.StatusUnprocessableEntity, AttemptsLeft: &attemptsLeft}
}

// problemOf returns what an error of the engine is to the one who asked.
func (f *Flow) problemOf(err error) problem {
	var limit *otp.LimitError
	var down *otp.UnavailableError
	switch {
	case errors.As(err, &limit) && limit.Locked():
		return problem{
			Type: "rate_limited", Title: "Too many wrong codes", Status: http.StatusTooManyRequests,
			retryAfter: afterLock(limit), page: pages.LockedOut(request.WholeSeconds(limit.RetryAfter), f.Company),
		}
	case errors.As(err, &limit):
		return problem{
			Type: "rate_limited", Title: "Too many codes asked for", Status: http.StatusTooManyRequests,
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
		f.Sampled.Error("refusing after an error", zap.Error(err))
		down = &otp.UnavailableError{RetryAfter: 10 * time.Second}
	}
	return problemUnavailable(down.RetryAfter)
}

func problemUnavailable(retryAfter time.Duration) problem {
	return problem{
		Type: "unavailable", Title: "Unavailable for now", Status: http.StatusServiceUnavailable,
		retryAfter: retryAfter, page: pages.Unavailable(request.WholeSeconds(retryAfter)),
	}
}

// afterLock returns when to ask again after wrong codes have locked a number.
// Where only an operator ends that nobody knows; tomorrow is soon enough.
func afterLock(limit *otp.LimitError) time.Duration {
	if limit.RetryAfter > 0 {
		return limit.RetryAfter
	}
	return 24 * time.Hour
}

// refuse answers with p, as JSON to who prefers it, else as a page: view, or
// if that is nil the problem's own.
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
	return f.Pages.Write(w, p.Status, view)
}
