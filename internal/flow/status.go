package flow

import (
	"net/http"

	"github.com/caddy-websms/websms/internal/cookies"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/otp"
)

// getStatus answers with the browser's challenge and its delivery status in JSON, or
// with a stream of them.
func (f *Flow) getStatus(v *visit) error {
	cookie, ok := f.challengeOf(v)
	if !ok {
		return f.refuseStatus(v, &cookie, otp.ErrNoChallenge)
	}
	if wantsStream(v.R) {
		return f.stream(v, &cookie)
	}
	c, err := f.Engine.Get(v.R.Context(), f.Policy.Scope, cookie.ID)
	if err != nil {
		return f.refuseStatus(v, &cookie, err)
	}
	return request.WriteJSON(v.W, http.StatusOK, "application/json", f.viewOf(v, &cookie, c))
}

// refuseStatus answers a status request that has no challenge, always in JSON.
//
// A browser opens a stream again after it has ended. Status 204 tells it to stop
// (WHATWG HTML, 9.2.3). Any other status would be an error in the browser's console.
func (f *Flow) refuseStatus(v *visit, cookie *cookies.Challenge, err error) error {
	p := f.problemOf(asExpired(cookie, err, v.Now))
	if wantsStream(v.R) && p.Type != typeUnavailable {
		v.W.Header().Set("Cache-Control", "no-store")
		v.W.WriteHeader(http.StatusNoContent)
		return nil
	}
	p.page = nil
	return f.refuse(v.W, v.R, p, nil)
}
