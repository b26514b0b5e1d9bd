package websms

import (
	"net/url"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
)

func TestPathDoubt(t *testing.T) {
	for target, want := range map[string]doubt{
		"/": plain, "/x": plain, "/x/": plain, "/.well-known/x": plain, "/a.b/c.css": plain, "/%41/%7Ex": plain, "/caf%C3%A9": plain, "/a b"[:2]: plain, "/x~": plain, "/~user/x": plain,
		"/x?a=../;%2f//": plain, "/a:b": plain, "/a%20b": plain, "/x+y": plain, "/%E2%80%A6": plain, "*": plain, "http://h/x": plain, "/-/_/$&'()*,=@": plain,
		"/x;jsessionid=1": mild, "/x;": mild, "/;/x": mild, "/x/..;/y": mild, "/caf%E9": mild, "/%c0%af": mild, "/%ff;x": mild,
		"/.": doubtful, "/..": doubtful, "/x/./y": doubtful, "/x/../y": doubtful, "/...": doubtful, "//x": doubtful, "/x//": doubtful, "/x//y": doubtful, "//": doubtful,
		`/x\y`: doubtful, "/%5cx": doubtful, "/%5Cx": doubtful, "/%2fx": doubtful, "/x%2Fy": doubtful, "/%2e": doubtful, "/x%2ey": doubtful, "/x%3by": doubtful, "/%25": doubtful, "/%252e": doubtful, "/%25252f": doubtful,
		"/%3f": doubtful, "/%23": doubtful, "/x#y": doubtful, "/%00": doubtful, "/%1f": doubtful, "/%7f": doubtful, "/%0ax": doubtful,
		"/x.": doubtful, "/x./y": doubtful, "/x%20": doubtful, "/x%20/y": doubtful, "/x::$DATA": doubtful, "/x%3A:": doubtful, "/a:::": doubtful, "/progra~1": doubtful, "/x%7e2": doubtful, "/x%7E%31": doubtful,
		"/x;/..": doubtful, "/x;%2f": doubtful, "/%E9/%2e": doubtful, "http:x/y": doubtful, "http://h": doubtful, "http://h//x": doubtful,
	} {
		r := harness.AsRequest(target)
		if r == nil {
			t.Errorf("%q: net/http refuses it", target)
			continue
		}
		if got := requestDoubt(r); got != want {
			t.Errorf("%q: doubt %d; want %d", target, got, want)
		}
	}
}

// What a rewrite left is judged as well as what the client sent.
func TestDoubtAfterARewrite(t *testing.T) {
	for _, c := range []struct {
		sent string
		left url.URL
		want doubt
	}{
		{"/x", url.URL{Path: "/y"}, plain},
		{"/x/../y", url.URL{Path: "/y"}, doubtful},
		{"/x", url.URL{Path: "/y/../z"}, doubtful},
		{"/x", url.URL{Path: "/y/z", RawPath: "/y%2fz"}, doubtful},
		{"/x", url.URL{Path: "/y%2fz"}, doubtful},
		{"/x;a", url.URL{Path: "/y"}, mild},
		{"/x", url.URL{Path: "/y;a"}, mild},
		{"/x", url.URL{Path: "/y", RawPath: "/%zz"}, doubtful},
		{"/x", url.URL{Path: "y"}, doubtful},
		{"/x", url.URL{Path: ""}, doubtful},
	} {
		r := harness.AsRequest(c.sent)
		r.URL = &c.left
		if got := requestDoubt(r); got != c.want {
			t.Errorf("%s rewritten to %+v: doubt %d; want %d", c.sent, c.left, got, c.want)
		}
	}
}
