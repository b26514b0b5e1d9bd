package e2e_test

import (
	"slices"
	"testing"

	"github.com/caddy-websms/websms/internal/browser"
)

// otpStub replaces the part of the Web OTP API that needs a phone. The test hands over the code
// with deliverCode, as the phone does when the user agrees. The stub records its events in the
// session storage, which lasts over all pages. Its listeners run before those of the page. So if
// only the end of the page aborts the request, that abort is recorded after it.
const otpStub = `
	const note = (what) => sessionStorage.setItem("otp", (sessionStorage.getItem("otp") ?? "") + location.pathname + " " + what + ";");
	addEventListener("submit", (event) => note("submit of " + document.getElementById("code").value), true);
	addEventListener("pagehide", () => note("pagehide"));
	if (!window.CredentialsContainer) throw new Error("no Credential Management here");
	CredentialsContainer.prototype.get = (options) => {
		note("get " + JSON.stringify(options.otp) + " " + (options.signal instanceof AbortSignal));
		options.signal.addEventListener("abort", () => note("abort"));
		return new Promise((resolve) => { window.deliverCode = (code) => resolve({ type: "otp", code }); });
	};
`

// The script fills in and sends a code that the phone offers. The user presses no key.
func TestWalkByWebOTP(t *testing.T) {
	t.Parallel()
	s, b, c := demo(t), newTab(t), newCaller()
	phone := b.pickUp(s)
	b.Open(s.app + "/notices")
	b.UntilAt("/.websms/login")
	// The stub starts here, so it records only the code form and the pages after it.
	b.Ahead(`if (location.pathname === "/.websms/verify") {` + otpStub + `}`)
	b.Fill("#phone", c.local)
	b.Click("button.primary")
	b.UntilAt("/.websms/verify")
	b.Until("window.deliverCode") // the page asks before the code arrives
	code := phone.await(c.e164, 1).Code
	browser.Eval[bool](b.Tab, `deliverCode(`+browser.Quote(code)+`) ?? true`)
	b.UntilAt("/notices")

	const at = "/.websms/verify "
	want := []string{at + `get {"transport":["sms"]} true`, at + "submit of " + code, at + "abort", at + "pagehide", ""}
	got := browser.Eval[[]string](b.Tab, `sessionStorage.getItem("otp").split(";")`)
	if !slices.Equal(got, want) {
		t.Errorf("what happened is %q, want %q", got, want)
	}
}

// If the user types the code, the form does not wait for the phone, and the script aborts the
// request to the browser.
func TestTypedCodeEndsWebOTP(t *testing.T) {
	t.Parallel()
	s, b, c := demo(t), newTab(t), newCaller()
	phone := b.pickUp(s)
	b.Ahead(`if (location.pathname === "/.websms/verify") {` + otpStub + `}`)
	askForCode(b, s, "/", c)
	b.Until("window.deliverCode")
	code := phone.await(c.e164, 1).Code
	enterCode(b, code)
	b.UntilAt("/")
	got := browser.Eval[[]string](b.Tab, `sessionStorage.getItem("otp").split(";").map(n => n.split(" ")[1])`)
	if want := []string{"get", "submit", "abort", "pagehide"}; !slices.Equal(got[:min(4, len(got))], want) {
		t.Errorf("what happened is %q, want %q", got, want)
	}
}
