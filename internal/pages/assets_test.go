package pages

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func serve(p *Pages, method, name string) (*httptest.ResponseRecorder, bool) {
	rec := httptest.NewRecorder()
	ok := p.ServeAsset(rec, httptest.NewRequest(method, prefix+"/assets/"+strings.ReplaceAll(name, " ", "%20"), nil), name)
	return rec, ok
}

func TestAssets(t *testing.T) {
	p := newPages(t)
	types := map[string]string{"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
	if len(p.assets) != len(types) {
		t.Errorf("%d assets, want one of each type", len(p.assets))
	}
	for name := range p.assets {
		parts := strings.Split(name, ".")
		if len(parts) != 3 {
			t.Fatalf("%q is not name.fingerprint.type", name)
		}
		rec, ok := serve(p, http.MethodGet, name)
		if !ok || rec.Code != http.StatusOK || rec.Body.Len() == 0 {
			t.Fatalf("%s: %v, %d, %d bytes", name, ok, rec.Code, rec.Body.Len())
		}
		sum := sha256.Sum256(rec.Body.Bytes())
		if len(parts[1]) < 16 || !strings.HasPrefix(hex.EncodeToString(sum[:]), parts[1]) {
			t.Errorf("%s: its content has the fingerprint %x", name, sum)
		}
		for header, want := range map[string]string{
			"Content-Type":           types[parts[2]],
			"Cache-Control":          "public, max-age=31536000, immutable",
			"X-Content-Type-Options": "nosniff",
			"Content-Length":         strconv.Itoa(rec.Body.Len()),
		} {
			if got := rec.Header().Get(header); got != want {
				t.Errorf("%s: %s = %q, want %q", name, header, got, want)
			}
		}

		head, ok := serve(p, http.MethodHead, name)
		if !ok || head.Body.Len() > 0 || head.Header().Get("Content-Length") != rec.Header().Get("Content-Length") {
			t.Errorf("HEAD %s: %v, %d bytes, %v", name, ok, head.Body.Len(), head.Header())
		}
		post, ok := serve(p, http.MethodPost, name)
		if !ok || post.Code != http.StatusMethodNotAllowed || post.Header().Get("Allow") != "GET, HEAD" || post.Body.Len() > 0 {
			t.Errorf("POST %s: %v, %d, %v", name, ok, post.Code, post.Header())
		}
	}
}

func TestNoSuchAsset(t *testing.T) {
	p := newPages(t)
	for _, name := range []string{"", "style.css", "script.0000000000000000.js", "../templates/layout.html", "/etc/passwd", "style", "."} {
		if rec, ok := serve(p, http.MethodGet, name); ok || rec.Body.Len() > 0 || len(rec.Header()) > 0 {
			t.Errorf("%q was served: %d %v", name, rec.Code, rec.Header())
		}
	}
}

// All links and assets begin with the prefix of the gate.
func TestPrefix(t *testing.T) {
	p, err := New("/team/sign-in", "Harbour Bank")
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range everyView() {
		if slices.Contains([]string{"form not sent", "form of other site", "frame"}, name) {
			continue // the caller chooses the link of these pages
		}
		if body := write(t, p, 200, v).Body.String(); strings.Contains(body, prefix) || !strings.Contains(body, `"/team/sign-in/assets/`) {
			t.Errorf("%s leads elsewhere:\n%s", name, body)
		}
	}
}
