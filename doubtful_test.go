package websms_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"pgregory.net/rapid"

	"github.com/caddy-websms/websms"
	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/request"
)

// readers are the ways in which servers behind a proxy read the path of a request target.
var readers = map[string]func(raw, decoded string) string{
	"Caddy":          func(_, decoded string) string { return caddyhttp.CleanPath(decoded, true) },
	"as it stands":   func(_, decoded string) string { return decoded },
	"resolved":       func(_, decoded string) string { return resolve(decoded) },
	"parameters cut": func(_, decoded string) string { return resolve(segmentwise(decoded, cutParameter)) },
	"cut at one":     func(_, decoded string) string { return before(decoded, ";") },
	"backslash":      func(_, decoded string) string { return resolve(strings.ReplaceAll(decoded, `\`, "/")) },
	"decoded twice":  func(_, decoded string) string { return resolve(harness.DecodeOnce(decoded)) },
	"decoded, cut":   func(_, decoded string) string { return before(before(harness.DecodeOnce(decoded), "?"), "#") },
	"Windows":        func(_, decoded string) string { return resolve(segmentwise(decoded, windowsName)) },
	"Windows, Tomcat": func(_, decoded string) string {
		return resolve(segmentwise(segmentwise(decoded, cutParameter), windowsName))
	},
	"WHATWG":          func(raw, _ string) string { return whatwgPath(raw) },
	"ISO 8859-1":      func(_, decoded string) string { return asLatin1(decoded) },
	"invalid dropped": func(_, decoded string) string { return resolve(strings.ToValidUTF8(decoded, "")) },
	"cut at a NUL":    func(_, decoded string) string { return before(decoded, "\x00") },
	"tabs dropped":    func(_, decoded string) string { return resolve(controls.ReplaceAllString(decoded, "")) },
	"overlong UTF-8": func(_, decoded string) string {
		return resolve(strings.NewReplacer("\xc0\xaf", "/", "\xc0\xae", ".", "\xe0\x80\xaf", "/", "\xc0\xbb", ";", "\xc1\x9c",
			`\`).Replace(decoded))
	},
}

var (
	controls  = regexp.MustCompile(`[\x00-\x1f\x7f]`)
	shortName = regexp.MustCompile(`~[0-9]`)
)

// resolve resolves dot segments, and keeps a slash at the end.
func resolve(p string) string { return caddyhttp.CleanPath("/"+p, true) }

func before(s, sep string) string { s, _, _ = strings.Cut(s, sep); return s }

func cutParameter(segment string) string { return before(segment, ";") }

// windowsName reads a file name as Windows does. A short name can mean any file, so it is taken for
// the guarded file.
func windowsName(segment string) string {
	if shortName.MatchString(segment) {
		return "admin"
	}
	segment = before(segment, "::")
	if segment == "." || segment == ".." {
		return segment
	}
	return strings.TrimRight(segment, ". ")
}

func segmentwise(p string, read func(string) string) string {
	segments := strings.Split(p, "/")
	for i := range segments {
		segments[i] = read(segments[i])
	}
	return strings.Join(segments, "/")
}

// whatwgPath returns `new URL(raw, "http://app").pathname`, decoded.
func whatwgPath(raw string) string {
	raw = strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(strings.Trim(raw, " "))
	raw = before(before(raw, "#"), "?")
	if strings.HasPrefix(raw, "//") {
		rest := strings.TrimLeft(raw, "/")
		i := strings.IndexByte(rest, '/')
		if i < 0 {
			return "/"
		}
		raw = rest[i:]
	}
	raw = segmentwise(raw, func(s string) string { return strings.NewReplacer("%2e", ".", "%2E", ".").Replace(s) })
	var out []string
	for segment := range strings.SplitSeq(strings.TrimPrefix(raw, "/"), "/") {
		switch segment {
		case ".":
		case "..":
			out = out[:max(0, len(out)-1)]
		default:
			out = append(out, segment)
		}
	}
	return harness.DecodeOnce("/" + strings.Join(out, "/"))
}

// asLatin1 reads each byte outside of UTF-8 as a character of ISO 8859-1.
func asLatin1(p string) string {
	var out []rune
	for len(p) > 0 {
		r, size := utf8.DecodeRuneInString(p)
		if r == utf8.RuneError && size == 1 {
			r = rune(p[0])
		}
		out, p = append(out, r), p[size:]
	}
	return string(out)
}

// atoms are the parts of the paths in the property test.
var atoms = []string{
	"/", "/", "/", "/", "admin", "admin", "ADMIN", "adm%69n", "public", "public", "x", "x.php", ".", "..", "/../", "/./",
	"//", "%2e", "%2E%2e", "%2f", "%2F", "%5c", `\`,
	";", ";", ";a=b", ";jsessionid=1", "%3b", "%25", "%252f", "%252e", "%00", "%09", "%0a", "%7f", "%20", "~1", "%7e2",
	"~", "::", ":", "%3a%3a$DATA", "$", "%E9", "%e9", "%c0%af", "%c0%ae", "%c1%9c", "%e0%80%af", "é", "%c3%a9",
	"%3f", "%23", "#", "%3fx", "...", "%", "%41", "-", "_", "+",
}

// matching returns a gate's matcher sets and its matcher of doubtful paths.
func matching(t testing.TB, config string) (caddyhttp.MatcherSets, *websms.MatchDoubtful) {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	var raw websms.MatchDoubtful
	if err := json.Unmarshal([]byte(`{"match":[`+config+`]}`), &raw); err != nil {
		t.Fatal(err)
	}
	both := &websms.MatchDoubtful{SetsRaw: append(caddyhttp.RawMatcherSets{}, raw.SetsRaw...)}
	loaded, err := ctx.LoadModule(&raw, "SetsRaw")
	if err != nil {
		t.Fatal(err)
	}
	var sets caddyhttp.MatcherSets
	if err := sets.FromInterface(loaded); err != nil {
		t.Fatal(err)
	}
	if err := both.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	return sets, both
}

// matches reports whether sets match one reading of a path.
func matches(t interface{ Fatal(...any) }, sets caddyhttp.MatcherSets, reading string) bool {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.URL = &url.URL{Path: reading}
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, new(caddyhttp.Server))
	match, err := sets.AnyMatchWithError(r)
	if err != nil {
		t.Fatal(err)
	}
	return match
}

// TestEveryReaderAgrees builds paths from spellings that have fooled other gates. If the gate lets
// a path through without a session, every reader must read it as Caddy's matcher does.
func TestEveryReaderAgrees(t *testing.T) {
	public, _ := matching(t, `{"path":["/public/*"]}`)
	gated, beside := matching(t, `{"path":["/admin/*","/admin"]}`)
	var passed, seen int
	try := func(t *rapid.T, target string) {
		r := harness.AsRequest(target)
		if r == nil {
			return
		}
		seen++
		bypassed := false
		if request.DoubtOf(r) == request.Plain {
			bypassed, _ = public.AnyMatchWithError(r)
		}
		besides := false
		if in, _ := gated.AnyMatchWithError(r); !in {
			in, err := beside.MatchWithError(r)
			if err != nil {
				t.Fatal(err)
			}
			besides = !in
		}
		for name, read := range readers {
			reading := read(target, r.URL.Path)
			if bypassed && !matches(t, public, reading) {
				t.Fatalf("%q passes by a bypass of /public/*, and reads %q (%s)", target, reading, name)
			}
			if besides && matches(t, gated, reading) {
				t.Fatalf("%q passes beside a gate of /admin/*, and reads %q (%s)", target, reading, name)
			}
		}
		if bypassed || besides {
			passed++
		}
	}
	paths := rapid.SliceOfN(rapid.SliceOfN(rapid.SampledFrom(atoms), 1, 9), 50, 50)
	rapid.Check(t, func(t *rapid.T) {
		for _, path := range paths.Draw(t, "paths") {
			try(t, "/"+strings.Join(path, ""))
		}
	})
	t.Logf("%d of %d paths passed unverified", passed, seen)
	if passed == 0 {
		t.Error("nothing passed: the test tests nothing")
	}
}

// A doubtful path counts as matched if the other conditions of the matcher hold.
func TestDoubtfulMatcher(t *testing.T) {
	for _, c := range []struct {
		set    string
		target string
		want   bool
	}{
		{`{"path":["/admin/*"]}`, "/x", false},
		{`{"path":["/admin/*"]}`, "/admin/x", false}, // the plain matcher matches it
		{`{"path":["/admin/*"]}`, "/x/../y", true},
		{`{"path":["/admin/*"],"method":["POST"]}`, "/x/../y", false},
		{`{"path":["/admin/*"],"method":["GET"]}`, "/x/../y", true},
		{`{"path_regexp":{"pattern":"^/admin"}}`, "/x%2fy", true},
		{`{"vars":{"{http.request.uri.path}":["/admin"]}}`, "/x.", true},
		{`{"expression":"path('/admin/*')"}`, "/x//y", true},
		{`{"file":{"root":"/","try_files":["/etc"]}}`, "/x//y", true},
		{`{"not":[{"path":["/public/*"]}]}`, "/public/../x", true},
		{`{"not":[{"path":["/public/*"]}],"method":["POST"]}`, "/public/../x", false},
		{`{"not":[{"path":["/public/*"],"method":["GET"]}]}`, "/public/../x", true},
		{`{"not":[{"path":["/public/*"]},{"method":["GET"]}]}`, "/public/../x", false},
		{`{"not":[{"not":[{"path":["/admin/*"]}]}]}`, "/public/../x", true},
		{`{"not":[{"not":[{"path":["/admin/*"]}],"method":["GET"]}]}`, "/public/../x", true},
		// Each reading is checked for a path parameter and for bytes of another encoding.
		{`{"path":["/admin/*"]}`, "/public/x;jsessionid=1", false},
		{`{"path":["/admin/*"]}`, "/caf%E9/x", false},
		{`{"path":["/admin/*"]}`, "/admin;/x", true},
		{`{"path":["/admin"]}`, "/admin;jsessionid=1", true},
		{`{"path":["/admin/*"]}`, "/x/..;/admin/x", true},
		{`{"path":["/admin/*"]}`, "/x/.;/admin/x", false},
		{`{"path":["/x/admin"]}`, "/x/.;a=b/admin", true},
		{`{"path":["/admin/*"]}`, "/;/admin/x", true},
		{`{"path":["/admin/*"]}`, "/;/x/admin/y", true},
		{`{"path":["/admin/*"]}`, "/%c0%af..%c0%afadmin/x", true},
		{`{"path":["/admin/*"]}`, "/x%c0%afadmin", false},
		{`{"path":["/admin/*"]}`, "/%c0%aeadmin/x", true},
		{`{"path":["/admin/*"]}`, "/adm%ffin/x", true},
		{`{"path":["/admin/*"]}`, "/x%c1%9cy", true},
		{`{"path":["/admin/*"]}`, "/admin.;x/y", true},
		{`{"path":["/admin/*"],"method":["POST"]}`, "/admin;/x", false},
		{`{"expression":"path('/admin/*')"}`, "/admin;/x", true},
		{`{"expression":"path('/admin/*')"}`, "/x;y", false},
		{`{"expression":"{http.request.uri.path} == '/admin/x'"}`, "/admin;/x", true},
		{`{"vars":{"{http.request.uri.path}":["/admin"]}}`, "/admin;x", true},
		{`{"vars":{"{http.request.uri.path}":["/admin"]}}`, "/public;x", false},
		{`{"path_regexp":{"pattern":"^/admin$"}}`, "/admin;x", true},
		{`{"path_regexp":{"pattern":"^/admin$"}}`, "/y;x", false},
		{`{"not":[{"path":["/public/*"]}]}`, "/public/x;jsessionid=1", false},
		{`{"not":[{"path":["/public/*"]}]}`, "/public/..;/x", true},
		{`{"not":[{"path":["/public/*"]}]}`, "/public;/x", true},
	} {
		_, m := matching(t, c.set)
		r := harness.AsRequest(c.target)
		got, err := m.MatchWithError(r)
		if err != nil || got != c.want {
			t.Errorf("%s beside %s: %t, %v; want %t", c.target, c.set, got, err, c.want)
		}
	}
}

// The directive's own path `/x/*` also covers `/x`. A named matcher covers only its own paths.
func TestFolderIsGated(t *testing.T) {
	harness.SetAccount(t)
	for matcher, want := range map[string]string{
		"/admin/*":      `"path":["/admin/*","/admin"]`,
		"/a/*/b/*":      `"path":["/a/*/b/*","/a/*/b"]`,
		"/admin*":       `"path":["/admin*"]`,
		"/*":            `"path":["/*"]`,
		"/admin":        `"path":["/admin"]`,
		"@guarded":      `"path":["/admin/*"]`,
		"/{$SECTION}/*": `"path":["/admin/*","/admin"]`,
	} {
		t.Setenv("SECTION", "admin")
		config, err := harness.Adapt("example.com {\n@guarded path /admin/*\nwebsms_otp " + matcher + " {\ncompany Acme\n}\n}")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(config), want) {
			t.Errorf("%s: %s; want %s", matcher, config, want)
		}
	}
}
