package request

import (
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// Doubt tells whether two servers could read one path in two ways.
type Doubt int

const (
	// Plain: every server reads the path as Caddy's matchers do.
	Plain Doubt = iota

	// mild: the only doubt is a path parameter (`;jsessionid=1`, RFC 3986, 3.3)
	// or bytes that are not UTF-8 (`%E9` of an old link). Readings lists the
	// meanings of such a path.
	mild

	// Doubtful: the meaning of the path depends on the server. Examples are
	// `/public/../admin`, `/admin%2fx` and `/admin.`.
	Doubtful
)

// DoubtOf returns the greater doubt of two paths: the one that the client sent, and the
// one after a rewrite in front of the gate.
func DoubtOf(r *http.Request) Doubt {
	d := pathDoubt(r.URL)
	sent := Asked(r)
	if d < Doubtful && sent != r.URL &&
		(sent.Path != r.URL.Path || sent.RawPath != r.URL.RawPath || sent.Opaque != r.URL.Opaque) {
		d = max(d, pathDoubt(sent))
	}
	return d
}

// pathDoubt judges the path of one URL.
func pathDoubt(u *url.URL) Doubt {
	if u.Opaque != "" { // `GET http:admin HTTP/1.1`: Caddy's matchers see no path, the upstream gets one
		return Doubtful
	}
	return max(escapedDoubt(u.RawPath), decodedDoubt(u.Path))
}

// escapedDoubt judges a path as it was sent, by the characters that are escaped
// in it.
func escapedDoubt(raw string) Doubt {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '%' {
			continue
		}
		if i+2 >= len(raw) {
			return Doubtful
		}
		hi, lo := unhex(raw[i+1]), unhex(raw[i+2])
		if hi < 0 || lo < 0 {
			return Doubtful
		}
		if c := byte(hi<<4 | lo); special[c] || c == '.' || c == '/' || c == ';' {
			return Doubtful // an escaped percent sign covers every greater depth
		}
		i += 2
	}
	return Plain
}

// special holds the bytes that make a decoded path doubtful: control characters, a
// backslash, and `%`, `?` and `#`. A URL.Path holds the last three only if they were
// escaped.
var special = func() (set [256]bool) {
	for c := range 0x20 {
		set[c] = true
	}
	for _, c := range []byte("\x7f\\%?#") {
		set[c] = true
	}
	return set
}()

// decodedDoubt judges a path that was decoded once.
func decodedDoubt(p string) Doubt {
	if p == "*" { // the target of `OPTIONS *` (RFC 9112, 3.2.4)
		return Plain
	}
	if p == "" || p[0] != '/' { // for an empty path, Caddy sends "/" to an upstream
		return Doubtful
	}
	d, ascii, start := Plain, true, 1
	for i := 1; i <= len(p); i++ {
		if i == len(p) || p[i] == '/' {
			if start < i && (p[i-1] == '.' || p[i-1] == ' ') || start == i && i < len(p) {
				return Doubtful // Windows drops dots and spaces at the end; `.` and `..` end in a dot too
			}
			start = i + 1
			continue
		}
		switch c := p[i]; {
		case special[c]:
			return Doubtful
		case c == ';':
			d = mild
		case c == ':' && p[i-1] == ':': // Windows reads a stream of a file
			return Doubtful
		case '0' <= c && c <= '9' && p[i-1] == '~': // Windows reads a short file name
			return Doubtful
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	if !ascii && !utf8.ValidString(p) {
		d = mild
	}
	return d
}

// Readings returns the ways in which servers read a path of mild doubt, the path
// itself first. It returns false if a reading holds a special byte, such as a
// backslash in an overlong UTF-8 form: then the path is doubtful.
func Readings(p string) ([]string, bool) {
	list := []string{p}
	add := func(reading string) {
		if !slices.Contains(list, reading) {
			list = append(list, reading)
		}
	}
	if !utf8.ValidString(p) {
		add(latin1(p))
		add(strings.ToValidUTF8(p, ""))
		add(strings.ToValidUTF8(p, "\ufffd"))
		add(overlong(p))
	}
	for _, reading := range list[:len(list):len(list)] {
		before, _, found := strings.Cut(reading, ";")
		if found {
			add(before)
			add(withoutParameters(reading))
		}
	}
	for _, reading := range list[:len(list):len(list)] {
		trimmed := trimSegments(reading)
		add(trimmed)
		if authority, ok := strings.CutPrefix(trimmed, "//"); ok { // a URL parser reads a host
			if i := strings.IndexByte(authority, '/'); i >= 0 {
				add(authority[i:])
			}
		}
		add(path.Clean(reading))
		add(path.Clean(trimmed))
	}
	for _, reading := range list {
		for i := range len(reading) {
			if special[reading[i]] {
				return nil, false
			}
		}
	}
	return list, true
}

// withoutParameters cuts each segment at its first semicolon, as Java's
// servers do.
func withoutParameters(p string) string {
	segments := strings.Split(p, "/")
	for i, segment := range segments {
		segments[i], _, _ = strings.Cut(segment, ";")
	}
	return strings.Join(segments, "/")
}

// trimSegments drops the dots and spaces at the end of each segment, as Windows
// does. It keeps the segments `.` and `..`.
func trimSegments(p string) string {
	segments := strings.Split(p, "/")
	for i, segment := range segments {
		if segment != "." && segment != ".." {
			segments[i] = strings.TrimRight(segment, ". ")
		}
	}
	return strings.Join(segments, "/")
}

// latin1 reads the bytes outside UTF-8 as ISO 8859-1.
func latin1(p string) string {
	var b strings.Builder
	for i := 0; i < len(p); {
		r, size := utf8.DecodeRuneInString(p[i:])
		if r == utf8.RuneError && size == 1 {
			r = rune(p[i])
		}
		b.WriteRune(r)
		i += size
	}
	return b.String()
}

// overlong decodes UTF-8 without asking for the shortest form, as old decoders
// do: the bytes C0 AF are a slash to them (RFC 3629, 10).
func overlong(p string) string {
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		c := p[i]
		more := 0
		switch {
		case c>>5 == 0b110:
			more = 1
		case c>>4 == 0b1110:
			more = 2
		case c>>3 == 0b11110:
			more = 3
		}
		r := rune(c)
		if more > 0 {
			r = rune(c) & (0x3f >> more)
		}
		n := 0
		for n < more && i+1+n < len(p) && p[i+1+n]>>6 == 0b10 {
			r = r<<6 | rune(p[i+1+n]&0x3f)
			n++
		}
		if n < more {
			r = rune(c)
		} else {
			i += n
		}
		b.WriteRune(r)
	}
	return b.String()
}
