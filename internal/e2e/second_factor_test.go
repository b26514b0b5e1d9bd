package e2e_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"

	"github.com/caddy-websms/websms/internal/browser"
)

// behindPassword puts the demo behind a password. The passwords are aroha-pass and wiremu-pass,
// hashed with the lowest cost.
const behindPassword = `basic_auth {
		aroha $2a$04$k/5i/WipWvlRogS11rZBeOAxd38S7LGQc8m2qd1/u4TnNz6elSmPa
		wiremu $2a$04$ZOu7tzAhjoSJpxfM9T8exu8cDlg.xx0lUNU/.IrScUhUbQQf/oIg.
	}

	websms_otp {
		second_factor {
			directory DIRECTORY
		}`

// as signs a tab in to the first factor, as the browser's own dialogue does.
func (b *tab) as(user string) {
	b.T.Helper()
	credentials := base64.StdEncoding.EncodeToString([]byte(user + ":" + user + "-pass"))
	headers := network.Headers{"Authorization": "Basic " + credentials}
	browser.Call(b.Tab, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: headers})
}

// Behind a first factor nobody types a number. A page shows the masked number, a button sends the
// code, and the session is valid for that user alone.
func TestSecondFactor(t *testing.T) {
	t.Parallel()
	needChromium(t)
	c := newCaller()
	file := filepath.Join(t.TempDir(), "phones.csv")
	if err := os.WriteFile(file, []byte("user,number\naroha,"+c.local+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := ownDemo(t, "websms_otp {", strings.Replace(behindPassword, "DIRECTORY", file, 1),
		"per_ip 1000/10m", "per_ip 1000/10m\nlockout 3 15m")
	b := newTab(t)
	phone := b.pickUp(s)

	b.as("wiremu")
	b.Problems.Expect(403)
	b.Open(s.app + "/timesheet")
	b.UntilText("h1", "We have no mobile number for you")
	b.UntilText("main", "Kowhai Freight")
	b.inspect("no-number", smartphone, narrow)

	b.as("aroha")
	b.Open(s.app + "/timesheet?week=42")
	b.UntilAt("/.websms/login")
	b.UntilText("main", "+64•••"+c.e164[len(c.e164)-3:])
	if browser.Eval[bool](b.Tab, `document.querySelector("#phone") !== null`) {
		t.Error("the page asks for a number")
	}
	b.inspect("second-factor", smartphone, narrow)
	b.Click("button.primary")
	b.UntilAt("/.websms/verify")
	m := phone.await(c.e164, 1)
	b.inspect("second-factor-code", smartphone, narrow)
	enterCode(b, m.Code)
	b.Until(`location.pathname + location.search === "/timesheet?week=42"`)

	b.Problems.Expect(403)
	b.as("wiremu")
	b.Open(s.app + "/timesheet")
	b.UntilText("h1", "We have no mobile number for you")
	b.as("aroha")
	b.Open(s.app + "/timesheet")
	b.UntilAt("/timesheet")
	b.Click("#user button")
	b.UntilText(".notice", "signed out")

	// Her own wrong codes lock her number.
	b.Open(s.app + "/timesheet")
	b.UntilAt("/.websms/login")
	b.Click("button.primary")
	b.UntilAt("/.websms/verify")
	m = phone.await(c.e164, 2)
	for _, words := range []string{"4 tries", "3 tries"} {
		b.Problems.Expect(422)
		enterCode(b, otherCode(m.Code))
		b.UntilText("#problem", words)
	}
	b.Problems.Expect(422)
	enterCode(b, otherCode(m.Code))
	b.UntilText("h1", "Too many wrong codes")
	b.UntilText("main", "15 minutes")
	b.inspect("locked-out", smartphone, narrow)
	b.Problems.Expect(429)
	b.Open(s.app + "/.websms/login")
	b.Click("button.primary")
	b.UntilText("main", "15 minutes")
}
