package flow

import (
	"errors"
	"net/http"

	"github.com/caddy-websms/websms/directory"
	"github.com/caddy-websms/websms/internal/cookies"
	"github.com/caddy-websms/websms/internal/firstfactor"
	"github.com/caddy-websms/websms/internal/pages"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/internal/telemetry"
	"github.com/caddy-websms/websms/number"
)

// getLogin shows the number form. Behind a first factor, it shows the masked number
// that the code will go to. A browser with a session goes to its return target.
func (f *Flow) getLogin(v *visit) error {
	rd := request.TargetOf(v.R, f.Prefix)
	if _, ok := v.Session(); ok && !request.PrefersJSON(v.R) {
		request.Redirect(v.W, http.StatusSeeOther, rd)
		return nil
	}
	mode := struct {
		Mode   string  `json:"mode"`
		Masked *string `json:"masked"`
	}{Mode: "number"}
	if f.FirstFactor != nil {
		masked := number.Mask(v.number.E164)
		mode.Mode, mode.Masked = "second_factor", &masked
	}
	if request.PrefersJSON(v.R) {
		return request.WriteJSON(v.W, http.StatusOK, "application/json", mode)
	}
	v.Probe()
	page := f.loginForm(v, rd)
	page.SignedOut = v.TakeNotice(cookies.NoticeSignedOut)
	return f.Pages.Write(v.W, http.StatusOK, page)
}

// loginForm returns the number form. It leads back to the code form while the browser has
// a challenge.
func (f *Flow) loginForm(v *visit, rd string) pages.Login {
	page := pages.Login{ReturnTo: rd, Example: f.Numbers.Example()}
	if f.FirstFactor != nil {
		page.Masked = number.Mask(v.number.E164)
	}
	if cookie, ok := f.challengeOf(v); ok {
		_, err := f.Engine.Get(v.R.Context(), f.Policy.Scope, cookie.ID)
		page.Pending = err == nil
	}
	return page
}

// refuseNumber shows the number form again with the mistake in the number. err is the
// error of number.Policy.Parse.
func (f *Flow) refuseNumber(v *visit, rd string, err error) error {
	again := f.loginForm(v, rd)
	again.Phone = v.form.Get("phone")
	if errors.Is(err, number.ErrCountry) {
		again.Problem = pages.CountryNotAllowed()
		return f.refuse(v.W, v.R, problemCountry, again)
	}
	again.Problem = pages.InvalidNumber(f.Numbers.Example())
	return f.refuse(v.W, v.R, problemInvalid, again)
}

// refusePerson answers a request if there is no number to send a code to. The first
// factor named no user, or the directory has no number for the user or no answer yet.
// err is the error of firstfactor.Resolver.Identify.
func (f *Flow) refusePerson(v *visit, err error) error {
	of := cookies.Challenge{User: v.user, ReturnTo: f.target(v)}
	switch {
	case errors.Is(err, firstfactor.ErrNobody):
		f.FirstFactor.WarnUnnamed()
		return f.refuseStep(v, &of, noNumber(pages.NoUser(f.Company)))
	case errors.Is(err, directory.ErrNoNumber):
		f.audit(telemetry.EntryNoNumber, f.entry(v, &of))
		return f.refuseStep(v, &of, noNumber(pages.NoNumber(f.Company)))
	}
	return f.refuseStep(v, &of, f.problemOf(err))
}
