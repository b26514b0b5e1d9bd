package websms_test

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-websms/websms/directory"
	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/number"
)

func init() { caddy.RegisterModule(phoneBook{}) }

// phoneBook is a directory module of another project.
type phoneBook struct {
	Pages []string `json:"pages,omitempty"`
	Ink   string   `json:"ink,omitempty"`

	alice number.Number
}

func (phoneBook) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "websms.directories.phone_book", New: func() caddy.Module { return new(phoneBook) }}
}

func (p *phoneBook) Open(parse func(string) (number.Number, error)) error {
	if p.Ink == "none" {
		return errors.New("there is no ink in it")
	}
	var err error
	p.alice, err = parse("021 234 567")
	return err
}

func (p *phoneBook) Number(_ context.Context, user string) (number.Number, error) {
	if user == "alice" {
		return p.alice, nil
	}
	return number.Number{}, directory.ErrNoNumber
}

func (p *phoneBook) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	p.Pages = d.RemainingArgs()
	for d.NextBlock(0) {
		if d.Val() != "ink" || !d.Args(&p.Ink) {
			return d.ArgErr()
		}
	}
	return nil
}

func inSecond(options string) string { return harness.InGate(harness.In("second_factor", options)) }

// secondFactorOf returns the JSON of a block second_factor.
func secondFactorOf(t *testing.T, options string) string {
	t.Helper()
	data, err := harness.Adapt(inSecond(options))
	if err != nil {
		t.Fatalf("%s: %v", options, err)
	}
	var config struct {
		Apps struct {
			HTTP struct {
				Servers map[string]struct {
					Routes []struct {
						Handle []struct {
							SecondFactor json.RawMessage `json:"second_factor"`
						}
					}
				}
			}
		}
	}
	if err := json.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	return string(config.Apps.HTTP.Servers["srv0"].Routes[0].Handle[0].SecondFactor)
}

func TestCaddyfileSecondFactor(t *testing.T) {
	for _, c := range []struct{ options, want string }{
		{"phone {http.auth.user.phone}", `{"phone":"{http.auth.user.phone}"}`},
		{"phone {header.Remote-Phone}\nuser {header.Remote-User}",
			`{"phone":"{http.request.header.Remote-Phone}","user":"{http.request.header.Remote-User}"}`},
		{"user {rp.header.Remote-User}\nphone {vars.phone}", `{"phone":"{http.vars.phone}","user":"{http.reverse_proxy.header.Remote-User}"}`},
		{"directory users.csv", `{"directory":{"module":"file","path":"users.csv"}}`},
		{"directory /etc/caddy/users", `{"directory":{"module":"file","path":"/etc/caddy/users"}}`},
		{`directory "my users.csv"`, `{"directory":{"module":"file","path":"my users.csv"}}`},
		{"directory ./file", `{"directory":{"module":"file","path":"./file"}}`},
		{"directory `C:\\users`", `{"directory":{"module":"file","path":"C:\\users"}}`},
		{"directory file users.csv", `{"directory":{"module":"file","path":"users.csv"}}`},
		{"directory file users", `{"directory":{"module":"file","path":"users"}}`},
		{"directory phone_book", `{"directory":{"module":"phone_book"}}`},
		{"directory ./phone_book", `{"directory":{"module":"file","path":"./phone_book"}}`},
		{"directory phone_book 1 2 {\nink blue\n}\nuser {tls_client_subject}",
			`{"directory":{"ink":"blue","module":"phone_book","pages":["1","2"]},"user":"{http.request.tls.client.subject}"}`},
	} {
		if got := secondFactorOf(t, c.options); got != c.want {
			t.Errorf("%s: %s, want %s", c.options, got, c.want)
		}
	}
}

// An error names the line of the mistake, which is marked with "# here".
func TestCaddyfileSecondFactorMistakes(t *testing.T) {
	t.Setenv("WEBSMS_UNSET", "")
	const file = "directory users.csv\n"
	for _, c := range []struct{ name, text, want string }{
		{"empty", harness.InGate("second_factor { # here\n}"),
			"second_factor: phone and directory are missing: give phone and the placeholder in which the first factor gives " +
				"the number, or directory and a CSV file"},
		{"without a block", harness.InGate("second_factor # here"), "second_factor: phone and directory are missing"},
		{"user alone", harness.InGate("second_factor { # here\nuser {http.auth.user.id}\n}"), "second_factor: phone and directory are missing"},
		{"on its line", harness.InGate("second_factor users.csv # here"),
			"second_factor: its options stand in a block, { … }, and not on its line"},
		{"block twice", harness.InGate("second_factor {\n" + file + "}\nsecond_factor { # here\n" + file + "}"),
			"second_factor stands here and at line 4: keep one of them"},
		{"unknown", inSecond("number {http.auth.user.phone} # here"), `second_factor: unknown option "number": it knows directory, phone, user`},
		{"both", inSecond("phone {http.auth.user.phone}\n" + "directory users.csv # here"),
			"second_factor: directory stands beside phone: keep the one that knows the numbers of the users"},
		{"both the other way round", inSecond("directory users.csv # here\nphone {http.auth.user.phone}"),
			"second_factor: directory stands beside phone"},
		{"user twice", inSecond(file + "user {http.auth.user.id}\nuser {http.auth.user.email} # here"),
			"second_factor: user stands here and at line 6: keep one of them"},
		{"directory twice", inSecond(file + "directory users.csv # here"),
			"second_factor: directory stands here and at line 5: keep one of them"},
		{"user without a value", inSecond(file + "user # here"), "second_factor: user has no value"},
		{"phone without a value", inSecond("phone {$WEBSMS_UNSET} # here"),
			"second_factor: phone has no value (a {$VAR} that is not set leaves none)"},
		{"directory without a value", inSecond("directory # here"), "second_factor: directory has no value"},
		{"two values", inSecond(file + "user {http.auth.user.id} {http.auth.user.email} # here"), "second_factor: user takes one value"},
		{"two paths", inSecond("directory a.csv b.csv # here"), "second_factor: directory takes one value: put it in quotes if it holds spaces"},
		{"block of a path", inSecond("directory users.csv { # here\nx\n}"), "second_factor: directory takes no block: remove { … }"},
		{"block of a user", inSecond(file + "user {http.auth.user.id} { # here\nx\n}"), "second_factor: user takes no block"},
		{"a name for a user", inSecond("user alice # here\n" + file),
			"second_factor: user is not one placeholder with nothing around it: give what a first factor sets, such as {http.auth.user.id}"},
		{"a number for a phone", inSecond("phone +6421234567 # here"), "second_factor: phone is not one placeholder"},
		{"text around", inSecond(file + "user x{http.auth.user.id} # here"), "second_factor: user is not one placeholder"},
		{"query", inSecond(file + "user {query.user} # here"),
			"second_factor: user {http.request.uri.query.user} is what any client writes at will, or the same for many: give what"},
		{"cookie", inSecond("phone {cookie.phone} # here"), "second_factor: phone {http.request.cookie.phone} is what any client writes"},
		{"address", inSecond("user {remote_host} # here\n" + file), "second_factor: user {http.request.remote.host} is what any client writes"},
		{"client address", inSecond("user {client_ip} # here\n" + file), "second_factor: user {http.vars.client_ip} is an address"},
		{"issuer", inSecond("user {tls_client_issuer} # here\n" + file),
			"second_factor: user {http.request.tls.client.issuer} does not name the owner of a client certificate"},
		{"environment", inSecond("user {env.USER} # here\n" + file), "second_factor: user {env.USER} is the same for everybody"},
		{"our own header", harness.InGate("second_factor { # here\nuser {header.X-Verified-User}\n" + file + "}"),
			"second_factor reads user from the header X-Verified-User, which the gate removes"},
		{"unknown directory", inSecond("directory ldap ldap://x # here"),
			`second_factor: directory "ldap" is not built into this Caddy, which has: file`},
		{"path that looks like a module", inSecond("directory users # here"),
			`directory "users" is not built into this Caddy, which has: file, phone_book; build one that has it, or name ` +
				`another; the path of a file holds a dot or a slash, as in ./users`},
		{"file without a path", inSecond("directory file # here"), "directory file: it has no path"},
		{"file of two paths", inSecond("directory file a.csv b.csv # here"), "directory file: it takes one path"},
		{"block of a file", inSecond("directory file a.csv { # here\nx\n}"), "directory file: it takes no block: remove { … }"},
		{"inside another's directory", inSecond("directory phone_book {\nink blue\npaper white # here\n}"),
			"wrong argument count or unexpected line ending after 'paper'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := harness.Adapt(c.text)
			if err == nil {
				t.Fatalf("accepted:\n%s", c.text)
			}
			line := 0
			for i, text := range strings.Split(c.text, "\n") {
				if strings.HasSuffix(text, "# here") {
					line = i + 1
				}
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\nwant: %s", err, c.want)
			}
			if at := ", at Caddyfile:" + strconv.Itoa(line); !strings.HasSuffix(err.Error(), at) {
				t.Errorf("%v\nwant at the end: %q", err, at)
			}
			if strings.Contains(err.Error(), "21234567") {
				t.Errorf("the error repeats a number: %v", err)
			}
		})
	}
}

// The gate loads a directory module of another project and opens it with its own countries. An
// error of the directory ends the loading of the configuration.
func TestGuestDirectory(t *testing.T) {
	for ink, want := range map[string]string{"blue": "", "none": "websms_otp: second_factor: directory: there is no ink in it"} {
		err := harness.Validate(t,
			harness.HandlerJSON(t, "websms_otp", `{"company":"A","second_factor":{"directory":{"module":"phone_book","ink":"`+ink+`"}}}`))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("ink %s: %v, want %q", ink, err, want)
		}
	}
	harness.WantPool(t, nil)
}
