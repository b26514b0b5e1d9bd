package websms_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
)

// phpApp is an application that answers with what it gets, and notes each request in a file. Its
// texts are base64, because they need not be UTF-8.
const phpApp = `<?php
file_put_contents(dirname(__DIR__) . '/seen', $_SERVER['REQUEST_METHOD'] . ' ' . $_SERVER['REQUEST_URI'] . "\n", FILE_APPEND);
if (isset($_GET['remember'])) {
	session_start();
	$_SESSION['visits'] = ($_SESSION['visits'] ?? 0) + 1;
}
header('Content-Type: application/json');
header('Cache-Control: public, max-age=60');
header('Set-Cookie: app=1; path=/', false);
$text = fn($s) => base64_encode((string) $s);
echo json_encode([
	'server' => array_map($text, array_filter($_SERVER, 'is_string')),
	'cookies' => (object) array_map($text, $_COOKIE),
	'post' => (object) array_map($text, $_POST),
	'body' => $text(file_get_contents('php://input')),
	'visits' => $_SESSION['visits'] ?? 0,
]);
`

// phpSaw is a request as phpApp got it.
type phpSaw struct {
	Server, Cookies, Post map[string][]byte
	Body                  []byte
	Visits                int
}

// sawPHP reads an answer of phpApp.
func sawPHP(t *testing.T, what string, a harness.Answer) phpSaw {
	t.Helper()
	harness.WantStatus(t, what, a, http.StatusOK)
	var saw phpSaw
	if err := json.Unmarshal([]byte(a.Text), &saw); err != nil {
		t.Fatalf("%s: %v in %s", what, err, harness.Excerpt(a.Text))
	}
	return saw
}

// behindGate runs phpApp behind a gate. matcher is the gate's. reached returns the requests that the
// application got.
func behindGate(t *testing.T, matcher string) (w *harness.World, reached func() string) {
	t.Helper()
	php := harness.StartPHP(t, phpApp)
	w = harness.RunBeside(harness.Start(t, harness.Setup{Gate: harness.Plenty}), harness.Plenty, "localhost",
		"root * "+php.Root+"\n"+matcher+"\ncompany Acme\n"+harness.Unhindered(harness.Plenty)+"\n}\nphp_fastcgi "+php.Address)
	return w, func() string {
		seen, err := os.ReadFile(filepath.Join(filepath.Dir(php.Root), "seen"))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return string(seen)
	}
}

// A PHP application behind the gate gets each request as the browser sent it, with the verified
// number, and without the gate's cookies. Nobody can spoof the number in any spelling that PHP
// reads as the same header.
func TestPHPBehindGate(t *testing.T) {
	w, reached := behindGate(t, "websms_otp {")
	for _, path := range []string{"/", "/index.php", "/index.php/list?id=1", "/list", "/INDEX.PHP"} {
		harness.WantStatus(t, path, w.Browser().Get(path, harness.API), http.StatusUnauthorized)
		harness.WantStatus(t, "a post to "+path, w.Browser().Post(path, []string{"a", "b"}, harness.API), http.StatusUnauthorized)
	}
	if got := reached(); got != "" {
		t.Fatalf("without a session, PHP was asked for %q", got)
	}

	b, number := w.Browser(), harness.FreshNumber()
	b.Login(number)
	const query = "redirect_uri=https%3A%2F%2Fa.example%2F%2fb&q=Caf%E9&p=C%3A%5C&plus=a+b%20c&&empty=&=&;x=%00%0a&a[]=1&a[]=2"
	const theirs = `first=1; quoted="a b"; first=2; odd=%E9;last=`
	spoofed := http.Header{}
	for _, name := range []string{"X-Verified-Number", "X_Verified_Number", "x-verified_number", "X-Verified.Number", "X-VERIFIED-NUMBER",
		"X-Verified-User", "X_verified_user"} {
		spoofed[name] = []string{"+6421999999"}
	}
	answer := b.Get("/index.php/list/a%20b?"+query, harness.Page, spoofed, harness.With("X-Other", "kept", "Cookie", theirs))
	saw := sawPHP(t, "a page", answer)
	for name, want := range map[string]string{
		"REQUEST_METHOD": "GET", "QUERY_STRING": query, "REQUEST_URI": "/index.php/list/a%20b?" + query, "PATH_INFO": "/list/a b",
		"HTTP_X_VERIFIED_NUMBER": number, "REMOTE_USER": number, "HTTP_X_OTHER": "kept", "HTTP_HOST": strings.TrimPrefix(w.URL, "http://"),
	} {
		if got := string(saw.Server[name]); got != want {
			t.Errorf("%s is %q; want %q", name, got, want)
		}
	}
	for name, value := range saw.Server {
		spoof := name != "HTTP_X_VERIFIED_NUMBER" && strings.Contains(harness.CGIName(name), "verified")
		if spoof || strings.Contains(string(value), "+6421999999") {
			t.Errorf("PHP gets %s: %q", name, value)
		}
		if strings.Contains(string(value), "websms_") {
			t.Errorf("%s shows PHP the gate's cookies: %q", name, value)
		}
	}
	// The jar adds the gate's cookies behind those of the test.
	if got := strings.TrimRight(string(saw.Server["HTTP_COOKIE"]), "; "); got != theirs {
		t.Errorf("PHP gets the cookies %q; want %q", got, theirs)
	}
	if len(saw.Cookies) != 4 {
		t.Errorf("PHP reads the cookies %v", saw.Cookies)
	}
	if got := answer.Header.Get("Cache-Control"); !strings.Contains(got, "private") || strings.Contains(got, "public") {
		t.Errorf("the answer has Cache-Control %q", got)
	}
	if answer.SetCookie("app") == nil {
		t.Errorf("the app's own cookie is lost: %v", answer.Header)
	}
}

// The gate does not touch the body of a form, an upload or an API call.
func TestPHPGetsBodies(t *testing.T) {
	w, reached := behindGate(t, "websms_otp {")
	b := w.Browser()
	b.Login(harness.FreshNumber())
	saw := sawPHP(t, "a form", b.Post("/save?x=1", []string{"name", "Āroha & Co", "phone", "021 234 567", "code", "123456"}, harness.Page))
	if string(saw.Post["name"]) != "Āroha & Co" || string(saw.Post["code"]) != "123456" || string(saw.Server["QUERY_STRING"]) != "x=1" {
		t.Errorf("the form arrives as %q, %q", saw.Post, saw.Server["QUERY_STRING"])
	}
	large := strings.Repeat("\x00\xff\r\n--x\r\n&=%", 100_000) // larger than the limit for the gate's own forms
	for what, contentType := range map[string]string{"bytes": "application/octet-stream", "JSON that is none": "application/json"} {
		if saw := sawPHP(t, what, b.Send("/upload", contentType, large)); string(saw.Body) != large {
			t.Errorf("%s: of %d bytes %d arrive", what, len(large), len(saw.Body))
		}
	}
	if saw := sawPHP(t, "nothing", b.Send("/upload", "text/plain", "")); len(saw.Body) > 0 {
		t.Errorf("of an empty body %d bytes arrive", len(saw.Body))
	}
	// PHP keeps a session of its own beside the gate's.
	for visits := 1; visits <= 2; visits++ {
		if saw := sawPHP(t, "a session of PHP", b.Get("/?remember=1")); saw.Visits != visits {
			t.Errorf("PHP counts %d visits; want %d", saw.Visits, visits)
		}
	}
	for _, line := range strings.Split(reached(), "\n") {
		if strings.Contains(line, "/.websms") {
			t.Errorf("PHP was asked for %q", line)
		}
	}
}

// PHP reads /index.php/admin as /admin. So a gate on a part of a site must match /index.php too,
// as docs/recipes/php.md tells. Then no spelling of the path reaches PHP.
func TestPHPPartOfSite(t *testing.T) {
	w, reached := behindGate(t, "@private path /admin /admin/* /index.php /index.php/*\nwebsms_otp @private {")
	sawPHP(t, "a public page", w.Browser().Get("/news"))
	public := reached()
	for _, path := range []string{
		"/admin", "/admin/", "/admin/users", "/Admin/users", "/index.php/admin/users", "/INDEX.php/admin", "/index.php",
		"/index.php/../admin", "/x/../admin", "//admin", "/admin;x", "/index.php;/admin", "/%61dmin", "/index%2ephp/admin",
		"/index.php%2fadmin",
	} {
		for _, accept := range []http.Header{harness.API, harness.Page} {
			if a := w.Browser().Get(path, accept); a.StatusCode != http.StatusUnauthorized && a.StatusCode != http.StatusFound {
				t.Errorf("%s: %s %s", path, a.Status, harness.Excerpt(a.Text))
			}
		}
	}
	if got := reached(); got != public {
		t.Errorf("PHP was asked for %q", strings.TrimPrefix(got, public))
	}
}
