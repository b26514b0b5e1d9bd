package flow

import (
	"net/http"

	"github.com/caddy-websms/websms/internal/pages"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/internal/telemetry"
	"github.com/caddy-websms/websms/otp"
)

// Deny answers a request that holds no session. It reads nothing of its body, and
// passes nothing on.
func (f *Flow) Deny(w http.ResponseWriter, r *http.Request) error {
	telemetry.RequestsChallenged.Inc()
	request.LimitBody(w, r)
	navigation := request.IsNavigation(r)
	if navigation && request.Reads(r) {
		request.Redirect(w, http.StatusFound, request.LoginURL(request.Target(r), f.Prefix))
		return nil
	}
	w.Header()["Www-Authenticate"] = []string{`WebSMS login="` + f.Prefix + `/login"`}
	if navigation {
		return f.Pages.Write(w, http.StatusUnauthorized, pages.FormNotSent(request.LoginURL(request.RefererTarget(r), f.Prefix)))
	}
	return request.WriteJSON(w, http.StatusUnauthorized, "application/problem+json", problemUnverified)
}

// Ready reports whether the keys are known by which sessions open.
func (f *Flow) Ready() bool { return f.Jar.Vault.Ring.Ready() }

// RefuseUnready answers a request while they are not. Whether it holds a
// session nobody can tell, so it keeps its cookies. The vault has told the
// operator; a line for each request would only fill the log.
func (f *Flow) RefuseUnready(w http.ResponseWriter, r *http.Request, page bool) error {
	request.LimitBody(w, r)
	p := problemUnavailable(otp.UnreadyRetry)
	if !page {
		p.page = nil
	}
	return f.refuse(w, r, p, nil)
}
