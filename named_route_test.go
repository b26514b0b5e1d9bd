package websms

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
)

// A gate or a webhook in a named route is refused if Caddy would keep only the first of the
// route's directives, and only then.
func TestNamedRoutes(t *testing.T) {
	const (
		gate     = "websms_otp {\n company Acme\n}\n"
		webhook  = "websms_webhook {\n secret x\n}\n"
		password = "basic_auth {\n bob $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n}\n"
		app      = "reverse_proxy localhost:1\n"
		snippet  = "(secure) {\n" + password + "GATE\n}\n"
	)
	// kept counts the handlers that are left of a named route.
	kept := func(named string) int {
		config, err := harness.Adapt(strings.ReplaceAll(named, "GATE", "request_header X-Gate here") + "localhost {\n invoke app\n}\n")
		if err != nil {
			t.Fatal(err)
		}
		var read struct {
			Apps struct {
				HTTP struct {
					Servers map[string]struct {
						Named json.RawMessage `json:"named_routes"`
					} `json:"servers"`
				} `json:"http"`
			} `json:"apps"`
		}
		if err := json.Unmarshal(config, &read); err != nil {
			t.Fatal(err)
		}
		text := string(read.Apps.HTTP.Servers["srv0"].Named)
		return strings.Count(text, `"handler":`) - strings.Count(text, `"handler":"subroute"`)
	}
	for name, block := range map[string]string{
		"alone":                      "GATE\n",
		"with its application":       "GATE\n" + app,
		"with a first factor":        password + "GATE\n",
		"with a star":                password + "header * X-A b\nGATE\n",
		"imported":                   "import secure\n",
		"imported beside":            "import secure\n" + app,
		"in a handle beside":         "header X-A b\nhandle {\nGATE\n" + app + "}\n",
		"in a route beside":          password + "route {\nGATE\n}\n",
		"deeper":                     password + "route {\nhandle /x/* {\nGATE\n}\n}\n",
		"with root":                  "root /srv\nGATE\nfile_server\n",
		"in one route":               "route {\n" + password + "GATE\n" + app + "}\n",
		"in one handle":              "handle {\n" + password + "GATE\n" + app + "}\n",
		"with a matcher":             "GATE\nrespond /x no\n",
		"with a named matcher":       "@a path /x\nGATE\nrespond @a no\n",
		"with an unused matcher":     "@a path /x\nGATE\n" + app,
		"with a rewrite":             "rewrite * /x\nGATE\n" + app,
		"with try_files":             "try_files {path} /index.php\nGATE\n" + app,
		"with php":                   "GATE\nphp_fastcgi localhost:9000\n",
		"with handle_path":           "handle_path /x/* {\n" + app + "}\nGATE\n",
		"in handles, one of a path":  "handle /x/* {\nGATE\n}\nhandle {\n" + app + "}\n",
		"with root for a path":       "root /x/* /srv\nGATE\nfile_server\n",
		"with an option of a folder": "GATE\nfile_server {\n root /srv\n}\n",
	} {
		whole := kept(snippet + "&(app) {\nroute {\n" + block + "}\n}\n")
		named := snippet + "&(app) {\n" + block + "}\n"
		cut := kept(named) < whole
		for directive, text := range map[string]string{"websms_otp": gate, "websms_webhook": webhook} {
			_, err := harness.Adapt(strings.ReplaceAll(named, "GATE", text) + "localhost {\n invoke app\n}\n")
			if (err != nil) != cut {
				t.Errorf("%s: Caddy cuts the route: %t; adapting says %v", name, cut, err)
			}
			if err != nil && !strings.Contains(err.Error(), directive+": stands in the named route &(app) with other directives") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
