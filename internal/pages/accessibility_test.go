package pages

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/caddy-websms/websms/internal/browser"
)

// node is an element as a screen reader presents it.
type node struct{ Role, Name, Description, Invalid string }

// said lists the controls and alerts of the page in the order in which a screen reader reads them.
func said(b *browser.Tab) []node {
	b.T.Helper()
	value := func(v *accessibility.Value) string {
		if v == nil || len(v.Value) == 0 {
			return ""
		}
		var s any
		if err := json.Unmarshal(v.Value, &s); err != nil {
			b.T.Fatal(err)
		}
		return strings.Join(strings.Fields(fmt.Sprint(s)), " ")
	}
	var found []node
	for _, n := range browser.Call(b, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes {
		role := value(n.Role)
		switch role {
		case "textbox", "checkbox", "button", "link", "heading", "status", "alert":
		default:
			continue
		}
		told := node{Role: role, Name: value(n.Name), Description: value(n.Description)}
		for _, p := range n.Properties {
			if p.Name == accessibility.PropertyNameInvalid {
				told.Invalid = value(p.Value)
			}
		}
		found = append(found, told)
	}
	return found
}

func TestWhatAScreenReaderIsTold(t *testing.T) {
	t.Parallel()
	wrong := codeForm()
	wrong.Problem, wrong.Remember, wrong.ResendAt = WrongCode(4), 720*3600e9, noon
	s, b := newSite(t, Login{})
	for name, c := range map[string]struct {
		view  View
		wants []node
	}{
		"number": {Login{Example: "021 234 567"}, []node{
			{"heading", "Sign in", "", ""},
			{"textbox", "Mobile number", "For example, 021 234 567", "false"},
			{"button", "Text me a code", "", "false"},
		}},
		"wrong number": {Login{Example: "021 234 567", Problem: InvalidNumber("021 234 567")}, []node{
			{"heading", "Sign in", "", ""},
			{"alert", "", "", ""},
			{"textbox", "Mobile number", "Error: Enter a mobile number, like 021 234 567.", "true"},
			{"button", "Text me a code", "", "false"},
		}},
		"wrong code": {wrong, []node{
			{"heading", "Enter your code", "", ""},
			{"status", "", "", ""},
			{"alert", "", "", ""},
			{"textbox", "6-digit code", "Error: That is not the code we sent. You have 4 tries left. " +
				"It works for another 5 minutes. The code is on its way.", "true"},
			{"checkbox", "Trust this device for 30 days", "Leave this unticked if other people use this device.", "false"},
			{"button", "Continue", "", "false"},
			{"heading", "No code?", "", ""},
			{"button", "Send the code again", "Messages can take a minute. You can send it again now.", "false"},
			{"link", "Use another number", "", ""},
			{"link", "I have a recovery code", "", ""},
		}},
		"wrong recovery code": {Recover{Problem: WrongRecovery("Harbour Bank")}, []node{
			{"heading", "Enter your recovery code", "", ""},
			{"alert", "", "", ""},
			{"textbox", "Recovery code", "Error: That recovery code did not work. Check each letter and digit. " +
				"A code works once, within 10 minutes. If you need a new one, ask Harbour Bank. 13 letters and digits, in groups of four", "true"},
			{"button", "Continue", "", "false"},
			{"link", "Back to sign in", "", ""},
		}},
		"form not sent": {FormNotSent("/login"), []node{
			{"heading", "Your form was not sent", "", ""},
			{"link", "Sign in (opens a new tab)", "", ""},
		}},
		"form of another site": {FormOfAnotherSite("Acme", "/login"), []node{
			{"heading", "We did not accept a form from another website", "", ""},
			{"link", "Sign in (opens a new tab)", "", ""},
		}},
		"frame": {SignInAbove("/login"), []node{
			{"heading", "You are not signed in", "", ""},
			{"link", "Sign in", "", ""},
		}},
	} {
		s.show(c.view)
		b.Open(s.URL + prefix + "/page")
		if got, want := fmt.Sprintf("%+v", said(b)), fmt.Sprintf("%+v", c.wants); got != want {
			t.Errorf("%s: told\n%s\nwant\n%s", name, got, want)
		}
	}
}

func TestFocus(t *testing.T) {
	t.Parallel()
	limited := &Problem{Slug: "rate_limited", Title: "Please wait a little", Detail: "We have not sent a code."}
	wrong, held := codeForm(), codeForm()
	wrong.Problem, held.Problem = WrongCode(4), limited
	s, b := newSite(t, Login{})
	for name, c := range map[string]struct {
		view View
		want string
	}{
		"number":       {Login{}, ""},
		"wrong number": {Login{Problem: CountryNotAllowed()}, "phone"},
		"limited":      {Login{Problem: limited}, "problem"},
		"code":         {codeForm(), "code"},
		"wrong code":   {wrong, "code"},
		"code limited": {held, "problem"},

		"recovery":         {Recover{}, "recovery"},
		"wrong recovery":   {Recover{Problem: WrongRecovery("Acme")}, "recovery"},
		"recovery limited": {Recover{Problem: TooManyTries(0)}, "problem"},
	} {
		t.Log(name)
		s.show(c.view)
		b.Open(s.URL + prefix + "/page")
		b.Until(`document.activeElement?.id === ` + browser.Quote(c.want))
	}
}

// Every element that the keyboard can reach has a visible focus outline.
func TestFocusIsVisible(t *testing.T) {
	t.Parallel()
	v := codeForm()
	v.Remember, v.ResendAt = 720*3600e9, noon
	s, b := newSite(t, v)
	b.Open(s.URL + prefix + "/page")
	b.Until(`document.activeElement.id === "code" && !document.querySelector("#resend button").disabled`)
	var order []string
	for range 5 {
		order = append(order, browser.Eval[string](b, `document.activeElement.id || document.activeElement.textContent`))
		const outline = `(({ outlineStyle, outlineWidth }) => outlineStyle + " " + outlineWidth)(getComputedStyle(document.activeElement))`
		if got := browser.Eval[string](b, outline); got != "solid 3px" {
			t.Errorf("the focus on %s is drawn %s", order[len(order)-1], got)
		}
		b.Press("\t")
	}
	if got := strings.Join(order, ", "); got != "code, remember, Continue, Send the code again, other" {
		t.Errorf("the keyboard goes through %s", got)
	}
}

// layoutFaults is a script that checks the layout of the page. It finds text of too little
// contrast, targets that are too small for a finger, fields on which iOS zooms, and cut-off text.
const layoutFaults = `(() => {
	const found = [];
	const channels = (css) => css.match(/[\d.]+/g).map(Number);
	const luminance = ([r, g, b]) => {
		const f = (c) => ((c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
		return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b);
	};
	const behind = (e) => {
		for (; e; e = e.parentElement) {
			const c = channels(getComputedStyle(e).backgroundColor);
			if (c.length === 3 || c[3] === 1) return c;
		}
		return [255, 255, 255];
	};
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	let texts = 0;
	while (walker.nextNode()) {
		const e = walker.currentNode.parentElement;
		if (!walker.currentNode.textContent.trim() || !e.checkVisibility() || e.closest(".unseen")) continue;
		texts++;
		const [a, b] = [luminance(channels(getComputedStyle(e).color)), luminance(behind(e))];
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (ratio < 4.5) found.push(ratio.toFixed(2) + ":1 on " + JSON.stringify(e.textContent.trim()));
	}
	if (texts < 3) found.push("only " + texts + " texts seen");
	for (const e of document.querySelectorAll("button, a, input:not([type=hidden])")) {
		if (!e.checkVisibility()) continue;
		// A checkbox is pressed by its label.
		const box = (e.type === "checkbox" ? e.labels[0] : e).getBoundingClientRect();
		if (box.height < 44 || box.width < 44) found.push("target " + box.width + "x" + box.height + " " + (e.id || e.textContent));
		if (e.matches("input") && parseFloat(getComputedStyle(e).fontSize) < 16) found.push("small text in " + e.id);
	}
	const root = document.documentElement;
	if (root.scrollWidth > root.clientWidth) found.push("wider than the screen: " + root.scrollWidth + " of " + root.clientWidth);
	for (const e of document.querySelectorAll("button, .primary")) {
		if (e.scrollWidth > e.clientWidth || e.scrollHeight > e.clientHeight) found.push("cut off: " + e.textContent);
	}
	return found.join("\n");
})()`

func TestLayout(t *testing.T) {
	t.Parallel()
	s, b := newSite(t, Login{})
	for name, v := range everyView() {
		s.show(v)
		b.Open(s.URL + prefix + "/page")
		for scheme, width := range map[string]int64{"light": 320, "dark": 1280} {
			// Reduced motion turns the colour transitions off, so that the final colours are
			// measured.
			browser.Call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
				{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
			}})
			b.Do(chromedp.EmulateViewport(width, 740, chromedp.EmulateMobile))
			b.Until(fmt.Sprintf("Math.round(visualViewport.width * visualViewport.scale) === %d", width))
			b.Until(fmt.Sprintf("matchMedia('(prefers-color-scheme: %s)').matches", scheme))
			if got := browser.Eval[string](b, layoutFaults); got != "" {
				t.Errorf("%s, %s, %d px:\n%s", name, scheme, width, got)
			}
		}
	}
}
