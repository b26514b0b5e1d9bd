package identity

import (
	"net/http"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/internal/harness"
)

func TestAlias(t *testing.T) {
	for _, c := range []struct {
		name, of string
		want     bool
	}{
		{"X-Verified-Number", "X-Verified-Number", true},
		{"x-verified-number", "X-Verified-Number", true},
		{"X_VERIFIED_NUMBER", "X-Verified-Number", true},
		{"X.Verified~Number", "X-Verified-Number", true},
		{"X!Verified^Number", "X-Verified-Number", true},
		{"X-Verified-Numbers", "X-Verified-Number", false},
		{"X-Verified-Numbe", "X-Verified-Number", false},
		{"X--Verified-Number", "X-Verified-Number", false},
		{"XaVerified-Number", "X-Verified-Number", false},
		{"X-Verified0Number", "X-Verified-Number", false},
		{"Remote-User1", "Remote-User1", true},
		{"Remote_UserQ", "Remote-User1", false}, // Q is 1 with another bit
		{"Remote-User\x11", "Remote-User1", false},
		{"@ser", "`ser", true}, // neither is a letter
		{"", "", true},
	} {
		if got := isAlias(c.name, c.of); got != c.want {
			t.Errorf("isAlias(%q, %q) is %t", c.name, c.of, got)
		}
	}
}

// isAlias compares two names as CGI writes them.
func TestAliasIsDefined(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[!-~]{0,6}`)
		a, b := name.Draw(t, "a"), name.Draw(t, "b")
		if rapid.Bool().Draw(t, "related") && a != "" {
			mutated := []byte(a)
			mutated[rapid.IntRange(0, len(a)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 6).Draw(t, "bit")
			b = string(mutated)
		}
		if got, want := isAlias(a, b), harness.CGIName(a) == harness.CGIName(b); got != want {
			t.Fatalf("isAlias(%q, %q) is %t", a, b, got)
		}
	})
}

func TestScrub(t *testing.T) {
	id := New("", "remote-user")
	for _, c := range []struct{ in, want http.Header }{
		{http.Header{}, http.Header{}},
		{http.Header{"X-Verified-User": {"not ours, by this configuration"}},
			http.Header{"X-Verified-User": {"not ours, by this configuration"}}},
		{http.Header{"Remote-User": {"a", "b"}, "X_verified-Number": {"c"}, "Accept": {"*/*"}}, http.Header{"Accept": {"*/*"}}},
		{http.Header{"remote_user": {"set by a handler, without canonical form"}}, http.Header{}},
		{http.Header{"Connection": {"close"}}, http.Header{"Connection": {"close"}}},
		{http.Header{"Connection": {" keep-alive ,,x"}}, http.Header{"Connection": {" keep-alive ,,x"}}},
		{http.Header{"Connection": {"X-Verified-Number"}}, http.Header{}},
		{http.Header{"Connection": {"Upgrade, x_verified_number", "REMOTE-USER", "x"}}, http.Header{"Connection": {"Upgrade, x"}}},
		{http.Header{"Connection": {",Remote-User,,"}}, http.Header{}},
	} {
		r := &http.Request{Header: c.in.Clone(), Trailer: c.in.Clone()}
		id.Scrub(r)
		if !sameHeader(r.Header, c.want) {
			t.Errorf("scrub of %v leaves %v; want %v", c.in, r.Header, c.want)
		}
		if len(r.Trailer) > 0 {
			t.Errorf("scrub leaves the trailers %v", r.Trailer)
		}
	}
}

func sameHeader(a, b http.Header) bool {
	if len(a) != len(b) {
		return false
	}
	for name, values := range a {
		if !slices.Equal(values, b[name]) {
			return false
		}
	}
	return true
}
