package websms_test

import (
	"net/http"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
)

// A gate with a matcher does not see every request to the application. A request
// that it passes over cannot carry an identity header either, in any spelling. A
// request that it lets through keeps its headers, past another gate's matcher too.
func TestIdentityBesideTheMatcher(t *testing.T) {
	w := harness.Start(t, harness.Setup{
		Matcher: "/admin/*",
		Front: `websms_otp /hr/* {
			company Acme
			prefix /hr-login
			headers {
				number X-Hr-Number
			}
		}`,
	})
	b := w.Browser()
	forged := http.Header{
		"X-Verified-Number": {"+6421999999"}, "X_verified.Number": {"+6421999999"}, "X-Verified-User": {"root"},
		"X-Hr-Number": {"+6421999999"}, "X-Other": {"kept"}, "Connection": {"X-Verified-Number"},
	}
	last := func(path string) http.Header {
		t.Helper()
		harness.WantStatus(t, path, b.Get(path, forged), http.StatusOK)
		seen := w.App.Seen()
		return seen[len(seen)-1].Header
	}
	if found := harness.Identities(last("/public"), "X-Verified-Number", "X-Verified-User", "X-Hr-Number"); len(found) != 0 {
		t.Errorf("beside the gates a client passes for %v", found)
	}
	harness.WantStatus(t, "a stranger", b.Get("/admin/x", harness.Page), http.StatusFound)
	b.Login("+6421234567")
	for path, want := range map[string]string{"/admin/x": "X-Verified-Number", "/hr/x": "X-Hr-Number"} {
		h := last(path)
		found := harness.Identities(h, "X-Verified-Number", "X-Verified-User", "X-Hr-Number")
		if len(found) != 1 || h.Get(want) != "+6421234567" || h.Get("X-Other") != "kept" {
			t.Errorf("%s: the application is told %v", path, found)
		}
	}
	harness.WantStatus(t, "the other gate's own pages", b.Get("/hr-login/session", harness.API), http.StatusOK)
}
