package flow

import (
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-websms/websms/internal/cookies"
	"github.com/caddy-websms/websms/internal/request"
	"github.com/caddy-websms/websms/internal/telemetry"
	"github.com/caddy-websms/websms/number"
)

// getSession answers with the browser's session in JSON, or with status 401.
func (f *Flow) getSession(v *visit) error {
	s, ok := v.Session()
	if !ok {
		v.W.Header()["Www-Authenticate"] = []string{`WebSMS login="` + f.Prefix + `/login"`}
		return request.WriteJSON(v.W, http.StatusUnauthorized, "application/problem+json", problemUnverified)
	}
	return request.WriteJSON(v.W, http.StatusOK, "application/json", struct {
		Verified   bool      `json:"verified"`
		Number     string    `json:"number,omitempty"`
		User       string    `json:"user,omitempty"`
		Means      string    `json:"means"`
		VerifiedAt time.Time `json:"verified_at"`
		ExpiresAt  time.Time `json:"expires_at"`
	}{
		true, telemetry.Mask(s.Number), s.User, s.Means.String(),
		s.Issued.UTC().Truncate(time.Second), f.Jar.Life.Expires(&s).UTC().Truncate(time.Second),
	})
}

// postLogout revokes the browser's sessions and deletes the cookies of its session and
// challenge. The device cookie stays.
func (f *Flow) postLogout(v *visit) error {
	if s, ok := v.EndSessions(); ok {
		of := cookies.Challenge{User: s.User, Number: number.Number{E164: s.Number}}
		f.audit(telemetry.EntryLoggedOut, f.entry(v, &of), zap.String("session", s.ID.String()))
	}
	v.DropSession()
	v.DropChallenge()
	if request.PrefersJSON(v.R) {
		v.W.Header()["Cache-Control"] = []string{"no-store"}
		v.W.WriteHeader(http.StatusNoContent)
		return nil
	}
	v.LeaveNotice(cookies.NoticeSignedOut)
	request.Redirect(v.W, http.StatusSeeOther, "/")
	return nil
}
