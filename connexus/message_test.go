package connexus_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddy-websms/websms/connexus"
)

func TestOTPText(t *testing.T) {
	for _, test := range []struct {
		otp  connexus.OTP
		want string
	}{
		{connexus.OTP{To: testNumber, Company: "MyApp", Code: "482174"}, "482174 is your MyApp verification code."},
		{connexus.OTP{Company: "MyApp", Comment: "Valid for 5 minutes."}, "000000 is your MyApp verification code. Valid for 5 minutes."},
		{connexus.OTP{Company: "Kōwhai", Code: "0000", WebOTPDomain: "example.com"},
			"0000 is your Kōwhai verification code.\n@example.com #0000"},
	} {
		if got := test.otp.Text(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestParts(t *testing.T) {
	n := strings.Repeat
	for _, test := range []struct {
		text string
		want int
	}{
		{"", 1}, {n("a", 160), 1}, {n("a", 161), 2}, {n("a", 306), 2}, {n("a", 307), 3}, {n("à", 160), 1}, {n("\n", 160), 1},
		{n("€", 80), 1}, {n("€", 81), 2}, {n("[", 153), 3}, {n("a", 152) + "€" + n("a", 153), 3}, // € does not fit the first part
		{n("a", 69) + "ā", 1}, {n("a", 70) + "ā", 2}, {n("ā", 134), 2}, {n("ā", 135), 3}, {"’" + n("a", 70), 2}, {n("ç", 71), 2},
		{n("😀", 35), 1}, {n("😀", 36), 2}, {n("😀", 66), 2}, {n("😀", 67), 3}, // 33 in each part
	} {
		if got := connexus.Parts(test.text); got != test.want {
			t.Errorf("%.10q, %d characters: %d parts, want %d", test.text, utf8.RuneCountInString(test.text), got, test.want)
		}
	}
}

func TestGSM(t *testing.T) {
	for _, test := range []struct {
		text, outside, plain string // plain "": there is none
	}{
		{"Kowhai Freight", "", "Kowhai Freight"},
		{"Café & Söhne ÄÖÜ ñ ß Ø å €5 [x] {y} ~ | ^ \\", "", "Café & Söhne ÄÖÜ ñ ß Ø å €5 [x] {y} ~ | ^ \\"},
		{"Kōwhai", "ō", "Kowhai"}, {"Māori Ōtautahi āēīōūĀĒĪŌŪ", "āŌēīōūĀĒĪŪ", "Maori Otautahi aeiouAEIOU"},
		{"Ko\u0304whai", "\u0304", "Kowhai"}, {"Joe’s “Café” – it’s…", "’“”–…", `Joe's "Café" - it's...`},
		{"Zürich\u00a0AG", "\u00a0", "Zürich AG"}, {"ﬁne", "ﬁ", "fine"}, {"Ångström Łódź ç", "Łóźç", "Ångström Lodz c"}, {"Acme™", "™", "AcmeTM"},
		{"`x`", "`", "'x'"}, {"a\u200bb", "\u200b", "ab"},
		{"Москва", "Москва", ""}, {"東京", "東京", ""}, {"Hi 😀", "😀", ""}, {"\u0304", "\u0304", ""},
	} {
		if got := connexus.NotGSM(test.text); got != test.outside {
			t.Errorf("%q: outside %q, want %q", test.text, got, test.outside)
		}
		got, ok := connexus.PlainGSM(test.text)
		if got != test.plain && ok || ok != (test.plain != "") {
			t.Errorf("%q: plain %q %t, want %q", test.text, got, ok, test.plain)
		}
		if ok && connexus.NotGSM(got) != "" {
			t.Errorf("%q: plain %q is not in the alphabet", test.text, got)
		}
	}
}

func TestFindLink(t *testing.T) {
	for text, want := range map[string]string{
		"Kowhai Freight": "", "Dr. Smith": "", "Dr.Smith": "", "St.John Ambulance": "", "e.g. now": "", "a.m.": "", "No.1 in NZ": "", "v1.2": "",
		"3.50": "", "Wait...": "", "Valid for 5 minutes.": "", "Never share it.Ever": "", "co.nz": "", ".nz": "", "A.B.C": "", "192.168.0.1": "",
		"kowhai.nz": "kowhai.nz", "Kowhai.co.nz": "Kowhai.co.nz", "Booking.com": "Booking.com", "See kowhai.nz.": "kowhai.nz",
		"(kowhai.nz)": "kowhai.nz", "help@kowhai.nz": "kowhai.nz", "Kōwhai.nz": "Kōwhai.nz", "bit.ly/abc": "bit.ly", "x.github.io": "x.github.io",
		"https://kowhai/x": "https://kowhai/x", "HTTP://10.0.0.1": "HTTP://10.0.0.1",
		"www.kowhai": "www.kowhai", "WWW.kowhai.nz now": "WWW.kowhai.nz",
		"kowhai.nz or https://x": "kowhai.nz", "https://x or kowhai.nz": "https://x",
		"xn--kwhai-g9a.nz": "xn--kwhai-g9a.nz", "app.kowhai.iwi.nz": "app.kowhai.iwi.nz",
		"a\xff.nz": "",
	} {
		if got := connexus.FindLink(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func FuzzMessageText(f *testing.F) {
	for _, seed := range []string{"Kōwhai", "a\xff", "😀€", "kowhai.nz", "https://x", strings.Repeat("ā[", 100), "\u0304.nz", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parts, length := connexus.Parts(text), utf8.RuneCountInString(text)
		if parts < 1 || length > 160*parts || parts > 1+length/33 {
			t.Errorf("%q: %d parts", text, parts)
		}
		if plain, ok := connexus.PlainGSM(text); ok && connexus.NotGSM(plain) != "" {
			t.Errorf("%q: plain %q", text, plain)
		}
		if link := connexus.FindLink(text); !strings.Contains(text, link) {
			t.Errorf("%q: link %q", text, link)
		}
	})
}

// A message is looked at before it is sent: this one costs two parts because of one
// letter.
func ExampleParts() {
	message := connexus.OTP{Company: "Kōwhai Freight", Code: "482174", Comment: "Never tell it to anybody."}
	fmt.Println(connexus.Parts(message.Text()), connexus.NotGSM(message.Company))
	message.Company, _ = connexus.PlainGSM(message.Company)
	fmt.Println(connexus.Parts(message.Text()), message.Company)
	// Output:
	// 2 ō
	// 1 Kowhai Freight
}
