package websms

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
)

func TestSecondFactorConfig(t *testing.T) {
	file := json.RawMessage(`{"module":"file","path":"users.csv"}`)
	for _, c := range []SecondFactorConfig{
		{DirectoryRaw: file},
		{Phone: "{http.auth.user.phone}"},
		{Phone: "{http.auth.user.phone}", DirectoryRaw: json.RawMessage("null")},
		{User: "{http.auth.user.email}", DirectoryRaw: file},
		{User: "{http.request.header.Remote-User}", Phone: "{http.request.header.Remote-Phone}"},
		{User: "{http.reverse_proxy.header.Remote-User}", Phone: "{http.reverse_proxy.header.Remote-Phone}"},
		{User: "{http.request.tls.client.subject}", DirectoryRaw: file},
		{User: "{http.request.tls.client.fingerprint}", DirectoryRaw: file},
		{User: "{http.request.tls.client.serial}", DirectoryRaw: file},
		{User: "{http.request.tls.client.public_key_sha256}", DirectoryRaw: file},
		{User: "{http.request.tls.client.san.emails.0}", DirectoryRaw: file},
		{User: "{http.vars.user}", Phone: "{http.vars.phone}"},
		{User: "{http.regexp.cn.1}", DirectoryRaw: file},
		{User: "{http.authelia.user}", Phone: "{my.module/phone}"},
		{User: "{http.auth.user.id}", Phone: "{http.auth.user.id}"},
	} {
		if err := c.check(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestSecondFactorConfigMistakes(t *testing.T) {
	const (
		shape    = "is not one placeholder with nothing around it"
		client   = "is what any client writes at will"
		all      = "is the same for everybody"
		nobody   = "is a header that names nobody"
		ofNobody = "does not name the owner of a client certificate, as subject, serial, fingerprint"
		forUsers = ": give what a first factor sets, such as {http.auth.user.id} (basic_auth), " +
			"{http.request.tls.client.subject} (client certificates) or {http.reverse_proxy.header.Remote-User} (forward_auth)"
		forPhones = ": give what a first factor sets, such as {http.auth.user.phone} or " +
			"{http.reverse_proxy.header.Remote-Phone} (forward_auth), or use directory"
	)
	for value, want := range map[string]string{
		"alice": shape, "+6421234567": shape, " ": shape, "{}": shape, "{": shape, "}": shape, "http.auth.user.id": shape,
		"{http.auth.user.id": shape, "http.auth.user.id}": shape, " {http.auth.user.id}": shape, "{http.auth.user.id} ": shape,
		"{ http.auth.user.id }": shape, "{http.auth.user.id}{http.auth.user.id}": shape, "{http.auth.user.id}@{http.request.host}": shape,
		"x{http.auth.user.id}": shape, "{{http.auth.user.id}}": shape, `\{http.auth.user.id}`: shape,
		`{http.auth.user.id\}`: shape, "{a\x00b}": shape,

		"{http.request.uri}": client, "{http.request.uri.path}": client, "{http.request.uri.path.0}": client,
		"{http.request.uri.query}": client, "{http.request.uri.query.user}": client, "{http.request.cookie.user}": client,
		"{http.request.body}": client, "{http.request.host}": client, "{http.request.hostport}": client, "{http.request.host.labels.0}": client,
		"{http.request.remote}": client, "{http.request.remote.host}": client, "{http.request.remote.host/24}": client,
		"{http.request.method}": client, "{http.request.orig_uri}": client, "{http.request.orig_uri.query}": client,
		"{http.request.uuid}":   client,
		"{http.request.scheme}": client, "{http.request.tls.version}": client, "{http.request.tls.server_name}": client,
		"{http.request.header}":         client,
		"{http.matchers.file.relative}": client,

		"{http.vars.client_ip}":    "is an address, which many can share",
		"{http.auth.candidate.id}": "is a user who has not passed the first factor", "{http.websms.number}": "is what a gate has verified",
		"{http.reverse_proxy.upstream.address}": "does not come from a first factor", "{http.reverse_proxy.status_code}": "does not come",
		"{http.error.message}": "does not come", "{http.response.header.X}": "does not come", "{http.shutting_down}": all,
		"{http.time_until_shutdown}": all,
		"{env.USER}":                 all, "{file./etc/hostname}": all, "{system.hostname}": all, "{time.now.unix}": all,

		"{http.request.header.}": nobody, "{http.request.header.Cookie}": nobody, "{http.request.header.cookie}": nobody,
		"{http.request.header.Host}":          nobody,
		"{http.request.header.authorization}": nobody, "{http.request.header.Proxy-Authorization}": nobody,

		"{http.request.tls.client.issuer}": ofNobody, "{http.request.tls.client.certificate_pem}": ofNobody,
		"{http.request.tls.client.certificate_der_base64}": ofNobody,
		"{http.request.tls.client.public_key}":             ofNobody, "{http.request.tls.client.san.emails}": ofNobody,
		"{http.request.tls.client.san.emails.}": ofNobody,
		"{http.request.tls.client.Subject}":     ofNobody, "{http.request.tls.client.}": ofNobody,
	} {
		c := SecondFactorConfig{User: value, Phone: "{http.auth.user.phone}"}
		if err := c.check(); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "user ") ||
			!strings.HasSuffix(err.Error(), forUsers) {
			t.Errorf("user %q: %v", value, err)
		}
		c = SecondFactorConfig{Phone: value}
		err := c.check()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "phone ") ||
			!strings.HasSuffix(err.Error(), forPhones) {
			t.Errorf("phone %q: %v", value, err)
		}
		if err != nil && strings.Contains(err.Error(), "21234567") {
			t.Errorf("the error repeats a number: %v", err)
		}
	}
	file := json.RawMessage(`{"module":"file","path":"users.csv"}`)
	for _, c := range []struct {
		config SecondFactorConfig
		want   string
	}{
		{SecondFactorConfig{}, "phone and directory are missing: give phone and the placeholder"},
		{SecondFactorConfig{User: "{http.auth.user.id}", DirectoryRaw: json.RawMessage("null")}, "phone and directory are missing"},
		{SecondFactorConfig{Phone: "{http.auth.user.phone}", DirectoryRaw: file}, "directory stands beside phone: keep the one"},
	} {
		if err := c.config.check(); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", c.config, err, c.want)
		}
	}
}

// The gate removes the identity headers first, so they cannot name a user.
func TestSecondFactorHeaders(t *testing.T) {
	for _, c := range []struct {
		config  SecondFactorConfig
		headers HeadersConfig
		want    string
	}{
		{SecondFactorConfig{User: "{http.request.header.Remote-User}"}, HeadersConfig{}, ""},
		{SecondFactorConfig{User: "{http.request.header.X-Verified-User}"}, HeadersConfig{User: "X-Login"}, ""},
		{SecondFactorConfig{User: "{http.vars.X-Verified-User}"}, HeadersConfig{}, ""},
		{SecondFactorConfig{User: "{http.request.header.x-verified-user}"}, HeadersConfig{},
			"second_factor reads user from the header X-Verified-User, which the gate removes"},
		{SecondFactorConfig{User: "{http.request.header.X_Verified.User}"}, HeadersConfig{}, "reads user from the header X_verified.user"},
		{SecondFactorConfig{User: "{http.request.header.X-Verified-Number}"}, HeadersConfig{}, "reads user from"},
		{SecondFactorConfig{Phone: "{http.request.header.Remote-Phone}"}, HeadersConfig{Number: "remote-phone"},
			"second_factor reads phone from the header Remote-Phone"},
	} {
		err := c.config.checkHeaders(c.headers)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v beside %+v: %v, want %q", c.config, c.headers, err, c.want)
		}
	}
}

func TestSecondFactorWarnings(t *testing.T) {
	for _, c := range []struct {
		config SecondFactorConfig
		want   []string
	}{
		{SecondFactorConfig{Phone: "{http.auth.user.phone}"}, nil},
		{SecondFactorConfig{User: "{http.reverse_proxy.header.Remote-User}", Phone: "{http.reverse_proxy.header.Remote-Phone}"}, nil},
		{SecondFactorConfig{User: "{http.request.tls.client.subject}"}, nil},
		{SecondFactorConfig{User: "{http.request.header.remote-user}", Phone: "{http.request.header.Remote-Phone}"}, []string{
			"user comes from the request header Remote-User, which any client can write unless what stands in front of the " +
				"gate removes it from every request: forward_auth does so with its copy_headers, and " +
				"{http.reverse_proxy.header.Remote-User} reads its answer itself",
			"phone comes from the request header Remote-Phone"}},
		{SecondFactorConfig{User: "{http.regexp.cn.1}"}, []string{"user comes from a regular expression"}},
	} {
		got := c.config.warnings()
		if len(got) != len(c.want) {
			t.Errorf("%+v: %q, want %q", c.config, got, c.want)
			continue
		}
		for i, want := range c.want {
			if !strings.HasPrefix(got[i], "second_factor: "+want) {
				t.Errorf("%+v: %q, want %q", c.config, got[i], want)
			}
		}
	}
}

// A mistake that only loading can show ends the loading. The error says where the
// mistake is.
func TestSecondFactorLoads(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.csv"), filepath.Join(dir, "bad.csv")
	harness.WriteFile(t, good, "user,number\nalice,021 234 567\nzoe,0412 345 678\n")
	harness.WriteFile(t, bad, "alice,021 234 567\nbob,09 555 1234\nalice,021 234 569\n")
	asJSON := func(path string) string {
		text, err := json.Marshal(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	directory := func(path string) string {
		return `{"company":"A","numbers":{"countries":["NZ","AU"]},"second_factor":{"directory":{"module":"file","path":` + asJSON(path) + `}}}`
	}
	for _, c := range []struct{ options, want string }{
		{directory(good), ""},
		{`{"company":"A","second_factor":{"phone":"{http.auth.user.phone}"}}`, ""},
		{directory(bad), "websms_otp: second_factor: directory: path: " + bad +
			": line 2: not a mobile number; line 3: the user of line 1 again: keep one of them"},
		{directory(dir + "/none.csv"), "second_factor: directory: path: stat " + dir + "/none.csv: no such file or directory"},
		{directory(dir), "second_factor: directory: path: " + dir + " is a folder or a device"},
		{directory(""), "directory file: path is missing: name a CSV file of user,number"},
		{strings.Replace(directory(good), `"AU"`, `"US"`, 1), "line 3: not a mobile number"},
		{`{"company":"A","second_factor":{}}`, "websms_otp: second_factor: phone and directory are missing"},
		{`{"company":"A","second_factor":{"user":"x","phone":"{http.auth.user.phone}"}}`, "second_factor: user is not one placeholder"},
		{`{"company":"A","second_factor":{"user":"{http.request.header.X-Verified-User}","phone":"{http.auth.user.phone}"}}`,
			"websms_otp: second_factor reads user from the header X-Verified-User"},
		{`{"company":"A","second_factor":{"directory":{"path":"x"}}}`, "module"},
		{`{"company":"A","second_factor":{"directory":{"module":"ldap"}}}`,
			"second_factor: directory: loading module 'ldap': unknown module: websms.directories.ldap"},
		{`{"company":"A","second_factor":{"directory":{"module":"file","file":"x"}}}`, `unknown field "file"`},
		{`{"company":"A","second_factor":{"phones":"x"}}`, `unknown field "phones"`},
	} {
		err := harness.Validate(t, harness.HandlerJSON(t, "websms_otp", c.options))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.options, err, c.want)
		}
	}
	harness.WantPool(t, nil)
}
