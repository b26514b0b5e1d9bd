package request

import (
	"net/url"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
)

func TestPathDoubt(t *testing.T) {
	for target, want := range map[string]Doubt{
		"/": Plain, "/x": Plain, "/x/": Plain, "/.well-known/x": Plain, "/a.b/c.css": Plain, "/%41/%7Ex": Plain,
		"/caf%C3%A9": Plain, "/a b"[:2]: Plain, "/x~": Plain, "/~user/x": Plain,
		"/x?a=../;%2f//": Plain, "/a:b": Plain, "/a%20b": Plain, "/x+y": Plain, "/%E2%80%A6": Plain, "*": Plain,
		"http://h/x": Plain, "/-/_/$&'()*,=@": Plain,
		"/x;jsessionid=1": mild, "/x;": mild, "/;/x": mild, "/x/..;/y": mild, "/caf%E9": mild, "/%c0%af": mild, "/%ff;x": mild,
		"/.": Doubtful, "/..": Doubtful, "/x/./y": Doubtful, "/x/../y": Doubtful, "/...": Doubtful, "//x": Doubtful,
		"/x//": Doubtful, "/x//y": Doubtful, "//": Doubtful,
		`/x\y`: Doubtful, "/%5cx": Doubtful, "/%5Cx": Doubtful, "/%2fx": Doubtful, "/x%2Fy": Doubtful, "/%2e": Doubtful,
		"/x%2ey": Doubtful, "/x%3by": Doubtful, "/%25": Doubtful, "/%252e": Doubtful, "/%25252f": Doubtful,
		"/%3f": Doubtful, "/%23": Doubtful, "/x#y": Doubtful, "/%00": Doubtful, "/%1f": Doubtful, "/%7f": Doubtful, "/%0ax": Doubtful,
		"/x.": Doubtful, "/x./y": Doubtful, "/x%20": Doubtful, "/x%20/y": Doubtful, "/x::$DATA": Doubtful, "/x%3A:": Doubtful,
		"/a:::": Doubtful, "/progra~1": Doubtful, "/x%7e2": Doubtful, "/x%7E%31": Doubtful,
		"/x;/..": Doubtful, "/x;%2f": Doubtful, "/%E9/%2e": Doubtful, "http:x/y": Doubtful, "http://h": Doubtful, "http://h//x": Doubtful,
	} {
		r := harness.AsRequest(target)
		if r == nil {
			t.Errorf("%q: net/http refuses it", target)
			continue
		}
		if got := DoubtOf(r); got != want {
			t.Errorf("%q: doubt %d; want %d", target, got, want)
		}
	}
}

// What a rewrite left is judged as well as what the client sent.
func TestDoubtAfterARewrite(t *testing.T) {
	for _, c := range []struct {
		sent string
		left url.URL
		want Doubt
	}{
		{"/x", url.URL{Path: "/y"}, Plain},
		{"/x/../y", url.URL{Path: "/y"}, Doubtful},
		{"/x", url.URL{Path: "/y/../z"}, Doubtful},
		{"/x", url.URL{Path: "/y/z", RawPath: "/y%2fz"}, Doubtful},
		{"/x", url.URL{Path: "/y%2fz"}, Doubtful},
		{"/x;a", url.URL{Path: "/y"}, mild},
		{"/x", url.URL{Path: "/y;a"}, mild},
		{"/x", url.URL{Path: "/y", RawPath: "/%zz"}, Doubtful},
		{"/x", url.URL{Path: "y"}, Doubtful},
		{"/x", url.URL{Path: ""}, Doubtful},
	} {
		r := harness.AsRequest(c.sent)
		r.URL = &c.left
		if got := DoubtOf(r); got != c.want {
			t.Errorf("%s rewritten to %+v: doubt %d; want %d", c.sent, c.left, got, c.want)
		}
	}
}
