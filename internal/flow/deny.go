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
//   - A frame gets a small page with a link that opens the login form in the whole window.
//   - A page that a browser navigates to is redirected to the login form.
//   - A form that a browser posts gets a page that says that it was not sent, or that another
//     site has posted it.
//   - Anything else gets status 401 and a problem in JSON.
func (f *Flow) Deny(w http.ResponseWriter, r *http.Request) error {
	telemetry.RequestsDenied.Inc()
	request.LimitBody(w, r)
	frame, navigation := request.IsFrame(r), request.IsNavigation(r)
	if navigation && !frame && request.Reads(r) {
		request.Redirect(w, http.StatusFound, request.LoginURL(request.Target(r), f.Prefix))
		return nil
	}
	w.Header()["Www-Authenticate"] = []string{`WebSMS login="` + f.Prefix + `/login"`}
	if !frame && !navigation {
		return request.WriteJSON(w, http.StatusUnauthorized, "application/problem+json", problemUnverified)
	}
	login := request.LoginURL(request.RefererTarget(r, f.Prefix), f.Prefix)
	var view pages.View
	switch {
	case frame:
		view = pages.SignInAbove(login)
	case request.IsCrossSite(r):
		view = pages.FormOfAnotherSite(f.Company, login)
	default:
		view = pages.FormNotSent(login)
	}
	return f.Pages.Write(w, http.StatusUnauthorized, view)
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
