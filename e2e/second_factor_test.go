package e2e_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
)

// The demo behind a password: the passwords are aroha-pass and wiremu-pass,
// hashed at the least cost.
const behindPassword = `basic_auth {
		aroha $2a$04$k/5i/WipWvlRogS11rZBeOAxd38S7LGQc8m2qd1/u4TnNz6elSmPa
		wiremu $2a$04$ZOu7tzAhjoSJpxfM9T8exu8cDlg.xx0lUNU/.IrScUhUbQQf/oIg.
	}

	websms_otp {
		second_factor {
			directory DIRECTORY
		}`

// as signs a tab in to the first factor, as the browser's own dialogue would.
func (b *tab) as(user string) {
	b.t.Helper()
	credentials := base64.StdEncoding.EncodeToString([]byte(user + ":" + user + "-pass"))
	call(b, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Authorization": "Basic " + credentials}})
}

// With a first factor in front nobody types a number: a page names it masked,
// a button has the code sent, and the session is good for that user alone.
func TestSecondFactor(t *testing.T) {
	t.Parallel()
	needChromium(t)
	c := newCaller()
	file := filepath.Join(t.TempDir(), "phones.csv")
	if err := os.WriteFile(file, []byte("user,number\naroha,"+c.local+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := ownDemo(t, "websms_otp {", strings.Replace(behindPassword, "DIRECTORY", file, 1), "per_ip 1000/10m", "per_ip 1000/10m\nlockout 3 15m")
	b := newTab(t)
	phone := b.pickUp(s)

	b.as("wiremu")
	b.problems.expect(403)
	b.open(s.app + "/timesheet")
	b.untilText("h1", "We have no mobile number for you")
	b.untilText("main", "Kowhai Freight")
	b.inspect("no-number", smartphone, narrow)

	b.as("aroha")
	b.open(s.app + "/timesheet?week=42")
	b.untilAt("/.websms/login")
	b.untilText("main", "+64•••"+c.e164[len(c.e164)-3:])
	if eval[bool](b, `document.querySelector("#phone") !== null`) {
		t.Error("the page asks for a number")
	}
	b.inspect("second-factor", smartphone, narrow)
	b.click("button.primary")
	b.untilAt("/.websms/verify")
	m := phone.await(c.e164, 1)
	b.inspect("second-factor-code", smartphone, narrow)
	enterCode(b, m.Code)
	b.until(`location.pathname + location.search === "/timesheet?week=42"`)

	b.problems.expect(403)
	b.as("wiremu")
	b.open(s.app + "/timesheet")
	b.untilText("h1", "We have no mobile number for you")
	b.as("aroha")
	b.open(s.app + "/timesheet")
	b.untilAt("/timesheet")
	b.click("#user button")
	b.untilText(".notice", "signed out")

	// Her own mistakes lock her number.
	b.open(s.app + "/timesheet")
	b.untilAt("/.websms/login")
	b.click("button.primary")
	b.untilAt("/.websms/verify")
	m = phone.await(c.e164, 2)
	for _, words := range []string{"4 tries", "3 tries"} {
		b.problems.expect(422)
		enterCode(b, another(m.Code))
		b.untilText("#problem", words)
	}
	b.problems.expect(422)
	enterCode(b, another(m.Code))
	b.untilText("h1", "Too many wrong codes")
	b.untilText("main", "15 minutes")
	b.inspect("locked-out", smartphone, narrow)
	b.problems.expect(429)
	b.open(s.app + "/.websms/login")
	b.click("button.primary")
	b.untilText("main", "15 minutes")
}
