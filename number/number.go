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
//   - [Mask] shows the calling code and the last three digits at most. It hides four
//     digits at least, or all behind the calling code.
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
	// maxE164 is in digits, without the plus.
	maxE164 = 15
	// maxNational is in digits: the 15 of E.164, and the "(0)" that many people
	// write behind the calling code.
	maxNational = 16
	// maxDialled adds an international prefix in place of the plus. The longest
	// in use are of Australia's carriers, such as 0011 behind 1411.
	maxDialled = maxNational + 8
	// minDigits is in digits, without the calling code: the shortest mobile numbers are
	// those of Tokelau.
	minDigits = 4
	// minE164 is in digits, without the plus: the shortest mobile numbers are those of
	// Tokelau, such as +6907290.
	minE164 = 7
	// minHidden is how many digits behind the calling code a mask hides at least.
	minHidden = 4
)

// Number is a mobile number.
type Number struct {
	E164   string // with its plus: "+6421234567"
	Region string // ISO 3166-1 alpha-2: "NZ"
}

// Parse reads input as a mobile number of one of regions. Regions are ISO 3166-1
// codes in upper case, in order of preference.
//
// A local spelling, such as "021 234 567", is tried in each region in turn, and the
// first region in which it is a mobile number of one of regions counts. A spelling
// with a calling code, such as "+64 21 234 567" or "0064 21 234 567", says its country
// itself.
//
// Spaces, tabs, brackets, dots and hyphens of any script are ignored, and digits of any
// script are read. "tel:" in front is ignored. A calling code that stands twice, as some
// phones fill it in, counts once: "+64+64 21 234 567". So does a second plus:
// "+64+21 234 567". Letters and extensions are refused.
//
// The error is ErrInvalid or ErrCountry. A call takes some 10 µs; for long lists
// see [Parser].
func Parse(input string, regions []string) (Number, error) {
	if len(input) > maxInput {
		return Number{}, ErrInvalid
	}
	if input = withoutScheme(input); !hopeful(input) {
		return Number{}, ErrInvalid
	}
	text := plain(input)
	if head, tail, found := splitPlus(text); found {
		return parseTwoPluses(strings.HasPrefix(strings.TrimLeft(text, " ("), "+"), head, tail, regions)
	}
	n, valid, err := read(text, regions)
	if !valid && strings.HasPrefix(text, "+") {
		if rest := repeated(digitsOf(text[1:])); rest != "" {
			n, _, err = read("+"+rest, regions)
		}
	}
	return n, err
}

// parseTwoPluses reads a number with a plus behind digits. head has the digits in front
// of that plus, and tail the text behind it. plus says whether a plus stands in front of
// head too. The number is tail with its own calling code, if head is the same code or a
// prefix such as "00". Or it is tail without a calling code, if head is one. If both are
// numbers, the input is ambiguous and refused.
func parseTwoPluses(plus bool, head, tail string, regions []string) (Number, error) {
	if strings.ContainsFunc(tail, func(r rune) bool { return !isASCIIDigit(r) && !strings.ContainsRune(" ().-", r) }) {
		return Number{}, ErrInvalid // for example a third plus, or another number behind a slash
	}
	digits := digitsOf(tail)
	var joined, whole Number
	joinedErr, wholeErr := ErrInvalid, ErrInvalid
	if plus && head != "" && callingCode(head) == head {
		joined, _, joinedErr = read("+"+head+digits, regions)
	}
	digits = strings.TrimPrefix(digits, "00")
	if code := strings.TrimLeft(head, "0"); code == "" || code == callingCode(digits) {
		whole, _, wholeErr = read("+"+digits, regions)
	}
	switch {
	case joinedErr == nil && wholeErr == nil && joined != whole:
		return Number{}, ErrInvalid
	case joinedErr == nil:
		return joined, nil
	case wholeErr == nil || joinedErr == ErrInvalid:
		return whole, wholeErr
	}
	return Number{}, joinedErr
}

// read reads a plain text as a number. valid says whether it is a number at all, also
// one of a fixed line or of another country.
func read(text string, regions []string) (n Number, valid bool, err error) {
	international, plausible := shape(text)
	if !plausible {
		return Number{}, false, ErrInvalid
	}
	err = ErrInvalid
	for _, region := range regions {
		parsed, parseErr := phonenumbers.Parse(text, region)
		if parseErr == nil && mobile(parsed) {
			n := Number{
				E164:   phonenumbers.Format(parsed, phonenumbers.E164),
				Region: phonenumbers.GetRegionCodeForNumber(parsed),
			}
			if slices.Contains(regions, n.Region) {
				return n, true, nil
			}
			err = ErrCountry
		}
		valid = valid || parseErr == nil && phonenumbers.IsValidNumber(parsed)
		if international {
			break // the result is the same in every region
		}
	}
	return Number{}, valid, err
}

// hopeful reports whether an input may be a number, without the library and without
// allocating. shape decides more about each way to read it.
func hopeful(input string) bool {
	digits := 0
	for _, r := range input {
		switch {
		case isLetter(r):
			return false
		case unicode.IsDigit(r):
			digits++
		}
	}
	return minDigits <= digits && digits <= maxDialled
}

// shape reports two things without the library: whether an input begins with a
// plus and a calling code, and whether its characters and length can be those of
// a number. No calling code begins with a zero: the library reads the digits
// behind "+00" as dialled.
func shape(input string) (international, plausible bool) {
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

// Mask returns a number as it is shown and logged, such as "+64•••567": the calling code
// and the last three digits. Of a short number it shows fewer last digits, so that it
// hides four digits behind the calling code, or all if there are fewer: "+290•••4" for
// a number of five digits in St Helena. A text that is not in E.164 becomes "•••".
func Mask(e164 string) string {
	const dots = "•••"
	digits, ok := strings.CutPrefix(e164, "+")
	if !ok || len(digits) < minE164 || strings.ContainsFunc(digits, func(r rune) bool { return !isASCIIDigit(r) }) {
		return dots
	}
	code := callingCode(digits)
	if code == "" {
		return dots
	}
	national := digits[len(code):]
	shown := min(3, max(0, len(national)-minHidden))
	return "+" + code + dots + national[len(national)-shown:]
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
