package risk

import (
	"strings"
	"testing"

	"github.com/caddy-websms/websms/connexus"
)

// The remedy is a text that costs less, where there is one.
func TestOfTexts(t *testing.T) {
	for _, test := range []struct{ company, comment, text, do string }{
		{"Kōwhai", "", "company holds ō,", `write company "Kowhai": such a message costs one part`},
		{"Acme", "Tūmeke!", "comment holds ū,", `write comment "Tumeke!": such a message costs one part`},
		{"Joe’s", "", "company holds ’,", `write company "Joe's": such a message costs one part`},
		{"A\u200bB", "", "company holds U+200B,", `write company "AB": such a message costs one part`},
		{"Ko\u0304whai", "", "company holds U+0304,", `write company "Kowhai": such a message costs one part`},
		{"Москва", "", "company holds М о с к в …,", "write it with letters of that alphabet"},
		{"Kōwhai", strings.Repeat("x", 120), "company holds ō,", `write company "Kowhai"`},
	} {
		list := OfTexts(connexus.OTP{Company: test.company, Comment: test.comment})
		if len(list) != 1 || !strings.Contains(list[0].Text, test.text) || list[0].Do != test.do || list[0].Note {
			t.Errorf("%q, %q: %+v", test.company, test.comment, list)
		}
	}
	if list := OfTexts(connexus.OTP{Company: "Kōwhai.nz", Comment: "Mā https://x"}); len(list) != 4 {
		t.Errorf("%+v", list)
	}
}
