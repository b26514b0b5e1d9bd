package connexus

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/net/publicsuffix"
	"golang.org/x/text/unicode/norm"
)

// AutofillLength is the most characters of a message that Android offers to fill in
// (SMS Retriever API of Google Play services: 140).
const AutofillLength = 140

// Text returns the SMS as WebSMS composes it (WebSMS developer guide, step 4):
//
//	482174 is your MyApp verification code. Valid for 5 minutes.
//	@app.example.com #482174
//
// If Code is empty, six zeros stand for the code that WebSMS makes.
func (o OTP) Text() string {
	code := o.Code
	if code == "" {
		code = strings.Repeat("0", autoCode)
	}
	text := code + " is your " + o.Company + " verification code."
	if o.Comment != "" {
		text += " " + o.Comment
	}
	if o.WebOTPDomain != "" {
		text += "\n@" + o.WebOTPDomain + " #" + code
	}
	return text
}

// The default alphabet of SMS and its extension (3GPP TS 23.038, sections 6.2.1 and
// 6.2.1.1). A character of the extension takes the room of two.
const (
	gsmAlphabet = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
		"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsmExtension = "\f^{}\\[~]|€"
)

// Parts returns the number of SMS that a text is sent and billed as, at least 1. A text
// in the alphabet of SMS (GSM 03.38) has up to 160 characters in one part, and 153 in
// each of several. With one other character in it, such as ā or a curly quotation mark,
// the whole text has 70 in one part, and 67 in each of several.
func Parts(text string) int {
	if NotGSM(text) == "" {
		return parts(text, 160, 153, func(r rune) int {
			if strings.ContainsRune(gsmExtension, r) {
				return 2
			}
			return 1
		})
	}
	return parts(text, 70, 67, utf16.RuneLen)
}

// parts counts the parts of a text. single and each are the room in a single part and in
// each of several. No character is divided between two parts.
func parts(text string, single, each int, size func(rune) int) int {
	whole, count, used := 0, 1, 0
	for _, r := range text {
		n := max(1, size(r))
		whole += n
		if used+n > each {
			count, used = count+1, 0
		}
		used += n
	}
	if whole <= single {
		return 1
	}
	return count
}

// NotGSM returns the characters of a text that are outside the alphabet of SMS (GSM
// 03.38), each once, in their order. Māori macrons are among them, for example.
func NotGSM(text string) string {
	var found []rune
	for _, r := range text {
		if !isGSM(r) && !slices.Contains(found, r) {
			found = append(found, r)
		}
	}
	return string(found)
}

func isGSM(r rune) bool {
	return strings.ContainsRune(gsmAlphabet, r) || strings.ContainsRune(gsmExtension, r)
}

// plainer has substitutes for characters that do not decompose into others.
var plainer = map[rune]string{
	'‘': "'", '’': "'", '‚': "'", '‛': "'", 'ʻ': "'", 'ʼ': "'", '′': "'", '`': "'", '´': "'",
	'“': `"`, '”': `"`, '„': `"`, '‟': `"`, '«': `"`, '»': `"`, '″': `"`,
	'‐': "-", '‑': "-", '‒': "-", '–': "-", '—': "-", '―': "-", '−': "-", '•': "-", '·': "-",
	'ł': "l", 'Ł': "L", 'đ': "d", 'Đ': "D", 'ð': "d", 'Ð': "D", 'þ': "th", 'Þ': "Th", 'ħ': "h", 'Ħ': "H", 'ı': "i",
	'œ': "oe", 'Œ': "OE", 'ẞ': "SS", 'ŋ': "ng", 'Ŋ': "Ng", '×': "x", '®': "", '©': "", '\t': " ",
}

// PlainGSM returns a text in the alphabet of SMS (GSM 03.38) that reads like the given
// one: "Kowhai" for "Kōwhai", and straight quotation marks for curly ones. ok is false if
// there is none, for example because the text is in another script.
func PlainGSM(text string) (plain string, ok bool) {
	var b strings.Builder
	for _, r := range text {
		switch substitute, known := plainer[r]; {
		case isGSM(r):
			b.WriteRune(r)
		case known:
			b.WriteString(substitute)
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		case unicode.Is(unicode.Mn, r), unicode.Is(unicode.Cf, r): // accents of their own, and invisible characters
		default:
			for _, part := range norm.NFKD.String(string(r)) {
				switch {
				case isGSM(part):
					b.WriteRune(part)
				case !unicode.Is(unicode.Mn, part):
					return "", false
				}
			}
		}
	}
	return b.String(), strings.TrimSpace(b.String()) != ""
}

var (
	// address matches a text with a scheme, or with www in front.
	address = regexp.MustCompile(`(?i)\b(?:[a-z][a-z0-9+.-]*://|www\.)[^\s]+`)
	// dottedName matches names that have the form of a domain.
	dottedName = regexp.MustCompile(`(?:[\pL\pN](?:[\pL\pN\pM_-]*[\pL\pN\pM])?\.)+[\pL][\pL\pN\pM-]*[\pL\pN\pM]`)
)

// FindLink returns the first part of a text that looks like a URL or a domain, such as
// kowhai.nz, or "". WebSMS holds messages with one back until it has whitelisted the
// domain. A name is taken for a domain if it ends in a public suffix
// (https://publicsuffix.org).
func FindLink(text string) string {
	if !utf8.ValidString(text) {
		return ""
	}
	found := address.FindStringIndex(text)
	for _, at := range dottedName.FindAllStringIndex(text, -1) {
		if found != nil && found[0] <= at[0] {
			break
		}
		name := strings.ToLower(text[at[0]:at[1]])
		if suffix, listed := publicsuffix.PublicSuffix(name); suffix != name && (listed || strings.Contains(suffix, ".")) {
			found = at
			break
		}
	}
	if found == nil {
		return ""
	}
	return strings.TrimRight(text[found[0]:found[1]], ".,;:!?)]}'\"")
}
