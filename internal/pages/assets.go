package pages

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// An asset is a file that a page loads, such as its style sheet.
type asset struct {
	contentType string
	body        []byte
}

// contentTypes are written out rather than asked of package mime, whose answers
// depend on the machine.
var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

// fingerprint reads the embedded assets. The first map holds them by the name
// under which they are served, the second leads from a file's plain name to it.
// The name carries 64 bits of the content's SHA-256, so that it changes with the
// content and can be cached for ever (RFC 8246).
func fingerprint() (assets map[string]asset, names map[string]string, err error) {
	entries, err := files.ReadDir("assets")
	if err != nil {
		return nil, nil, fmt.Errorf("pages: assets: %w", err)
	}
	assets, names = make(map[string]asset), make(map[string]string)
	for _, e := range entries {
		body, err := files.ReadFile("assets/" + e.Name())
		if err != nil {
			return nil, nil, fmt.Errorf("pages: asset %s: %w", e.Name(), err)
		}
		ext := path.Ext(e.Name())
		sum := sha256.Sum256(body)
		name := strings.TrimSuffix(e.Name(), ext) + "." + hex.EncodeToString(sum[:8]) + ext
		assets[name] = asset{contentTypes[ext], body}
		names[e.Name()] = name
	}
	return assets, names, nil
}

// ServeAsset answers with the asset of that name: what follows "assets/" in the
// request's path, such as "style.0123456789abcdef.css". It reports false, having
// written nothing, when there is none, and the caller answers 404. Methods other
// than GET and HEAD get 405.
func (p *Pages) ServeAsset(w http.ResponseWriter, r *http.Request, name string) bool {
	a, ok := p.assets[name]
	if !ok {
		return false
	}
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return true
	}
	h.Set("Content-Type", a.contentType)
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		// A client that has gone away is nobody's error.
		_, _ = w.Write(a.body)
	}
	return true
}
