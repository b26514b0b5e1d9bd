package request

import (
	"net/url"
	"path"
	"strings"
	"testing"
	"unicode/utf8"

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
	for rd, want := range harness.MendedTargets {
		if got := sameOrigin(rd); got != want {
			t.Errorf("sameOrigin(%q) is %q; want %q", harness.Excerpt(rd), harness.Excerpt(got), want)
		}
	}
	for _, rd := range []string{"/" + strings.Repeat("x", maxReturn-1), "/x?" + strings.Repeat("%", maxReturn-3)} {
		if got := sameOrigin(rd); got != rd {
			t.Errorf("a target of %d bytes becomes one of %d", len(rd), len(got))
		}
	}
	// A path that is escaped many times costs time at each decoding, so it is refused.
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
	for rd := range harness.MendedTargets {
		f.Add(rd)
	}
	const prefix = "/.websms"
	f.Fuzz(func(t *testing.T, rd string) {
		got := ReturnTarget(rd, prefix)
		if again := ReturnTarget(got, prefix); again != got {
			t.Fatalf("target(%q) is %q, and of that %q", rd, got, again)
		}
		if len(got) > maxReturn || !utf8.ValidString(got) {
			t.Fatalf("target(%q) is %q, which no page can hold", rd, got)
		}
		location := EscapeNonASCII(got)
		if strings.ContainsFunc(location, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			t.Fatalf("target(%q) makes a header of %q", rd, location)
		}
		sent, _, _ := strings.Cut(rd, "#")
		_, query, _ := strings.Cut(sent, "?")
		left, _, _ := strings.Cut(got, "#")
		if _, kept, ok := strings.Cut(left, "?"); ok && EscapeNonASCII(kept) != EscapeNonASCII(query) {
			t.Fatalf("the query of %q becomes %q", rd, kept)
		}
		end := strings.IndexAny(location, "?#")
		if end < 0 {
			end = len(location)
		}
		for path := location[:end]; ; { // a server behind the gate may decode it again and again
			if !harness.StaysHere(path+location[end:]) || !harness.StaysHere(path) {
				t.Fatalf("target(%q) leads to another origin as %q", rd, path)
			}
			decoded := unescape(path)
			if decoded == path {
				break
			}
			path = decoded
		}
		u, err := url.Parse("http://app.example.com" + location)
		if err == nil && (u.Host != "app.example.com" || isOwn(u.Path, prefix) || isOwn(path.Clean(u.Path), prefix)) {
			t.Fatalf("target(%q) leads to %q", rd, u)
		}
	})
}
