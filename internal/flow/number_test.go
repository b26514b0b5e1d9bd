package flow

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-websms/websms/internal/cookies"
	"github.com/caddy-websms/websms/session"
)

// A session without a number is told to programs without one, and not with an empty one.
func TestAnswerWithoutNumber(t *testing.T) {
	f := New(Flow{Jar: &cookies.Jar{Life: session.Life{TTL: time.Hour}}})
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{}))
	r.Header.Set("Accept", "application/json")
	answered := httptest.NewRecorder()
	s := session.Session{ID: session.NewID(), User: "ada", Means: session.RecoveryCode}
	v := &visit{Browser: f.Jar.Browser(answered, r, time.Now())}
	if err := f.answerVerified(v, &cookies.Challenge{ReturnTo: "/"}, &s); err != nil || strings.Contains(answered.Body.String(), "number") {
		t.Errorf("programs are told %s, %v", answered.Body, err)
	}
}
