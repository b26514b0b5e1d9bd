// Package number reads phone numbers as people type them, and decides which of
// them a gate serves.
//
// [Parse] reads one number. A [Policy] adds the countries that are served, and
// optionally a list of numbers. A [Parser] reads a long list quickly. [Mask] makes
// a number fit for logs and pages.
//
// The package promises:
//
//   - A [Number] is a mobile number in E.164, such as "+6421234567". Premium,
//     toll-free, satellite and personal numbers are refused.
//   - No error repeats the input, so numbers stay out of logs.
//   - [Mask] shows the calling code and the last three digits, and no more.
//
// The package cannot tell whether a number is in use. It reads the
// numbering plans of Google's libphonenumber, in the version that go.mod names.
// Countries that number mobile and fixed lines alike, such as the United States,
// have both accepted.
package number

import (
	"errors"
	"slices"
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers/v2"
)

var (
	// ErrInvalid says that an input is not a mobile number.
	ErrInvalid = errors.New("not a mobile number")
	// ErrCountry says that an input is a mobile number of a country that is not
	// served.
	ErrCountry = errors.New("mobile number of a country that is not served")
)

// Input outside these bounds is refused at once. The library would take 30 to 90 µs
// for it in each region.
const (
	// maxInput is in bytes. It leaves four characters for each of the 15 digits
	// that E.164 allows.
	maxInput = 64
	// maxNational is in digits: the 15 of E.164, and the "(0)" that many people
	// write behind the calling code.
	maxNational = 16
	// maxDialled adds an international prefix in place of the plus. The longest
	// in use are of Australia's carriers, such as 0011 behind 1411.
	maxDialled = maxNational + 8
	// minDigits is one less than the shortest mobile numbers have, which are those
	// of St Helena.
	minDigits = 4
)

// Number is a mobile number.
type Number struct {
	E164   string // with its plus: "+6421234567"
	Region string // ISO 3166-1 alpha-2: "NZ"
}

// Parse reads input as a mobile number of one of regions. Regions are ISO 3166-1
// codes in upper case, in order of preference.
//
// A local spelling, such as "021 234 567", is tried in each region in turn. A
// spelling with a calling code, such as "+64 21 234 567" or "0064 21 234 567",
// says its country itself. Spaces, brackets, dots and hyphens are ignored, and
// digits of any script are read. Letters are refused.
//
// The error is ErrInvalid or ErrCountry. A call takes some 10 µs; for long lists
// see [Parser].
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
			break // the result is the same in every region
		}
	}
	return Number{}, err
}

// shape reports two things without the library: whether an input begins with a
// plus and a calling code, and whether its characters and length can be those of
// a number. No calling code begins with a zero: the library reads the digits
// behind "+00" as dialled.
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

// isLetter reports the characters of vanity spellings and extensions. The library
// would turn them into digits that the person did not type.
func isLetter(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == ';' || r == '='
}

// mobile reports whether text messages can reach n. Where mobile and fixed lines
// are numbered alike, as in North America, both count as mobile. Premium,
// satellite and personal numbers do not: they are a means of toll fraud.
func mobile(n *phonenumbers.PhoneNumber) bool {
	switch phonenumbers.GetNumberType(n) {
	case phonenumbers.MOBILE, phonenumbers.FIXED_LINE_OR_MOBILE:
		return n.GetExtension() == ""
	}
	return false
}

// Mask returns a number as it is shown and logged, such as "+64•••567". A text
// that is not in E.164 becomes "•••".
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

// Example returns a mobile number of region in its local spelling, such as
// "021 123 4567", for the hint beside a field. It returns "" if none is known.
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
