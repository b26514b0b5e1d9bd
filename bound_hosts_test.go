package websms

import (
	"strings"
	"testing"
)

// Before Caddy has started, no host is proven. An invalid name is never proven.
func TestBoundHostBeforeTheStart(t *testing.T) {
	var none *boundHosts
	if none.proves("app.example.com") {
		t.Error("a host is proven before it can be known")
	}
	all := &boundHosts{site: []string{"app.example.com", "*.example.org", "*.nz"},
		certified: func(host string) bool { return strings.HasPrefix(host, "c.") }}
	for host, want := range map[string]bool{
		"app.example.com": true, "a.example.org": true, "a.b.example.org": false, "example.org": false, "evil.nz": false,
		"c.example": true, "evil.example": false,
		"": false, "c.exa mple": false, "c." + strings.Repeat("a.", 40) + "nz": false, "[::1]": false,
	} {
		if got := all.proves(host); got != want {
			t.Errorf("%q is proven: %t", host, got)
		}
	}
}
