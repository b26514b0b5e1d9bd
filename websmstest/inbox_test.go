package websmstest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/websmstest"
)

// inbox returns the response of the inbox to a browser's request.
func (a *account) inbox(method, path string, form url.Values, header ...string) reply {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.sim.InboxURL+path, strings.NewReader(form.Encode()))
	if err != nil {
		a.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := a.client.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return reply{status: resp.StatusCode, header: resp.Header, body: string(body)}
}

func TestInboxPage(t *testing.T) {
	a := open(t, websmstest.Options{WebhookURL: "http://u:pass-secret@127.0.0.1:1/hook?secret=query-secret"})
	page := a.inbox("GET", "", nil)
	if page.status != 200 || page.header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("got %d %v", page.status, page.header)
	}
	for _, want := range []string{"This is a simulator.", "No SMS leaves this machine", "No messages yet", "http://127.0.0.1:1/hook<"} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page.body, "-secret") {
		t.Error("the page tells a secret")
	}
	a.send("msgCode", "111111")
	a.send("msgCode", "482174", "to", "64275550123", "msgCompany", `<b>"MyApp" & 'Co'</b>`, "msgComment",
		"Valid for 5 minutes.", "webOtpDomain", "example.com", "sandbox", "1")
	page = a.inbox("GET", "", nil)
	if codes := regexp.MustCompile(`<code class="otp">(\d+)</code>`).FindAllStringSubmatch(page.body,
		-1); len(codes) != 2 || codes[0][1] != "482174" || codes[1][1] != "111111" {
		t.Errorf("codes %q, want the newest first", codes)
	}
	for _, want := range []string{
		`data-to="64275550123" data-code="482174"`,
		`<b class="to">+64275550123</b>`,
		`<p class="sms"><code class="otp">482174</code> is your &lt;b&gt;&#34;MyApp&#34; &amp; &#39;Co&#39;&lt;/b&gt; ` +
			"verification code. Valid for 5 minutes.\n@example.com #482174</p>",
		"sandbox",
	} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(page.body, "<b>\"") || strings.Contains(page.body, "<b>&#34;") {
		t.Error("the company is not escaped")
	}
}

func TestInboxHeaders(t *testing.T) {
	a := open(t, websmstest.Options{})
	page := a.inbox("GET", "", nil)
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
			"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
		"X-Content-Type-Options": "nosniff",
		"Referrer-Policy":        "same-origin",
		"Cache-Control":          "no-store",
	} {
		if got := page.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	// The page needs no more than that policy allows, and every file that it refers
	// to exists.
	if inline := regexp.MustCompile(`(?i)<style|style=|\son[a-z]+=|<script>|https?://`).FindString(page.body); inline != "" {
		t.Errorf("the page holds %q", inline)
	}
	references := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(page.body, -1)
	if len(references) < 4 {
		t.Errorf("references %q", references)
	}
	for _, m := range references {
		r := a.inbox("GET", strings.TrimPrefix(m[1], "./"), nil)
		if r.status != 200 || r.header.Get("Content-Type") == "" {
			t.Errorf("%s: %d %q", m[1], r.status, r.header.Get("Content-Type"))
		}
	}
	for path, want := range map[string]int{"nothing": 404, "inbox.html": 404, "inbox/inbox.html": 404, "reply": 405, "delivery": 405} {
		if r := a.inbox("GET", path, nil); r.status != want {
			t.Errorf("GET /%s: %d, want %d", path, r.status, want)
		}
	}
}

func TestInboxReply(t *testing.T) {
	h := newHook(t)
	a := open(t, websmstest.Options{})
	a.sim.SetDelivery(websmstest.Silent)
	m := a.send()
	a.sim.SetWebhook(h.URL, "")
	r := a.inbox("POST", "reply", url.Values{"id": {m.ID}, "body": {" <i>yes</i> "}})
	if r.status != 303 || r.header.Get("Location") != "./#"+m.ID {
		t.Errorf("got %d to %q", r.status, r.header.Get("Location"))
	}
	if d := h.next(t); d.fields["type"] != "mo" || d.fields["body"] != "<i>yes</i>" || d.fields["from"] != "+6421234567" || d.auth != "" {
		t.Errorf("webhook got %s with %q", d.raw, d.auth)
	}
	if page := a.inbox("GET", "", nil); !strings.Contains(page.body, "<li>&lt;i&gt;yes&lt;/i&gt;</li>") {
		t.Error("the reply is not on the page, or not escaped")
	}
	for _, tc := range []struct {
		name   string
		form   url.Values
		status int
	}{
		{"blank", url.Values{"id": {m.ID}, "body": {"  "}}, 422},
		{"over 1000 characters", url.Values{"id": {m.ID}, "body": {strings.Repeat("ō", 1001)}}, 422},
		{"unknown message", url.Values{"id": {"MSG1"}, "body": {"x"}}, 404},
		{"over 8 KiB", url.Values{"id": {m.ID}, "body": {strings.Repeat("x", 8<<10)}}, 413},
	} {
		if r := a.inbox("POST", "reply", tc.form); r.status != tc.status {
			t.Errorf("%s: %d %s", tc.name, r.status, r.body)
		}
	}
	if got := a.sim.Messages()[0].Replies; !slices.Equal(got, []string{"<i>yes</i>"}) {
		t.Errorf("replies %q", got)
	}
}

func TestInboxDelivery(t *testing.T) {
	a := open(t, websmstest.Options{})
	for choice, state := range map[string]string{"rejected": "rejected", "undelivered": "undelivered", "now": "delivered"} {
		r := a.inbox("POST", "delivery", url.Values{"next": {choice}})
		if r.status != 303 || r.header.Get("Location") != "./" {
			t.Errorf("%s: got %d to %q", choice, r.status, r.header.Get("Location"))
		}
		if page := a.inbox("GET", "", nil); !strings.Contains(page.body, fmt.Sprintf(`<option value=%q selected>`, choice)) {
			t.Errorf("%s is not selected", choice)
		}
		m := a.send()
		if _, err := a.sim.WaitMessage(t.Context(),
			func(now websmstest.Message) bool { return now.ID == m.ID && now.State == state }); err != nil {
			t.Fatal(err)
		}
		page := a.inbox("GET", "", nil)
		if !strings.Contains(page.body, fmt.Sprintf(`id=%q data-to="6421234567" data-code=%q data-state=%q`, m.ID, m.Code, state)) {
			t.Errorf("%s: the state is not on the page", choice)
		}
		if !strings.Contains(page.body, `<option value="now" selected>`) {
			t.Errorf("after %s the choice lasts", choice)
		}
	}
	if r := a.inbox("POST", "delivery", url.Values{"next": {"by pigeon"}}); r.status != 422 {
		t.Errorf("unknown choice: %d", r.status)
	}
}

func TestInboxCrossOrigin(t *testing.T) {
	a := open(t, websmstest.Options{})
	m := a.send()
	own := strings.TrimSuffix(a.sim.InboxURL, "/")
	for _, path := range []string{"reply", "delivery"} {
		f := url.Values{"id": {m.ID}, "body": {"x"}, "next": {"late"}}
		for _, header := range [][]string{
			{"Sec-Fetch-Site", "cross-site"},
			{"Sec-Fetch-Site", "same-site"},
			{"Origin", "http://evil.example"},
			{"Origin", "null"},
		} {
			if r := a.inbox("POST", path, f, header...); r.status != 403 {
				t.Errorf("%s with %q: %d, want 403", path, header, r.status)
			}
		}
		for _, header := range [][]string{{"Sec-Fetch-Site", "same-origin"}, {"Origin", own}, nil} {
			if r := a.inbox("POST", path, f, header...); r.status != 303 {
				t.Errorf("%s with %q: %d, want 303", path, header, r.status)
			}
		}
	}
}

func TestInboxShowsWebhookTrouble(t *testing.T) {
	h := newHook(t, 401, 401, 401, 401)
	a := open(t, websmstest.Options{WebhookURL: h.URL})
	a.sim.SetDelivery(websmstest.Silent)
	m := a.send()
	if err := a.sim.Report(t.Context(), m.ID, 1); err == nil {
		t.Error("no error")
	}
	if page := a.inbox("GET", "", nil); !strings.Contains(page.body, `<p class="trouble">webhook answered 401, not 200; given up</p>`) {
		t.Error("the page does not say that the webhook failed")
	}
	if err := a.sim.Report(t.Context(), m.ID, 1); err != nil {
		t.Error(err)
	}
	if page := a.inbox("GET", "", nil); strings.Contains(page.body, `class="trouble"`) {
		t.Error("the trouble stays on the page")
	}
}

func TestMessageTime(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 0, time.FixedZone("NZDT", 13*60*60))
	a := open(t, websmstest.Options{Now: func() time.Time { return at }})
	a.send()
	if page := a.inbox("GET", "", nil); !strings.Contains(page.body, `<time datetime="2026-02-02T15:05:06Z">3 Feb, 04:05:06</time>`) {
		t.Error("the time is not on the page")
	}
}
