package number

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/nyaruka/phonenumbers/v2"
	"github.com/nyaruka/phonenumbers/v2/metadata"
	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/internal/decimal"
)

// Numbers as phones, address books and keyboards write them.
func TestParseTyped(t *testing.T) {
	const want = "+6421234567"
	for _, in := range []string{
		"tel:021-234-567", "tel:+64-21-234-567", "TEL:+6421234567", " tel: 021 234 567", "tel:+64%2021%20234%20567", "tel:%2B6421234567",
		"tel://+6421234567", "tel:0064 21 234 567",
		"021\t234\t567", "\t021 234 567\t", "+64\t21\t234567", "021\n234\r\n567", "021\v234\f567", "+64\u200921\u202f234\u2007567",
		"+64\u300021\u2003234\u205f567", "021\u2028234\u2029567", "021\u0085234567",
		"021‐234‐567", "021‑234‑567", "021‒234‒567", "021–234–567", "021—234—567", "021―234―567", "021−234−567", "021－234－567", "021﹣234﹣567",
		"021·234·567", "021•234•567", "(021) 234.567", "（０２１）２３４－５６７",
		"\u202a+64 21 234 567\u202c", "\u2066+64 21 234 567\u2069", "\u200e+6421234567", "\ufeff021 234 567",
		"021\u00ad234\u200b567", "\u200btel:021 234 567",
		"٠٢١ ٢٣٤ ٥٦٧", "۰۲۱ ۲۳۴ ۵۶۷", "०२१ २३४ ५६७", "০২১ ২৩৪ ৫৬৭", "๐๒๑ ๒๓๔ ๕๖๗", "０２１　２３４　５６７", "𝟎𝟐𝟏𝟐𝟑𝟒𝟓𝟔𝟕", "𝟘𝟚𝟙𝟚𝟛𝟜𝟝𝟞𝟟",
		"＋６４ ２１ ２３４ ５６７", "﹢6421234567", "⁺٦٤٢١٢٣٤٥٦٧",
		"+64+21 234 567", "+64 +21 234 567", "+64+021 234 567", "+64+(0)21 234 567", "+64+21\u00a0234\u00a0567", "+64 (+64) 21 234 567",
		"+64+64 21 234 567", "+64 +6421234567", "+64+64 021 234 567", "+64 64 21 234 567", "+646421234567", "+64 0064 21 234 567",
		"+64+0064 21 234 567", "＋64＋21 234 567", "0064+64 21 234 567", "64+64 21 234 567", "00+64 21 234 567", "0+64 21 234 567",
		"+64 (0)21 234 567", "+64(0)21234567", "0064 (0)21 234 567", "+64 021 234 567", "++64 21 234 567", "+ 64 21 234 567",
	} {
		if n, err := Parse(in, []string{"NZ"}); err != nil || n.E164 != want {
			t.Errorf("%+q is %v, %v", in, n, err)
		}
	}
	for in, want := range map[string]error{
		"tel:+64-21-234-567;ext=5":                   ErrInvalid,
		"tel:021234567;phone-context=+64":            ErrInvalid,
		"tel:+6421234567?x=021":                      ErrInvalid,
		"tel:tel:021234567":                          ErrInvalid,
		"tel:":                                       ErrInvalid,
		"tel:%zz021234567":                           ErrInvalid,
		"sms:021234567":                              ErrInvalid,
		"telephone 021 234 567":                      ErrInvalid,
		"+64+64+64 21 234 567":                       ErrInvalid,
		"+64+61 412 345 678":                         ErrInvalid, // two codes
		"+61+64 21 234 567":                          ErrInvalid,
		"61+64 21 234 567":                           ErrInvalid,
		"021 234 567 / +64 21 234 568":               ErrInvalid,
		"+64 21 234 567 +64 21 234 568":              ErrInvalid,
		"+64 21 234+567":                             ErrInvalid,
		"021234567+":                                 ErrInvalid,
		"+64+":                                       ErrInvalid,
		"+64+9 555 1234":                             ErrInvalid, // a landline
		"+64+64 9 555 1234":                          ErrInvalid,
		"+61+61 412 345 678":                         ErrCountry,
		"+61 61 412 345 678":                         ErrCountry,
		"tel:+61-412-345-678":                        ErrCountry,
		"٠٩ ٥٥٥ ١٢٣٤":                                ErrInvalid,
		"21² 234 567":                                ErrInvalid,
		strings.Repeat("\u200b", 20) + "021 234 567": ErrInvalid, // over 64 bytes
	} {
		if n, err := Parse(in, []string{"NZ"}); !errors.Is(err, want) {
			t.Errorf("%+q is %v, %v; want %v", in, n, err, want)
		}
	}
}

// Every character that Unicode calls a decimal digit is read as that digit, and every space and hyphen
// parts groups.
func TestParseEveryCharacter(t *testing.T) {
	nz := []string{"NZ"}
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if value, ok := decimal.Value(r); ok {
			zero := r - rune(value)
			text := string([]rune{zero, zero + 2, zero + 1, zero + 2, zero + 3, zero + 4, zero + 5, zero + 6, zero + 7})
			if n, err := Parse(text, nz); err != nil || n.E164 != "+6421234567" {
				t.Errorf("%+q is %v, %v", text, n, err)
			}
		}
		if unicode.IsSpace(r) || unicode.In(r, unicode.Zs, unicode.Pd, unicode.Cf) {
			for _, text := range []string{"021" + string(r) + "234" + string(r) + "567", "+64" + string(r) + "21" + string(r) + "234567"} {
				if n, err := Parse(text, nz); err != nil || n.E164 != "+6421234567" {
					t.Errorf("%+q is %v, %v", text, n, err)
				}
			}
		}
	}
}

// mobiles returns mobile numbers of every country, by the patterns of the library. Each pattern gives up
// to so many.
func mobiles(t *testing.T, each int) []Number {
	t.Helper()
	found, countries := []Number{}, map[string]bool{}
	for _, region := range everywhere() {
		m, _ := metadata.RegionMetadata(region)
		for _, d := range []*phonenumbers.PhoneNumberDesc{m.GetMobile(), m.GetFixedLine()} {
			if d.GetNationalNumberPattern() == "" {
				continue
			}
			pattern := rapid.StringMatching("^(?:" + d.GetNationalNumberPattern() + ")$")
			for i := range each {
				typed := fmt.Sprintf("+%d%s", m.GetCountryCode(), pattern.Example(i))
				// A landline, or a length that there is not, is no mobile number.
				if n, err := Parse(typed, everywhere()); err == nil && n.E164 == typed {
					found = append(found, n)
					countries[n.Region] = true
				}
			}
		}
	}
	if len(countries) < 200 {
		t.Errorf("only %d countries have a number", len(countries))
	}
	return found
}

// A mobile number of any country is read from each of these spellings.
func TestParseTypedEverywhere(t *testing.T) {
	regions := everywhere()
	for _, n := range mobiles(t, 2) {
		code := callingCode(n.E164[1:])
		national := n.E164[1+len(code):]
		for _, in := range []string{
			"tel:" + n.E164, "tel:+" + code + "-" + national, "+" + code + "\t" + national, "+" + code + "\u202f" + national,
			"\u202a" + n.E164 + "\u202c", "+" + code + "\u2011" + national, "+" + code + "+" + national, "+" + code + " " + n.E164,
			"+" + code + n.E164, "+" + code + " 00" + n.E164[1:],
		} {
			if got, err := Parse(in, regions); err != nil || got != n {
				t.Errorf("%+q is %v, %v; want %v", in, got, err, n)
			}
		}
		// Without a second plus it may be another number, such as a landline in Leer (+49 491).
		twice := "+" + code + n.E164[1:]
		parsed, err := phonenumbers.Parse(twice, "")
		other := err == nil && phonenumbers.IsValidNumber(parsed)
		if got, err := Parse(twice, regions); err != nil && !other || err == nil && got != n && got.E164 != twice {
			t.Errorf("%q is %v, %v; want %v", twice, got, err, n)
		}
	}
}

// A mask shows the calling code and at most three digits, and hides at least four behind the code.
func TestMaskEverywhere(t *testing.T) {
	shortest := 15
	for _, n := range mobiles(t, 5) {
		shortest = min(shortest, len(n.E164)-1)
		code := callingCode(n.E164[1:])
		national := n.E164[1+len(code):]
		front, back, found := strings.Cut(Mask(n.E164), "•••")
		if !found || front != "+"+code || !strings.HasSuffix(national, back) || len(back) > 3 {
			t.Errorf("the mask of %s is %s", n.E164, Mask(n.E164))
		}
		if hidden := len(national) - len(back); hidden < minHidden {
			t.Errorf("the mask %s hides %d digits of %s", Mask(n.E164), hidden, n.E164)
		}
	}
	if shortest != minE164 {
		t.Errorf("the shortest number has %d digits, and not %d", shortest, minE164)
	}
}

func FuzzParseTyped(f *testing.F) {
	for _, s := range []string{"tel:021-234-567", "+64+21 234 567", "+64+64 21 234 567", "0064+64", "+39+39 393", "٠٢١٢٣٤٥٦٧", "tel:%",
		"\u202a+64"} {
		f.Add(s)
	}
	regions := []string{"NZ", "AU", "US", "IT", "KZ", "TK"}
	f.Fuzz(func(t *testing.T, in string) {
		n, err := Parse(in, regions)
		if err != nil {
			return
		}
		// No digit is read that does not stand there.
		national := n.E164[1+len(callingCode(n.E164[1:])):]
		if typed := digitsOf(plain(withoutScheme(in))); !isSubsequence(national, typed) {
			t.Errorf("%+q is read as %v", in, n)
		}
		if again, err := Parse("tel:"+n.E164, regions); err != nil || again != n {
			t.Errorf("%v is read as %v, %v", n, again, err)
		}
	})
}

// isSubsequence reports whether the digits of a stand in b in their order.
func isSubsequence(a, b string) bool {
	for i := 0; i < len(b) && a != ""; i++ {
		if b[i] == a[0] {
			a = a[1:]
		}
	}
	return a == ""
}
