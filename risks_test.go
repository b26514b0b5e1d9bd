package websms

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-websms/websms/internal/doctor"
	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/internal/risk"
	"github.com/caddy-websms/websms/internal/routes"
)

// riskCases maps site blocks to words of each of their risks. Every address is local, so that no
// other risk appears.
var riskCases = map[string]struct {
	site  string
	finds []string
}{
	"nothing":  {"websms_otp {\n company Acme\n}", nil},
	"a folder": {"websms_otp /admin/* {\n company Acme\n}", nil},
	"a folder by name": {"@a path /admin/*\nwebsms_otp @a {\n company Acme\n}",
		[]string{"its matcher holds /admin/* and not /admin,"}},
	"a folder by name, whole":  {"@a path /admin /admin/*\nwebsms_otp @a {\n company Acme\n}", nil},
	"a folder by name, prefix": {"@a path /Admin* /admin/*\nwebsms_otp @a {\n company Acme\n}", nil},
	"all but a folder":         {"@a not path /public/*\nwebsms_otp @a {\n company Acme\n}", nil},
	"suffix": {"websms_otp {\n company Acme\n bypass {\n  path *.css\n }\n}",
		[]string{"the path *.css begins with a wildcard, so it also opens pages that PHP and others serve for a longer " +
			"path, as /admin.php for /admin.php/x.css"}},
	"wildcards around": {"websms_otp {\n company Acme\n bypass {\n  path /x/* */public/*\n }\n}",
		[]string{"the path */public/* begins with a wildcard"}},
	"a loose expression": {"websms_otp {\n company Acme\n bypass {\n  path_regexp \\.css$\n }\n}",
		[]string{`the expression \.css$ is not bound to the beginning`}},
	"a bound expression": {"websms_otp {\n company Acme\n bypass {\n  path_regexp ^/static/\n }\n}", nil},
	"a bypass of all but": {"websms_otp {\n company Acme\n bypass {\n  not path /admin/*\n }\n}",
		[]string{"it spares /admin/* and not /admin,"}},
	"a bypass of all but both": {"websms_otp {\n company Acme\n bypass {\n  not path /admin /admin/*\n }\n}", nil},
	"in a handle": {"handle /admin/* {\n websms_otp {\n  company Acme\n }\n}",
		[]string{`stands in a route that asks for "path /admin/*"`, outOfReach + `"path /admin/*"`}},
	"in a route": {"route /admin/* {\n websms_otp {\n  company Acme\n }\n}",
		[]string{`stands in a route that asks for "path /admin/*"`, outOfReach + `"path /admin/*"`}},
	"in a handle by expression": {"@a path_regexp ^/admin\nhandle @a {\n websms_otp {\n  company Acme\n }\n}",
		[]string{`stands in a route that asks for "path_regexp ^/admin"`, outOfReach + `"path_regexp ^/admin"`}},
	"in a handle by method": {"@a method POST\nhandle @a {\n websms_otp {\n  company Acme\n }\n}",
		[]string{outOfReach + `"method POST"`}},
	"in a handle by query": {"@a query a=1\nhandle @a {\n websms_otp {\n  company Acme\n }\n}", nil},
	"beside a handle": {"handle /public/* {\n respond public\n}\nhandle {\n websms_otp {\n  company Acme\n }\n}",
		[]string{`another route takes first, with "path /public/*"`}},
	"in front of it, in a route": {"route {\n reverse_proxy /public/* localhost:1\n websms_otp {\n  company Acme\n }\n}",
		[]string{`another route takes first, with "path /public/*"`}},
	"a redirect in front of it": {"redir /old/* /new\nwebsms_otp {\n company Acme\n}", nil},
	"behind it, in a route":     {"route {\n websms_otp {\n  company Acme\n }\n reverse_proxy /public/* localhost:1\n}", nil},
	"invoked in a handle": {"NAMED handle /admin/* {\n invoke gated\n}",
		[]string{`stands in a route that asks for "path /admin/*"`, outOfReach + `"path /admin/*"`}},
	"invoked with a matcher": {"NAMED invoke /admin/* gated",
		[]string{`stands in a route that asks for "path /admin/*"`, outOfReach + `"path /admin/*"`}},
	"invoked":         {"NAMED invoke gated", nil},
	"in every handle": {"handle {\n websms_otp {\n  company Acme\n }\n}", nil},
	"short codes":     {"websms_otp {\n company Acme\n code {\n  length 4\n }\n}", []string{"shorter than 6 digits"}},
	"a lockout that never acts": {"websms_otp {\n company Acme\n limits {\n  lockout 50 30m\n  max_failures 20\n }\n}",
		[]string{"it never acts"}},
	"a large budget": {"websms_otp {\n company Acme\n limits {\n  budget 100000/1h\n }\n}", []string{"allows 100000 codes an hour"}},
	"no binding":     {"websms_otp {\n company Acme\n web_otp off\n}", []string{"web_otp is off"}},
	"a user in a header": {"websms_otp {\n company Acme\n second_factor {\n  user {http.request.header.Remote-User}\n" +
		"  phone {http.auth.user.phone}\n }\n}", []string{"second_factor: user comes from the request header"}},
	"a macron": {"websms_otp {\n company \"Kōwhai Freight\"\n}",
		[]string{"company holds ō, which the alphabet of SMS (GSM 03.38) lacks: a part then has 70 characters"}},
	"a macron in a long text": {"websms_otp {\n company Acme\n comment \"Tēnā koe. Never tell this code to anybody.\"\n}",
		[]string{"comment holds ē ā, which the alphabet of SMS (GSM 03.38) lacks: a part then has 70 characters in place of 160, " +
			"and each message costs 2"}},
	"other letters of SMS": {"websms_otp {\n company \"Café Söhne & Co €\"\n}", nil},
	"a domain": {"websms_otp {\n company Kowhai.nz\n comment \"Help: https://kowhai.nz/help\"\n}",
		[]string{`company holds "Kowhai.nz", which looks like a domain`, `comment holds "https://kowhai.nz/help", which looks like a domain`}},
	"a short name with a dot": {"websms_otp {\n company \"St.John, Dr. Who\"\n}", nil},
	"a long text": {"websms_otp {\n company Acme\n comment \"" + strings.Repeat("word ", 20) + "end\"\n}",
		[]string{"its messages have 142 characters: Android fills in no code from one of more than 140"}},
	"a text that is not long": {"websms_otp {\n company Acme\n comment \"" + strings.Repeat("word ", 20) + "e\"\n}", nil},
	"a long text with a host": {"websms_otp {\n company Acme\n comment \"" + strings.Repeat("word ", 17) + "\"\n web_otp app.example.com\n}",
		[]string{"its messages have 149 characters with the line for app.example.com: Android"}},
	"a text of two parts": {"websms_otp {\n company \"" + strings.Repeat("Acme ", 20) +
		"\"\n comment \"" + strings.Repeat("word ", 20) + "\"\n}",
		[]string{"its messages have 235 characters: Android fills in no code from one of more than 140, and each costs 2 parts"}},
	"a path of the address": {"", []string{`stands in a route that asks for "path /app/*"`, outOfReach + `"path /app/*"`}},
	"two gates of two realms": {"websms_otp /a/* {\n company Acme\n realm a\n}\nwebsms_otp /b/* {\n company Acme\n realm b\n}",
		[]string{"has the cookie websms_session, as another gate of localhost has", "has its pages at /.websms, as another gate"}},
	"a changed header": {"header >X-Frame-Options SAMEORIGIN\nwebsms_otp {\n company Acme\n}",
		[]string{"changes X-Frame-Options of the gate's own pages"}},
	"an application for errors": {"websms_otp {\n company Acme\n}\nhandle_errors {\n reverse_proxy localhost:1\n}",
		[]string{"handle_errors hands requests that no gate has seen to an application (reverse_proxy)"}},
	"an application behind a status": {"route {\n reverse_proxy localhost:1 {\n  @no status 403\n  handle_response @no {\n" +
		"   reverse_proxy localhost:2\n  }\n }\n websms_otp {\n  company Acme\n }\n}",
		[]string{"handle_response hands requests that no gate has seen to an application (reverse_proxy)"}},
	"intercept": {"route {\n intercept {\n  handle_response {\n   respond no\n  }\n }\n websms_otp {\n  company Acme\n }\n}",
		[]string{"intercept in front of it can answer in place of its pages"}},
}

// outOfReach begins the risk of a gate whose pages nobody can open.
const outOfReach = "nobody can open its pages at /.websms, so nobody gets in: a route around it asks for "

// siteConfig returns a Caddyfile with one site, and with named routes in front of it.
func siteConfig(w *harness.World, named, address, site string) string {
	return fmt.Sprintf("{\n admin off\n persist_config off\n storage file_system %q\n log {\n  output file %q\n }\n"+
		" websms {\n  client_id cid_demo\n  client_secret csk_demo\n  base_url %s\n }\n}\n%s%s {\n%s\n}\n",
		w.Dir, w.LogFile(), w.Sim.URL, named, address, site)
}

// readCaddyfile reads a Caddyfile as the doctor does.
func readCaddyfile(t *testing.T, text string) *doctor.Config {
	t.Helper()
	config, err := harness.Adapt(text)
	if err != nil {
		t.Fatal(err)
	}
	read, err := readConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// The doctor and the load of a configuration report the same risks.
func TestOneListOfRisks(t *testing.T) {
	for name, c := range riskCases {
		t.Run(name, func(t *testing.T) {
			w := harness.Start(t, harness.Setup{})
			address := w.URL
			if c.site == "" {
				address, c.site = w.URL+"/app/*", "websms_otp {\n company Acme\n}"
			}
			named := ""
			if site, ok := strings.CutPrefix(c.site, "NAMED "); ok {
				c.site, named = site, "&(gated) {\n route {\n  websms_otp {\n   company Acme\n  }\n }\n}\n"
			}
			w.Config = func(string) string { return siteConfig(w, named, address, c.site) }
			var found []string
			for _, g := range readCaddyfile(t, w.Config("")).Gates {
				for _, r := range g.Risks() {
					found = append(found, r.Text)
				}
			}
			if len(found) != len(c.finds) {
				t.Errorf("the doctor finds %q; want %q", found, c.finds)
			}
			for i, want := range c.finds {
				if i < len(found) && !strings.Contains(found[i], want) {
					t.Errorf("the doctor finds %q; want %q", found[i], want)
				}
			}
			before := len(w.Logged("http.handlers.websms_otp"))
			w.Load("")
			var logged []string
			for _, line := range w.Logged("http.handlers.websms_otp")[before:] {
				if line["do"] != nil {
					logged = append(logged, line["msg"].(string))
				}
			}
			slices.Sort(found)
			slices.Sort(logged)
			if !slices.Equal(found, logged) {
				t.Errorf("the doctor finds %q, the load %q", found, logged)
			}
		})
	}
}

// A public site has risks that a local site does not have.
func TestRisksOfPublicSite(t *testing.T) {
	for name, c := range map[string]struct {
		config string
		finds  []string
	}{
		"plain HTTP": {"http://app.example.com {\n websms_otp {\n  company Acme\n }\n}",
			[]string{"served over plain HTTP", "lets in anybody who has a mobile phone", "no trusted_proxies"}},
		"plain HTTP at another port": {"{\n http_port 8000\n}\nhttp://app.example.com {\n websms_otp {\n  company Acme\n }\n}",
			[]string{"served over plain HTTP", "lets in anybody who has a mobile phone", "no trusted_proxies"}},
		"any host": {"https:// {\n tls internal\n websms_otp {\n  company Acme\n }\n}",
			[]string{"serves any host", "lets in anybody", "no trusted_proxies"}},
		"any host, named": {"https:// {\n tls internal\n websms_otp {\n  company Acme\n  web_otp app.example.com\n }\n}",
			[]string{"lets in anybody", "no trusted_proxies"}},
		"a wildcard": {"https://*.example.com {\n tls internal\n websms_otp {\n  company Acme\n }\n}",
			[]string{"lets in anybody", "no trusted_proxies"}},
		"a long name": {"https://" + strings.Repeat("a", 60) + ".example.com {\n websms_otp {\n  company Acme\n }\n}",
			[]string{"is longer than 64 characters", "lets in anybody", "no trusted_proxies"}},
		"a long text with the site's host": {"app.example.com {\n websms_otp {\n  company Acme\n  comment \"" +
			strings.Repeat("word ", 17) + "\"\n  numbers {\n   allow +6421234567\n  }\n }\n}",
			[]string{"its messages have 149 characters with the line for app.example.com: Android", "no trusted_proxies"}},
		"two of one name": {"app.example.com {\n websms_otp {\n  company Acme\n  numbers {\n   allow +6421234567\n  }\n }\n}",
			[]string{"no trusted_proxies"}},
		"a webhook": {"http://app.example.com {\n websms_webhook {\n  secret in-clear\n }\n}",
			[]string{"its secret stands in the configuration", "is served over plain HTTP: the secret"}},
		"secrets": {"{\n websms {\n  client_id cid\n  client_secret csk\n  base_url http://websms.example/api\n  sandbox\n" +
			" }\n}\nlocalhost {\n websms_otp {\n  company Acme\n }\n}", []string{"base_url is plain HTTP", "sandbox", "client_secret stands"}},
		"redis": {"{\n websms {\n  client_id cid\n  client_secret {env.X}\n  store redis {\n   address 10.0.0.1:6379\n  }\n" +
			" }\n}\nlocalhost {\n websms_otp {\n  company Acme\n }\n}", []string{"without TLS"}},
	} {
		read := readCaddyfile(t, c.config)
		list := append(read.Account.Risks(), read.Store.Risks()...)
		for _, h := range read.Webhooks {
			list = append(list, h.Risks()...)
		}
		for _, g := range read.Gates {
			list = append(list, g.Risks()...)
		}
		var found []string
		for _, r := range list {
			found = append(found, r.Text)
		}
		if len(found) != len(c.finds) {
			t.Errorf("%s: %q; want %q", name, found, c.finds)
			continue
		}
		for i, want := range c.finds {
			if !strings.Contains(found[i], want) {
				t.Errorf("%s: %q; want %q", name, found[i], want)
			}
		}
	}
	read := readCaddyfile(t, "{\n admin :2019\n}\nlocalhost {\n websms_otp {\n  company Acme\n }\n}")
	if read.Admin.Listen != ":2019" || len(read.Gates) != 1 || read.Gates[0].Risks() != nil {
		t.Errorf("an open admin endpoint: %+v", read.Admin)
	}
	read = readCaddyfile(t, "{\n http_port 8000\n}\nhttp://app.example.com {\n websms_webhook /x {\n  secret {env.S}\n }\n}")
	if urls := read.Webhooks[0].At.URLs(); !slices.Equal(urls, []string{"http://app.example.com:8000/x"}) {
		t.Errorf("a webhook at the port of plain HTTP is at %q", urls)
	}
}

// A caching handler in front of a gate is a risk. Behind the gate it is none.
func TestRiskOfACache(t *testing.T) {
	const gate, cache = `{"handler": "websms_otp"}`, `{"handler": "cache"}`
	subroute := func(handlers string) string {
		return `{"handler": "subroute", "routes": [{"handle": [` + handlers + `]}]}`
	}
	for name, c := range map[string]struct {
		routes []string // handlers of each route
		want   bool
	}{
		"in front":               {[]string{cache, gate}, true},
		"in front, in one route": {[]string{cache + "," + gate}, true},
		"in front, around":       {[]string{cache + "," + subroute(gate)}, true},
		"behind":                 {[]string{gate, cache}, false},
		"behind, in one route":   {[]string{gate + "," + cache}, false},
		"in another part":        {[]string{subroute(cache), gate}, false},
		"nothing that caches":    {[]string{`{"handler": "encode"}`, gate}, false},
		"another module's cache": {[]string{`{"handler": "my_cache"}`, gate}, true},
	} {
		server, visits := new(caddyhttp.Server), 0
		if err := json.Unmarshal([]byte(`{"routes": [{"handle": [`+strings.Join(c.routes, `]}, {"handle": [`)+`]}]}`), server); err != nil {
			t.Fatal(err)
		}
		at := routes.Place{Hosts: []string{"localhost"}, HTTPS: true, Proxied: true}
		routes.VisitJSON(server, at, decodeHandler, func(handler any, at routes.Place) {
			visits++
			caught := slices.ContainsFunc(handler.(*Gate).placeRisks(&at),
				func(r risk.Risk) bool { return strings.Contains(r.Text, "a handler that caches") })
			if caught != c.want {
				t.Errorf("%s: %t; want %t", name, caught, c.want)
			}
		})
		if visits != 1 {
			t.Errorf("%s: %d gates were found", name, visits)
		}
	}
}
