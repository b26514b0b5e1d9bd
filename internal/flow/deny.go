package flow

import (
	"net/http"

	"github.com/caddy-websms/websms/internal/pages"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/internal/telemetry"
	"github.com/caddy-websms/websms/otp"
)

// Deny answers a request without a session. It does not read the body, and nothing of
// the request reaches the handlers behind the gate.
//
// A page that a browser navigates to is redirected to the login form. A form that a
// browser posts gets a page that says that it was not sent. Anything else gets status
// 401 and a problem in JSON.
func (f *Flow) Deny(w http.ResponseWriter, r *http.Request) error {
	telemetry.RequestsDenied.Inc()
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

// Ready reports whether the vault has loaded the keys that open sessions.
func (f *Flow) Ready() bool { return f.Jar.Vault.Ring.Ready() }

// RefuseUnready answers a request with status 503 while the gate is not Ready. If page
// is true, browsers get a page; otherwise every client gets JSON. The cookies stay,
// because they may hold a valid session. The vault has logged the cause already, so
// this function logs nothing for each request.
func (f *Flow) RefuseUnready(w http.ResponseWriter, r *http.Request, page bool) error {
	request.LimitBody(w, r)
	p := problemUnavailable(otp.UnreadyRetry)
	if !page {
		p.page = nil
	}
	return f.refuse(w, r, p, nil)
}
