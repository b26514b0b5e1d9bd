package flow

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-websms/websms/internal/cookies"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/internal/telemetry"
	"github.com/caddy-websms/websms/number"
)

// visit is one request to the gate's own endpoints.
type visit struct {
	cookies.Browser
	url  *url.URL   // as the browser asked for it
	form url.Values // the posted fields; nil for a GET

	// The user that the first factor names, and the number of that user. They are set
	// for a personal endpoint behind a first factor.
	user   string
	number number.Number

	asked   bool      // the limits were asked for limited
	limited time.Time // the earliest time of a resend by the limits; zero: none refuses it now
}

// endpoint is one path below the prefix, with its methods. get also answers HEAD. A nil function means
// that the endpoint does not have the method.
type endpoint struct {
	get, post func(*Flow, *visit) error
	personal  bool // it needs the user and the number of a first factor, if there is one
}

// endpoints has the endpoints by their paths.
var endpoints map[string]endpoint

func init() { // in init, because the handlers refer back to the table
	endpoints = map[string]endpoint{
		"login":   {get: (*Flow).getLogin, personal: true},
		"send":    {post: (*Flow).postSend, personal: true},
		"verify":  {get: (*Flow).getVerify, post: (*Flow).postVerify, personal: true},
		"resend":  {post: (*Flow).postResend, personal: true},
		"status":  {get: (*Flow).getStatus, personal: true},
		"session": {get: (*Flow).getSession},
		"logout":  {post: (*Flow).postLogout},
		"recover": {get: (*Flow).getRecover, post: (*Flow).postRecover, personal: true},
	}
}

// allow returns the value of the Allow header.
func (e endpoint) allow() string {
	var methods []string
	if e.get != nil {
		methods = append(methods, http.MethodGet, http.MethodHead)
	}
	if e.post != nil {
		methods = append(methods, http.MethodPost)
	}
	return strings.Join(methods, ", ")
}

// ServeOwn answers every request for a URL under the gate's prefix, so none reaches the
// handlers behind the gate. own is that URL, which may be from before a rewrite.
func (f *Flow) ServeOwn(w http.ResponseWriter, r *http.Request, own *url.URL) error {
	request.LimitBody(w, r)
	if !strings.HasPrefix(own.Path, f.Prefix) {
		return f.refuse(w, r, problemNotFound, nil)
	}
	name := strings.TrimPrefix(own.Path[len(f.Prefix):], "/")
	if asset, ok := strings.CutPrefix(name, "assets/"); ok {
		if !request.Reads(r) {
			return f.refuseMethod(w, r, "GET, HEAD")
		}
		if f.Pages.ServeAsset(w, r, asset) {
			return nil
		}
	}
	if !f.Ready() {
		return f.RefuseUnready(w, r, name != "status" && name != "session") // those two are for programs
	}
	if name == "" {
		if !request.Reads(r) {
			return f.refuseMethod(w, r, "GET, HEAD")
		}
		request.Redirect(w, http.StatusFound, f.Prefix+"/login")
		return nil
	}
	e, ok := endpoints[name]
	if !ok {
		return f.refuse(w, r, problemNotFound, nil)
	}
	v := &visit{Browser: f.Jar.Browser(w, r, f.Now()), url: own}
	switch {
	case request.Reads(r) && e.get != nil:
		return f.answer(v, e, e.get)
	case r.Method == http.MethodPost && e.post != nil:
		if request.InEarlyData(r) {
			return f.refuse(w, r, problemTooEarly, nil)
		}
		if foreign := request.CrossOrigin(r); foreign != nil {
			return f.refuseForeign(w, r, foreign)
		}
		if refusal := v.readForm(); refusal != nil {
			return f.refuse(w, r, *refusal, nil)
		}
		ctx, span := telemetry.StartSpan(r.Context(), "websms "+name)
		defer span.End()
		v.R = r.WithContext(ctx)
		return f.answer(v, e, e.post)
	}
	return f.refuseMethod(w, r, e.allow())
}

// answer calls the function of an endpoint. If the endpoint is personal and there is a
// first factor, answer first finds the user and the number, and refuses the request
// without them.
func (f *Flow) answer(v *visit, e endpoint, with func(*Flow, *visit) error) error {
	if e.personal && f.FirstFactor != nil {
		var err error
		if v.user, v.number, err = f.FirstFactor.Identify(v.R); err != nil {
			return f.refusePerson(v, err)
		}
	}
	return with(f, v)
}

// refuseForeign answers a post of another origin, and logs both origins. The log is
// sampled, because any page can cause such posts.
func (f *Flow) refuseForeign(w http.ResponseWriter, r *http.Request, p *request.ForeignPost) error {
	f.Sampled.Warn("a form of another origin was refused",
		zap.String("origin", p.Origin), zap.String("expected", p.Expected), zap.String("cause", p.Cause))
	return f.refuse(w, r, problemCrossOrigin, nil)
}

// refuseMethod answers with status 405. allow lists the methods of the endpoint.
func (f *Flow) refuseMethod(w http.ResponseWriter, r *http.Request, allow string) error {
	w.Header().Set("Allow", allow)
	return f.refuse(w, r, problemMethod, nil)
}
