package request

import (
	"io"
	"net/http"
	"strings"
)

// privateWriter keeps shared caches from storing the answer to a verified request. The
// application may have marked the answer as public, and it may carry the gate's cookie.
// privateWriter changes nothing else in the answer.
type privateWriter struct {
	http.ResponseWriter
	cookie string    // a Set-Cookie field, or ""
	begun  bool      // the final header was written
	values [1]string // the value of Cache-Control
}

// privateHijacker is a privateWriter on a connection that a handler can hijack.
type privateHijacker struct {
	privateWriter
	http.Hijacker
}

// PrivateWriter writes an answer that [Private] has made private.
type PrivateWriter interface {
	http.ResponseWriter
	// Begin completes the header, if nobody has written it.
	Begin()
}

// Private holds the writer of one private answer, in both of its forms. The zero
// Private is ready for one answer.
type Private struct{ writer privateHijacker }

// On returns a writer on w that makes the answer private, and adds a Set-Cookie field
// to it; "" adds none. An error page is not written through this writer and may be
// public, so it gets no cookie.
func (p *Private) On(w http.ResponseWriter, cookie string) PrivateWriter {
	p.writer.ResponseWriter, p.writer.cookie = w, cookie
	if hijacker, ok := w.(http.Hijacker); ok {
		p.writer.Hijacker = hijacker
		return &p.writer
	}
	return &p.writer.privateWriter
}

// Begin completes the header. It is called before a header with a final status
// goes out, and once more when the handlers have returned: if none of them wrote
// anything, net/http sends the header then.
func (w *privateWriter) Begin() {
	if !w.begun {
		makePrivate(w.Header(), &w.values)
		w.setCookie()
	}
}

// setCookie adds the Set-Cookie field, and marks the header as complete.
func (w *privateWriter) setCookie() {
	w.begun = true
	if w.cookie != "" {
		w.Header().Add("Set-Cookie", w.cookie)
	}
}

// WriteHeader implements http.ResponseWriter. It leaves an informational answer as it is,
// because no cache stores one. No other answer follows a switch of protocols, so its
// header gets the cookie (RFC 9110, 15.2).
func (w *privateWriter) WriteHeader(status int) {
	switch {
	case w.begun:
	case status == http.StatusSwitchingProtocols:
		w.setCookie()
	case status >= 200:
		w.Begin()
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *privateWriter) Write(p []byte) (int, error) {
	w.Begin()
	return w.ResponseWriter.Write(p)
}

// WriteString implements io.StringWriter.
func (w *privateWriter) WriteString(s string) (int, error) {
	w.Begin()
	return io.WriteString(w.ResponseWriter, s)
}

// ReadFrom implements io.ReaderFrom, by which net/http uses sendfile.
func (w *privateWriter) ReadFrom(r io.Reader) (int64, error) {
	w.Begin()
	return io.Copy(w.ResponseWriter, r)
}

// FlushError is called by http.ResponseController.
func (w *privateWriter) FlushError() error {
	w.Begin()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (w *privateWriter) Flush() { _ = w.FlushError() }

// Push implements http.Pusher.
func (w *privateWriter) Push(target string, opts *http.PushOptions) error {
	if pusher, ok := w.ResponseWriter.(http.Pusher); ok {
		return pusher.Push(target, opts)
	}
	return http.ErrNotSupported
}

// Unwrap is called by http.ResponseController.
func (w *privateWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// MakePrivate forbids shared caches to store an answer with this header
// (RFC 9111, 5.2.2.7). The application's other directives stay as they are.
func MakePrivate(h http.Header) { makePrivate(h, new([1]string)) }

// makePrivate does what MakePrivate does, and puts the value of Cache-Control into
// room.
func makePrivate(h http.Header, room *[1]string) {
	var one [1]string // most answers have at most one such field
	fields := one[:0]
	for name, values := range h {
		switch {
		case len(name) < len("Cache-Control"):
			if strings.EqualFold(name, "Edge-Control") {
				delete(h, name)
			}
		case strings.EqualFold(name, "Cache-Control"):
			fields = append(fields, values...)
			if name != "Cache-Control" {
				delete(h, name)
			}
		case ForSharedCaches(name):
			delete(h, name)
		}
	}
	room[0] = privateDirectives(fields)
	h["Cache-Control"] = room[:]
}

// ForSharedCaches reports whether a field overrides Cache-Control for CDNs and
// reverse proxies. These are CDN-Cache-Control (RFC 9213) and its variants
// (Cloudflare-CDN-Cache-Control, X-LiteSpeed-Cache-Control), and the older fields
// of Fastly (Surrogate-Control) and nginx (X-Accel-Expires).
func ForSharedCaches(name string) bool {
	const cacheControl = "-Cache-Control"
	return len(name) > len(cacheControl) && strings.EqualFold(name[len(name)-len(cacheControl):], cacheControl) ||
		strings.EqualFold(name, "Surrogate-Control") || strings.EqualFold(name, "X-Accel-Expires")
}

// privateDirectives joins Cache-Control fields into one value that forbids shared
// caches to store the answer. If one of the fields is malformed, it returns only
// "private".
func privateDirectives(fields []string) string {
	const private = "private"
	kept := make([]string, 0, 4)
	for _, field := range fields {
		quoted, start := false, 0
		for i := 0; i <= len(field); i++ {
			switch {
			case i < len(field) && quoted && field[i] == '\\':
				i++ // a quoted pair (RFC 9110, 5.6.4)
			case i < len(field) && field[i] == '"':
				quoted = !quoted
			case i == len(field) && quoted:
				return private
			case i == len(field) || field[i] == ',' && !quoted:
				directive := strings.TrimSpace(field[start:i])
				start = i + 1
				name, _, _ := strings.Cut(directive, "=")
				switch strings.ToLower(strings.TrimSpace(name)) {
				case "", "public", "s-maxage", private:
				default:
					kept = append(kept, directive)
				}
			}
		}
		if start <= len(field) { // a backslash at the end of a quoted string
			return private
		}
	}
	if len(kept) == 1 && strings.EqualFold(kept[0], "no-store") {
		return kept[0]
	}
	return strings.Join(append(kept, private), ", ")
}
