package flow

import (
	"net/http"

	"github.com/caddy-websms/websms/internal/cookies"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/otp"
)

func (f *Flow) getStatus(v *visit) error {
	a, ok := f.ask(v)
	if !ok {
		return f.refuseStatus(v, &a, otp.ErrNoChallenge)
	}
	if wantsEvents(v.R) {
		return f.stream(v, &a)
	}
	c, err := f.Engine.Get(v.R.Context(), f.Policy.Scope, a.ID)
	if err != nil {
		return f.refuseStatus(v, &a, err)
	}
	return request.WriteJSON(v.W, http.StatusOK, "application/json", f.view(v, &a, c))
}

// refuseStatus says why there is no challenge to tell of, always in JSON. A
// browser that takes up a stream again after its end is told to stop, by a 204
// (WHATWG HTML, 9.2.3); it would complain of anything else in its console.
func (f *Flow) refuseStatus(v *visit, a *cookies.Challenge, err error) error {
	p := f.problemOf(lostError(a, err, v.Now))
	if wantsEvents(v.R) && p.Type != "unavailable" {
		v.W.Header().Set("Cache-Control", "no-store")
		v.W.WriteHeader(http.StatusNoContent)
		return nil
	}
	p.page = nil
	return f.refuse(v.W, v.R, p, nil)
}
