package request

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestPrivateDirectives(t *testing.T) {
	for _, c := range []struct {
		fields []string
		want   string
	}{
		{nil, "private"},
		{[]string{""}, "private"},
		{[]string{"public"}, "private"},
		{[]string{"public, max-age=60"}, "max-age=60, private"},
		{[]string{"Public,S-MaxAge=600,Max-Age=5"}, "Max-Age=5, private"},
		{[]string{"s-maxage = 600", "public", "immutable"}, "immutable, private"},
		{[]string{"private"}, "private"},
		{[]string{`private="set-cookie, x", max-age=1`}, "max-age=1, private"},
		{[]string{"no-store"}, "no-store"},
		{[]string{"No-Store, public"}, "No-Store"},
		{[]string{"no-store, must-understand"}, "no-store, must-understand, private"},
		{[]string{"no-cache", "must-revalidate"}, "no-cache, must-revalidate, private"},
		{[]string{`no-cache="a, public", x="\""`}, `no-cache="a, public", x="\"", private`},
		{[]string{`max-age="60, public`}, "private"},
		{[]string{`x="\`}, "private"},
		{[]string{`x="a\"`, "public"}, "private"},
		{[]string{"max-age=60, , ,"}, "max-age=60, private"},
	} {
		if got := privateDirectives(c.fields); got != c.want {
			t.Errorf("%q: %q; want %q", c.fields, got, c.want)
		}
	}
}

// FuzzPrivateDirectives: whatever an application writes, the field forbids
// shared caches to store, as a reader by RFC 9111 takes it.
func FuzzPrivateDirectives(f *testing.F) {
	for _, seed := range []string{"public, max-age=1", `private="x", s-maxage=1`, `x="\`, "no-store", `a="b,c",,public`, "\x00", `"`} {
		f.Add(seed, "")
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		got := privateDirectives([]string{one, two})
		again := privateDirectives([]string{got})
		if again != got {
			t.Errorf("%q becomes %q when it is read again", got, again)
		}
		if !strings.HasSuffix(got, "private") && !strings.EqualFold(got, "no-store") {
			t.Errorf("%q, %q: %q", one, two, got)
		}
	})
}

// recording notes which way an answer came.
type recording struct {
	http.ResponseWriter
	calls []string
}

func (r *recording) WriteHeader(status int) {
	r.calls = append(r.calls, fmt.Sprint("WriteHeader ", status))
	r.ResponseWriter.WriteHeader(status)
}

func (r *recording) ReadFrom(from io.Reader) (int64, error) {
	r.calls = append(r.calls, "ReadFrom")
	return io.Copy(r.ResponseWriter, from)
}

func (r *recording) WriteString(s string) (int, error) {
	r.calls = append(r.calls, "WriteString")
	return io.WriteString(r.ResponseWriter, s)
}

func (r *recording) FlushError() error { r.calls = append(r.calls, "Flush"); return nil }

func (r *recording) Push(string, *http.PushOptions) error {
	r.calls = append(r.calls, "Push")
	return nil
}

type hijackable struct{ *recording }

func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	h.calls = append(h.calls, "Hijack")
	return nil, nil, errHijacked
}

var errHijacked = errors.New("hijacked")

// Each way to answer goes through to the writer around it, with the header set
// before anything is sent.
func TestPrivateWriterForwards(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(http.ResponseWriter)
		want string
		kept bool // the header is as it was
	}{
		"Write":       {func(w http.ResponseWriter) { _, _ = w.Write([]byte("x")) }, "", false},
		"WriteHeader": {func(w http.ResponseWriter) { w.WriteHeader(404) }, "WriteHeader 404", false},
		"WriteString": {func(w http.ResponseWriter) { _, _ = io.WriteString(w, "x") }, "WriteString", false},
		"ReadFrom":    {func(w http.ResponseWriter) { _, _ = io.Copy(w, struct{ io.Reader }{strings.NewReader("x")}) }, "ReadFrom", false},
		"Flush":       {func(w http.ResponseWriter) { w.(http.Flusher).Flush() }, "Flush", false},
		"FlushError":  {func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }, "Flush", false},
		"Push":        {func(w http.ResponseWriter) { _ = w.(http.Pusher).Push("/", nil) }, "Push", true},
		"103":         {func(w http.ResponseWriter) { w.WriteHeader(103) }, "WriteHeader 103", true},
		"103, 200":    {func(w http.ResponseWriter) { w.WriteHeader(103); w.WriteHeader(200) }, "WriteHeader 103 WriteHeader 200", false},
		"101":         {func(w http.ResponseWriter) { w.WriteHeader(101); _, _ = w.Write(nil) }, "WriteHeader 101", true},
		"Hijack": {func(w http.ResponseWriter) {
			if _, _, err := w.(http.Hijacker).Hijack(); err != errHijacked {
				panic(err)
			}
		}, "Hijack", true},
		"Hijack by the controller": {func(w http.ResponseWriter) {
			if _, _, err := http.NewResponseController(w).Hijack(); err != errHijacked {
				panic(err)
			}
		}, "Hijack", true},
	} {
		inner := &recording{ResponseWriter: httptest.NewRecorder()}
		inner.Header().Set("Cache-Control", "public")
		c.do(new(Private).On(hijackable{inner}, "a=b"))
		if got := strings.Join(inner.calls, " "); got != c.want {
			t.Errorf("%s: %q; want %q", name, got, c.want)
		}
		if got := inner.Header().Get("Cache-Control"); (got == "public") != c.kept {
			t.Errorf("%s: Cache-Control is %q", name, got)
		}
		if got := len(inner.Header()["Set-Cookie"]); (got == 1) != (!c.kept || name == "101") || got > 1 {
			t.Errorf("%s: %d cookies are set", name, got)
		}
	}
	if _, ok := new(Private).On(&recording{ResponseWriter: httptest.NewRecorder()}, "").(http.Hijacker); ok {
		t.Error("a connection that cannot be taken over looks as if it could")
	}
}
