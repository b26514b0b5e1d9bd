package request

import (
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
)

func TestReturnTarget(t *testing.T) {
	for _, rd := range harness.HostileTargets {
		if got := sameOrigin(rd); got != "/" {
			t.Errorf("sameOrigin(%q) is %q", rd, got)
		}
	}
	for _, rd := range harness.HarmlessTargets {
		if got := sameOrigin(rd); got != rd {
			t.Errorf("sameOrigin(%q) is %q", rd, got)
		}
	}
	long := "/" + strings.Repeat("x", maxReturn-1)
	if got := sameOrigin(long); got != long {
		t.Errorf("a target of %d bytes becomes one of %d", len(long), len(got))
	}
	if got := sameOrigin(long + "x"); got != "/" {
		t.Errorf("a target of %d bytes becomes one of %d", len(long)+1, len(got))
	}
	// Each level of escapes is another look at it all, which a stranger could
	// have us take a thousand times.
	if got := sameOrigin("/%" + strings.Repeat("25", 3) + "20x"); got == "/" {
		t.Errorf("a target encoded 4 times becomes %q", got)
	}
	if got := sameOrigin("/%" + strings.Repeat("25", 900) + "20x"); got != "/" {
		t.Errorf("a target encoded 901 times becomes %q", got[:min(len(got), 400)])
	}
}

func TestTargetIsNeverOurs(t *testing.T) {
	const prefix = "/.websms"
	for _, rd := range harness.OwnTargets {
		if got := ReturnTarget(rd, prefix); got != "/" {
			t.Errorf("target(%q) is %q", rd, got)
		}
		if got := LoginURL(rd, prefix); got != "/.websms/login?rd=%2F" {
			t.Errorf("loginURL(%q) is %q", rd, got)
		}
	}
	for _, rd := range harness.HarmlessTargets {
		if got := ReturnTarget(rd, prefix); got != rd {
			t.Errorf("target(%q) is %q", rd, got)
		}
	}
}

func FuzzReturnTarget(f *testing.F) {
	for _, list := range [][]string{harness.HostileTargets, harness.HarmlessTargets, harness.OwnTargets} {
		for _, rd := range list {
			f.Add(rd)
		}
	}
	const prefix = "/.websms"
	f.Fuzz(func(t *testing.T, rd string) {
		got := ReturnTarget(rd, prefix)
		if got != rd && got != "/" {
			t.Fatalf("target(%q) is %q: neither it nor /", rd, got)
		}
		if again := ReturnTarget(got, prefix); again != got {
			t.Fatalf("target(%q) is %q, and of that %q", rd, got, again)
		}
		location := EscapeNonASCII(got)
		if strings.ContainsFunc(location, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			t.Fatalf("target(%q) makes a header of %q", rd, location)
		}
		for form := location; ; { // whatever decodes it behind us
			if !harness.StaysHere(form) {
				t.Fatalf("target(%q) leads to another origin as %q", rd, form)
			}
			decoded := unescape(form)
			if decoded == form {
				break
			}
			form = decoded
		}
		u, err := url.Parse("http://app.example.com" + location)
		if err == nil && (u.Host != "app.example.com" || isOwn(u.Path, prefix) || isOwn(path.Clean(u.Path), prefix)) {
			t.Fatalf("target(%q) leads to %q", rd, u)
		}
	})
}
