package pages

import (
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestNumberForm(t *testing.T) {
	doc := page(t, Login{ReturnTo: "/reports?year=2026&page=2", Example: "021 234 567"})
	form := one(t, doc, "form", "action", prefix+"/send")
	phone := one(t, form, "input", "name", "phone", "type", "tel", "autocomplete", "tel")
	if !has(phone, "required") || has(phone, "aria-invalid") || has(phone, "autofocus") {
		t.Errorf("the number field has %v", phone.Attr)
	}
	one(t, form, "input", "type", "hidden", "name", "rd", "value", "/reports?year=2026&page=2")
	if got := text(one(t, doc, "p", "id", attr(phone, "aria-describedby"))); got != "For example, 021 234 567" {
		t.Errorf("the number field is described by %q", got)
	}
	if text(one(t, form, "button")) != "Text me a code" {
		t.Error("the button does not say what it does")
	}
	// Reloading the answer to a post requests the form with GET.
	u, err := url.Parse(attr(one(t, doc, "main"), "data-url"))
	if err != nil || u.Path != prefix+"/login" || u.Query().Get("rd") != "/reports?year=2026&page=2" {
		t.Errorf("the page's own address is %v (%v)", u, err)
	}
}

func TestNumberFormWrong(t *testing.T) {
	for _, problem := range []*Problem{InvalidNumber("021 234 567"), InvalidNumber(""), CountryNotAllowed()} {
		doc := page(t, Login{Example: "021 234 567", Problem: problem})
		phone := one(t, doc, "input", "name", "phone", "aria-invalid", "true")
		if !has(phone, "autofocus") {
			t.Errorf("%s: the wrong field does not get the focus", problem.Slug)
		}
		alert := one(t, doc, "p", "role", "alert", "id", attr(phone, "aria-describedby"))
		if got, want := text(alert), "Error: "+problem.Detail; got != want {
			t.Errorf("%s: the field is described by %q, want %q", problem.Slug, got, want)
		}
	}
}

func TestSecondFactor(t *testing.T) {
	doc := page(t, Login{Masked: "+64•••567", ReturnTo: "/x"})
	if len(find(doc, "input", "name", "phone")) > 0 {
		t.Error("asks for a number though it is known")
	}
	if got := text(one(t, doc, "button")); got != "Text a code to +64•••567" {
		t.Errorf("the button says %q", got)
	}
	one(t, doc, "input", "name", "rd", "value", "/x")

	v := codeForm()
	v.SecondFactor = true
	if doc := page(t, v); strings.Contains(text(doc), "another number") {
		t.Error("the code form offers another number though there is none")
	}
}

func TestRecoveryForm(t *testing.T) {
	doc := page(t, Recover{ReturnTo: "/reports?year=2026&page=2"})
	form := one(t, doc, "form", "action", prefix+"/recover")
	code := one(t, form, "input", "name", "code", "type", "text", "autocomplete", "off")
	if !has(code, "required") || !has(code, "autofocus") || has(code, "inputmode") || has(code, "pattern") {
		t.Errorf("the code field has %v", code.Attr)
	}
	one(t, form, "input", "type", "hidden", "name", "rd", "value", "/reports?year=2026&page=2")
	for _, link := range find(doc, "a") {
		u, err := url.Parse(attr(link, "href"))
		if err != nil || u.Path != prefix+"/login" || u.Query().Get("rd") != "/reports?year=2026&page=2" {
			t.Errorf("a link leads to %q", attr(link, "href"))
		}
	}
	found := false
	for _, link := range find(page(t, codeForm()), "a") {
		u, err := url.Parse(attr(link, "href"))
		found = found || err == nil && u.Path == prefix+"/recover" && u.Query().Get("rd") == "/reports?year=2026&page=2"
	}
	if !found {
		t.Error("the code form has no way to the recovery form")
	}
}

func TestSignedOut(t *testing.T) {
	if got := text(one(t, page(t, Login{SignedOut: true}), "p", "role", "status")); got != "You are signed out." {
		t.Errorf("the notice says %q", got)
	}
}

func TestCodeForm(t *testing.T) {
	doc := page(t, codeForm())
	form := one(t, doc, "form", "action", prefix+"/verify", "data-events", prefix+"/status")
	code := one(t, form, "input", "name", "code", "inputmode", "numeric", "autocomplete", "one-time-code", "pattern", `[^A-Za-z]{6,}`)
	one(t, form, "input", "type", "hidden", "name", "challenge", "value", codeForm().Challenge)
	for key, want := range map[string]string{"type": "text", "maxlength": "64", "data-least": "6", "data-most": "6"} {
		if got := attr(code, key); got != want {
			t.Errorf("the code field's %s is %q, want %q", key, got, want)
		}
	}
	if !has(code, "required") || !has(code, "autofocus") || has(code, "aria-invalid") || has(code, "value") {
		t.Errorf("the code field has %v", code.Attr)
	}
	if got := text(one(t, doc, "label", "for", "code")); got != "6-digit code" {
		t.Errorf("the code field is called %q", got)
	}
	for key, want := range map[string]time.Time{
		"data-now": noon, "data-expires": noon.Add(5 * time.Minute), "data-resend": noon.Add(30 * time.Second),
	} {
		if got, err := time.ParseDuration(attr(form, key) + "ms"); err != nil || !time.Unix(0, 0).Add(got).Equal(want) {
			t.Errorf("%s is %q, want %v", key, attr(form, key), want)
		}
	}
	if len(find(doc, "input", "name", "remember")) > 0 {
		t.Error("offers to trust the device though nobody asked it to")
	}

	resend := one(t, doc, "form", "action", prefix+"/resend")
	if button := one(t, resend, "button"); has(button, "disabled") {
		t.Error("without JavaScript nobody could ever send the code again")
	}
	if got := text(one(t, resend, "p")); got != "You can send it again 30 seconds after this page opened." {
		t.Errorf("of the resend it says %q", got)
	}
	other := one(t, doc, "a", "id", "other")
	u, err := url.Parse(attr(other, "href"))
	if err != nil || text(other) != "Use another number" || u.Path != prefix+"/login" || u.Query().Get("rd") != codeForm().ReturnTo {
		t.Errorf("%q leads to %v (%v)", text(other), u, err)
	}
	// After a reload of a refusal, the address still tells where the user wants to go.
	u, err = url.Parse(attr(one(t, doc, "main"), "data-url"))
	if err != nil || u.Path != prefix+"/verify" || u.Query().Get("rd") != codeForm().ReturnTo {
		t.Errorf("the page's own address is %v (%v)", u, err)
	}
}

func TestCodeLength(t *testing.T) {
	for length, pattern := range map[int]string{4: `[^A-Za-z]{4,}`, 8: `[^A-Za-z]{8,}`} {
		v := codeForm()
		v.CodeLength = length
		one(t, page(t, v), "input", "name", "code", "pattern", pattern)
	}
	v := codeForm()
	v.AnyLength = true
	doc := page(t, v)
	one(t, doc, "input", "name", "code", "pattern", `[^A-Za-z]{4,}`, "data-least", "4", "data-most", "8")
	if got := text(one(t, doc, "label", "for", "code")); got != "Code" {
		t.Errorf("the field of a code of any length is called %q", got)
	}
}

func TestDeliveryStates(t *testing.T) {
	words := map[string]string{
		"queued":    "Sending the code…",
		"accepted":  "The code is on its way.",
		"delivered": "The code was delivered to +64•••567.",
		"failed":    "The message may not have gone out. If a code arrives, it still works. If not, send the code again.",
	}
	for state, want := range words {
		v := codeForm()
		v.Status = state
		doc := page(t, v)
		region := one(t, doc, "p", "role", "status", "data-state", state)
		if got := text(region); got != want {
			t.Errorf("%s says %q, want %q", state, got, want)
		}
		// The script reads the texts of the other states here.
		for other, want := range words {
			if got := attr(region, "data-"+other); got != want {
				t.Errorf("data-%s is %q, want %q", other, got, want)
			}
		}
	}
	v := codeForm()
	v.Status = "unheard-of"
	one(t, page(t, v), "p", "role", "status", "data-state", "queued")
}

func TestWrongCode(t *testing.T) {
	v := codeForm()
	v.Problem, v.AttemptsLeft, v.Remember, v.Remembered = WrongCode(4), 4, 30*24*time.Hour, true
	doc := page(t, v)
	code := one(t, doc, "input", "name", "code", "aria-invalid", "true")
	if !has(code, "autofocus") || attr(code, "value") != "" {
		t.Errorf("the code field has %v", code.Attr)
	}
	ids := strings.Fields(attr(code, "aria-describedby"))
	if ids[0] != "problem" {
		t.Errorf("the field is described by %q, want the problem first", ids)
	}
	const problem = "Error: That is not the code we sent. You have 4 tries left."
	if got := text(one(t, doc, "p", "role", "alert", "id", "problem")); got != problem {
		t.Errorf("the problem is %q", got)
	}
	if got := text(one(t, doc, "title")); got != "Wrong code – Harbour Bank" {
		t.Errorf("title %q", got)
	}
	if !has(one(t, doc, "input", "name", "remember"), "checked") {
		t.Error("the device has to be trusted again after a wrong code")
	}
}

// An error that belongs to no field is shown above the form and takes the focus.
func TestProblemOfTheWholeForm(t *testing.T) {
	for _, v := range []View{
		Login{Example: "021", Problem: &Problem{
			Slug: "rate_limited", Title: "Wait", Detail: "Nothing was sent.", RetryAfter: 90 * time.Second,
		}},
		func() View {
			v := codeForm()
			v.Problem = &Problem{Slug: "rate_limited", Title: "Wait", Detail: "Nothing was sent.", RetryAfter: 90 * time.Second}
			return v
		}(),
	} {
		doc := page(t, v)
		alert := one(t, doc, "div", "role", "alert", "tabindex", "-1")
		if !has(alert, "autofocus") || countAttr(doc, "aria-invalid") > 0 {
			t.Errorf("%s: the focus is not on the problem, or a field is called wrong", v.view())
		}
		if got := text(alert); got != "Wait Nothing was sent. Try again in 90 seconds." {
			t.Errorf("%s: it says %q", v.view(), got)
		}
	}
}

func TestRememberOffer(t *testing.T) {
	v := codeForm()
	v.Remember = 720 * time.Hour
	doc := page(t, v)
	box := one(t, doc, "input", "name", "remember", "type", "checkbox", "value", "1")
	if has(box, "checked") {
		t.Error("ticked unasked")
	}
	if got := text(one(t, doc, "label", "for", attr(box, "id"))); got != "Trust this device for 30 days" {
		t.Errorf("the offer is %q", got)
	}
	if got := text(one(t, doc, "p", "id", attr(box, "aria-describedby"))); !strings.Contains(got, "other people use this device") {
		t.Errorf("its hint is %q", got)
	}
}

func TestTriesLeft(t *testing.T) {
	for left, want := range map[int]string{5: "", 3: "", 2: "You have 2 tries left.", 1: "You have one try left."} {
		v := codeForm()
		v.AttemptsLeft = left
		hint := text(one(t, page(t, v), "p", "id", "hint"))
		if got := strings.TrimSpace(strings.TrimPrefix(hint, "It works for another 5 minutes.")); got != want {
			t.Errorf("with %d tries left it says %q, want %q", left, got, want)
		}
	}
}

func TestResendNow(t *testing.T) {
	v := codeForm()
	v.ResendAt, v.Sent = noon.Add(-time.Second), true
	doc := page(t, v)
	if got := text(one(t, doc, "p", "id", "wait")); !strings.HasSuffix(got, "You can send it again now.") {
		t.Errorf("of the resend it says %q", got)
	}
	one(t, doc, "p", "class", "notice good", "role", "status")
}

func TestExpiredCodeForm(t *testing.T) {
	v := codeForm()
	v.Now, v.Status = v.ExpiresAt, "delivered"
	doc := page(t, v)
	if got := text(one(t, doc, "p", "id", "delivery", "data-state", "expired")); got != "The code has expired." {
		t.Errorf("the state is %q", got)
	}
	if !has(one(t, doc, "form", "id", "resend"), "hidden") {
		t.Error("an expired code can be sent again")
	}
	if got := text(one(t, doc, "a", "id", "other", "class", "renew")); got != "Get a new code" {
		t.Errorf("the way on is %q", got)
	}
}

func TestMessage(t *testing.T) {
	doc := page(t, FormNotSent(prefix+"/login?rd=%2Fforms%2F7"))
	link := one(t, doc, "a", "target", "_blank", "rel", "noopener", "href", prefix+"/login?rd=%2Fforms%2F7")
	if got := text(link); got != "Sign in (opens a new tab)" {
		t.Errorf("the link says %q", got)
	}
	if steps := find(doc, "li"); len(steps) != 3 {
		t.Errorf("%d steps", len(steps))
	}
	if got := text(one(t, doc, "h1")); got != "Your form was not sent" {
		t.Errorf("heading %q", got)
	}

	// A relative action leads below the prefix.
	if link := one(t, page(t, Expired()), "a", "href", prefix+"/login"); has(link, "target") {
		t.Error("opens a new tab unasked")
	}
	if doc := page(t, Message{Heading: "Hello"}); len(find(doc, "a")) > 0 {
		t.Error("a link out of nowhere")
	}
}

// The page in a frame leads out of the frame. A form that another site has posted is explained in a
// tab that stays, because that site's page is in its history.
func TestWhereMessagesLead(t *testing.T) {
	const login = prefix + "/login?rd=%2Fdesk%3Ftab%3D2"
	for name, c := range map[string]struct {
		view        Message
		target, rel string
	}{
		"frame":             {SignInAbove(login), "_top", ""},
		"form":              {FormNotSent(login), "_blank", "noopener"},
		"form of a site":    {FormOfAnotherSite("Acme", login), "_blank", "noopener"},
		"an ordinary page":  {CrossOrigin().To("/desk?tab=2"), "", ""},
		"a page with an rd": {SignInAbove(login).To("/other"), "_top", ""},
	} {
		link := one(t, page(t, c.view), "a")
		u, err := url.Parse(attr(link, "href"))
		if err != nil || u.Path != prefix+"/login" || u.Query().Get("rd") != "/desk?tab=2" {
			t.Errorf("%s: the link leads to %q", name, attr(link, "href"))
		}
		if attr(link, "target") != c.target || attr(link, "rel") != c.rel {
			t.Errorf("%s: the link opens %q, rel %q; want %q, %q", name, attr(link, "target"), attr(link, "rel"), c.target, c.rel)
		}
	}
}

// The operator must learn from the user which setting to change.
func TestFormOfAnotherSite(t *testing.T) {
	doc := text(page(t, FormOfAnotherSite("Acme", "/login")))
	for _, want := range []string{"Another website", "tell Acme", "bypass"} {
		if !strings.Contains(doc, want) {
			t.Errorf("the page does not say %q: %s", want, doc)
		}
	}
}

// A pattern lets a code pass as people write it.
func TestCodePattern(t *testing.T) {
	pattern := regexp.MustCompile("^(?:" + attr(one(t, page(t, codeForm()), "input", "name", "code"), "pattern") + ")$")
	for typed, want := range map[string]bool{
		"482174": true, "482 174": true, "482-174": true, "٤٨٢١٧٤": true, "482174482174": true, "482174.": true,
		"": false, "48217": false, "abcdef": false,
	} {
		if pattern.MatchString(typed) != want {
			t.Errorf("%q passes the pattern: %v", typed, !want)
		}
	}
}

// If the code expires before it may be sent again, the page says when there will be a message, and
// offers none.
func TestLateResend(t *testing.T) {
	v := codeForm()
	v.ResendAt = v.ExpiresAt
	doc := page(t, v)
	if !has(one(t, doc, "form", "action", prefix+"/resend"), "hidden") {
		t.Error("a resend is offered that will be refused")
	}
	if got := text(one(t, doc, "p", "id", "limit")); got != "You can have another message 5 minutes after this page opened." {
		t.Errorf("of the next message it says %q", got)
	}
	v.ResendAt = v.ExpiresAt.Add(-time.Second)
	doc = page(t, v)
	if has(one(t, doc, "form", "action", prefix+"/resend"), "hidden") || !has(one(t, doc, "p", "id", "limit"), "hidden") {
		t.Error("no resend is offered, although there will be time for it")
	}
}

// The login page leads back to the code form while there is a code.
func TestPendingCode(t *testing.T) {
	leads := func(v Login) bool {
		for _, a := range find(page(t, v), "a") {
			if u, err := url.Parse(attr(a, "href")); err == nil && u.Path == prefix+"/verify" {
				return text(a) == "I have a code" && u.Query().Get("rd") == v.ReturnTo
			}
		}
		return false
	}
	if v := (Login{ReturnTo: "/a?b=c&d"}); leads(v) {
		t.Error("without a code, the page leads to its form")
	}
	if v := (Login{ReturnTo: "/a?b=c&d", Pending: true}); !leads(v) {
		t.Error("the page does not lead back to the code form")
	}
}

// A refused number stays in its field.
func TestRefusedNumberStays(t *testing.T) {
	v := Login{Phone: `021 "<234>`, Problem: InvalidNumber("021 234 567")}
	if got := attr(one(t, page(t, v), "input", "name", "phone"), "value"); got != v.Phone {
		t.Errorf("the field has %q, want %q", got, v.Phone)
	}
	if has(one(t, page(t, Login{}), "input", "name", "phone"), "value") {
		t.Error("an empty field has a value")
	}
}
