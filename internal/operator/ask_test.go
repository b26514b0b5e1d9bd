package operator

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// An answer of the admin endpoint becomes an error with an exit code.
func TestAskAt(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		code   int // 0: no error
		says   string
	}{
		"done":              {http.StatusOK, `{"unlocked": true}`, 0, ""},
		"another answer":    {http.StatusOK, `<html>`, ExitFailed, "is not understood"},
		"wrong usage":       {http.StatusBadRequest, `{"error": "give a number"}`, ExitUsage, "give a number"},
		"nothing found":     {http.StatusNotFound, `{"error": "no wrong code counts"}`, ExitNothing, "no wrong code counts"},
		"refused":           {http.StatusTooManyRequests, `{"error": "too many"}`, ExitFailed, "too many"},
		"an unknown path":   {http.StatusNotFound, "404 page not found\n", ExitNoCaddy, "404 Not Found: is that Caddy's admin endpoint"},
		"an empty error":    {http.StatusInternalServerError, `{"error": ""}`, ExitNoCaddy, "500 Internal Server Error"},
		"an answer too big": {http.StatusOK, `{"unlocked": ` + strings.Repeat(" ", maxAdminAnswer) + `true}`, ExitFailed, "is not understood"},
	} {
		var got Request
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := json.NewDecoder(r.Body).Decode(&got); err != nil || r.Method != http.MethodPost || r.URL.Path != UnlockPath {
				t.Errorf("%s: %s %s: %v", name, r.Method, r.URL.Path, err)
			}
			if origin := r.Header.Get("Origin"); origin != "http://"+r.Host {
				t.Errorf("%s: Origin %q", name, origin)
			}
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		}))
		var answer map[string]bool
		err := AskAt(strings.TrimPrefix(server.URL, "http://"), http.MethodPost, UnlockPath, Request{Number: "+6421234567"}, &answer)
		server.Close()
		if c.code == 0 {
			if err != nil || !answer["unlocked"] || got.Number != "+6421234567" {
				t.Errorf("%s: %v, %v, of %+v", name, answer, err, got)
			}
			continue
		}
		if err == nil || ExitCode(err) != c.code || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "21234567") {
			t.Errorf("%s: %v; want the exit code %d and %q", name, err, c.code, c.says)
		}
	}
}

// The admin endpoint may listen on a Unix socket.
func TestAskAtSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Skip(err)
	}
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"engines": []}`)
	})}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	for _, address := range []string{"unix/" + path, "unix/" + path + "|0600"} {
		var status Status
		if err := AskAt(address, http.MethodGet, StatusPath, nil, &status); err != nil || status.Engines == nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{"unix/" + path + "x", "localhost:1-2", "localhost:1"} {
		if err := AskAt(address, http.MethodGet, StatusPath, nil, new(Status)); ExitCode(err) != ExitNoCaddy {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// A number is read as people write it in a country, or from standard input. An
// error does not repeat it.
func TestReadNumber(t *testing.T) {
	for _, c := range []struct{ written, stdin, country, want string }{
		{"021 234 567", "", "NZ", "+6421234567"},
		{"-", " 021234567 \nanother line", "nz", "+6421234567"},
		{"-", "021234567", "NZ", "+6421234567"},
		{"0412 345 678", "", "AU", "+61412345678"},
		{"+6421234567", "", "AU", "+6421234567"},
		{"+999123456789", "", "NZ", "+999123456789"}, // of no country that is known
		{"0412345", "", "NZ", ""},
		{"-", "", "NZ", ""},
		{"021234567", "", "ZZ", ""},
	} {
		cmd := Subcommand("test", "", "", nil, nil)
		WithNumber(cmd)
		cmd.SetIn(strings.NewReader(c.stdin))
		if err := cmd.Flags().Set("country", c.country); err != nil {
			t.Fatal(err)
		}
		got, err := ReadNumber(cmd, c.written)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q, %q in %s: %q, %v; want %q", c.written, c.stdin, c.country, got, err, c.want)
		}
		if err != nil && (ExitCode(err) != ExitUsage || strings.Contains(err.Error(), "12345")) {
			t.Errorf("%q: %v, with the exit code %d", c.written, err, ExitCode(err))
		}
	}
}
