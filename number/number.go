// Package number understands phone numbers as people type them and decides
// which of them a gate serves.
//
// It promises that a Number it returns is one that text messages can reach, in
// E.164 form, and that masking one never shows more than its country code and its
// last three digits.
package number

import (
	"errors"
	"slices"
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers/v2"
)

var (
	// ErrInvalid says that an input is no mobile number of any country asked for.
	ErrInvalid = errors.New("not a mobile number")
	// ErrCountry says that an input is a mobile number of another country.
	ErrCountry = errors.New("mobile number of a country that is not served")
)

// Input outside these bounds is refused at once. The parser would take 30 to 90 µs
// for it, in each of the regions.
const (
	// maxInput is in bytes: nobody needs four characters of decoration for each
	// of the 15 digits that E.164 allows.
	maxInput = 64
	// maxNational is in digits: the 15 of E.164, and a "(0)" that many people
	// write behind the country code.
	maxNational = 16
	// maxDialled adds an international prefix in place of the plus. The longest
	// in use are of Australia's carriers, such as 0011 behind 1411.
	maxDialled = maxNational + 8
	// minDigits is fewer than any country has: St Helena's mobile numbers have 5.
	minDigits = 4
)

// Number is a mobile number.
type Number struct {
	E164   string // with its plus: "+6421234567"
	Region string // ISO 3166-1 alpha-2: "NZ"
}

// Parse understands input as a mobile number of one of regions (ISO codes, in
// order of preference). Local spellings ("021 234 567") are read as each
// region would read them; spellings with a country code ("+64 21…", "0064…")
// as what they say. It returns ErrInvalid or ErrCountry; neither repeats the
// input.
func Parse(input string, regions []string) (Number, error) {
	international, plausible := shape(input)
	if !plausible {
		return Number{}, ErrInvalid
	}
	err := ErrInvalid
	for _, region := range regions {
		parsed, parseErr := phonenumbers.Parse(input, region)
		if parseErr == nil && mobile(parsed) {
			n := Number{
				E164:   phonenumbers.Format(parsed, phonenumbers.E164),
				Region: phonenumbers.GetRegionCodeForNumber(parsed),
			}
			if slices.Contains(regions, n.Region) {
				return n, nil
			}
			err = ErrCountry
		}
		if international {
			break // every region reads it alike
		}
	}
	return Number{}, err
}

// shape reports whether an input begins with a plus and a country code, and
// whether its characters and length can be those of a number. No country code
// begins with a zero: the parser reads the digits behind "+00" as dialled.
func shape(input string) (international, plausible bool) {
	if len(input) > maxInput {
		return false, false
	}
	digits, plus := 0, false
	for _, r := range input {
		switch {
		case isLetter(r):
			return false, false
		case digits == 0 && (r == '+' || r == '＋'):
			plus = true
		case unicode.IsDigit(r):
			if digits == 0 {
				international = plus && '1' <= r && r <= '9'
			}
			digits++
		}
	}
	most := maxDialled
	if international {
		most = maxNational
	}
	return international, minDigits <= digits && digits <= most
}

// isLetter refuses vanity spellings and extensions, which the parser would
// otherwise turn into digits that nobody typed.
func isLetter(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == ';' || r == '='
}

// mobile reports whether text messages reach n. Countries that number mobile
// and fixed lines alike (North America) are taken at their word; premium,
// satellite and personal numbers, where toll fraud lives, are not.
func mobile(n *phonenumbers.PhoneNumber) bool {
	switch phonenumbers.GetNumberType(n) {
	case phonenumbers.MOBILE, phonenumbers.FIXED_LINE_OR_MOBILE:
		return n.GetExtension() == ""
	}
	return false
}

// Mask returns how a number is shown and logged: "+64•••567". What is not
// E.164 becomes "•••".
func Mask(e164 string) string {
	const dots = "•••"
	digits, ok := strings.CutPrefix(e164, "+")
	if !ok || len(digits) < 7 {
		return dots
	}
	code := 0
	for i := 0; i < 3; i++ {
		code = code*10 + int(digits[i]-'0')
		if phonenumbers.GetRegionCodeForCountryCode(code) != "ZZ" {
			return "+" + digits[:i+1] + dots + digits[len(digits)-3:]
		}
	}
	return dots + digits[len(digits)-3:]
}

// Example returns a mobile number of region as its people write it, for the
// hint beside the field; "" where none is known.
func Example(region string) string {
	n := phonenumbers.GetExampleNumberForTypeInRegion(region, phonenumbers.MOBILE)
	if n == nil {
		return ""
	}
	return phonenumbers.Format(n, phonenumbers.NATIONAL)
}

// KnownRegion reports whether code is an ISO country code with phone numbers.
func KnownRegion(code string) bool {
	return phonenumbers.GetSupportedRegions()[code]
}
