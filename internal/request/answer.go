package request

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// WriteJSON answers with v as JSON, which no cache may store.
func WriteJSON(w http.ResponseWriter, status int, contentType string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	h := w.Header()
	h["Content-Type"] = []string{contentType}
	h["Cache-Control"] = []string{"no-store"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, err = w.Write(body)
	return err
}

// Redirect answers with a redirection to location, which is a page of the gate or a
// return target. It does not use http.Redirect, because that rewrites the path.
func Redirect(w http.ResponseWriter, status int, location string) {
	h := w.Header()
	h["Location"] = []string{EscapeNonASCII(location)}
	h["Cache-Control"] = []string{"no-store"}
	w.WriteHeader(status)
}

// EscapeNonASCII escapes the bytes that no Location header may hold: spaces, control
// characters and all bytes outside of ASCII.
func EscapeNonASCII(s string) string {
	const hex = "0123456789ABCDEF"
	var out strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= 0x80 || c <= ' ' {
			out.WriteByte('%')
			out.WriteByte(hex[c>>4])
			out.WriteByte(hex[c&15])
		} else {
			out.WriteByte(c)
		}
	}
	return out.String()
}

// WholeSeconds rounds d up to a whole second. So a client that waits for it does not
// come too early.
func WholeSeconds(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}

// RoundUp returns the whole second at or after t. So a client that waits for it does not
// come too early.
func RoundUp(t time.Time) time.Time {
	if whole := t.Truncate(time.Second); whole.Before(t) {
		return whole.Add(time.Second)
	}
	return t
}
