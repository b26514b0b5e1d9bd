package flow

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-websms/websms/internal/cookies"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/internal/telemetry"
	"github.com/caddy-websms/websms/number"
)

// visit is one request to the gate's own endpoints.
type visit struct {
	cookies.Browser
	url  *url.URL   // as the browser asked for it
	form url.Values // the fields that were posted; nil for a GET

	// Of a personal endpoint, with a second factor: whom the first one names.
	user   string
	number number.Number
}

// endpoint is one of the gate's own pages.
type endpoint struct {
	get, post func(*Flow, *visit) error
	personal  bool // it sends or awaits a code: with a second factor, of a person with a number
}

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

// ServeOwn answers a request for own, which lies under the prefix; all of them end here.
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
		return f.RefuseUnready(w, r, name != "status" && name != "session") // whose answers are for programs
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
		if f.crossOrigin(r, v.HTTPS) {
			return f.refuse(w, r, problemCrossOrigin, nil)
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

// harness.Answer lets an endpoint answer, unless it is for a person whom no first
// factor has named, or who has no number.
func (f *Flow) answer(v *visit, e endpoint, with func(*Flow, *visit) error) error {
	if e.personal && f.FirstFactor != nil {
		var err error
		if v.user, v.number, err = f.FirstFactor.Identify(v.R); err != nil {
			return f.refusePerson(v, err)
		}
	}
	return with(f, v)
}

// crossOrigin reports whether another origin had a browser post r. The check
// of the library compares hosts alone where a browser sends no Sec-Fetch-Site;
// over plain HTTP ours is another origin, which whoever holds the network speaks for.
func (f *Flow) crossOrigin(r *http.Request, https bool) bool {
	if f.origin.Check(r) != nil {
		return true
	}
	origin, err := url.Parse(r.Header.Get("Origin"))
	return https && r.Header.Get("Sec-Fetch-Site") == "" && err == nil && origin.Scheme == "http"
}

func (f *Flow) refuseMethod(w http.ResponseWriter, r *http.Request, allow string) error {
	w.Header().Set("Allow", allow)
	return f.refuse(w, r, problemMethod, nil)
}
