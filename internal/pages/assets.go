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

// contentTypes maps file extensions to content types. The answers of package mime depend on the
// machine.
var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

// fingerprint reads the embedded assets. The first map holds the assets by the name under which
// they are served. The second map leads from the plain name of a file, such as "style.css", to that
// name. The served name carries 64 bits of the content's SHA-256. So it changes with the content,
// and browsers can cache it without asking again (RFC 8246).
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

// ServeAsset answers with one asset. The name is the part of the request's path after "assets/",
// such as "style.0123456789abcdef.css". If there is no such asset, ServeAsset writes nothing and
// returns false, and the caller answers 404. Methods other than GET and HEAD get 405.
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
		// Ignore the error: the client has closed the connection.
		_, _ = w.Write(a.body)
	}
	return true
}
