package risk

import (
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-websms/websms/connexus"
)

// OfTexts returns the risks of the texts that a gate puts into its messages: a character
// that makes the message cost more, and a domain that has WebSMS hold it back. m is a
// message of the gate, with any number and code.
func OfTexts(m connexus.OTP) (list []Risk) {
	plain := m
	for _, text := range []*string{&plain.Company, &plain.Comment} {
		if better, ok := connexus.PlainGSM(*text); ok {
			*text = better
		}
	}
	for _, o := range []struct{ option, text, plain string }{{"company", m.Company, plain.Company}, {"comment", m.Comment, plain.Comment}} {
		if outside := connexus.NotGSM(o.text); outside != "" {
			cost := "and a longer one costs two"
			if n := connexus.Parts(m.Text()); n > 1 {
				cost = fmt.Sprintf("and each message costs %d", n)
			}
			do := "write it with letters of that alphabet"
			if o.plain != o.text {
				do = fmt.Sprintf("write %s %q", o.option, o.plain)
				if connexus.Parts(plain.Text()) == 1 {
					do += ": such a message costs one part"
				}
			}
			list = append(list, Risk{
				Text: fmt.Sprintf("%s holds %s, which the alphabet of SMS (GSM 03.38) lacks: a part then has 70 characters in place of 160, %s",
					o.option, quoteEach(outside), cost),
				Do: do,
			})
		}
		if link := connexus.FindLink(o.text); link != "" {
			list = append(list, Risk{
				Text: fmt.Sprintf("%s holds %q, which looks like a domain or a URL: WebSMS holds such messages back until it has whitelisted it",
					o.option, link),
				Do: "write a name without a dot, or have WebSMS whitelist the domain first",
			})
		}
	}
	return list
}

// quoteEach writes a few characters one by one, such as ā ō. Those that are not visible
// are written as U+200B.
func quoteEach(chars string) string {
	const most = 5
	text, n := "", 0
	for _, r := range chars {
		if n++; n > most {
			return text + " …"
		}
		if text != "" {
			text += " "
		}
		if unicode.IsGraphic(r) && !unicode.IsSpace(r) && !unicode.Is(unicode.M, r) {
			text += string(r)
		} else {
			text += fmt.Sprintf("%U", r)
		}
	}
	return text
}

// TooLong returns the risk of a message that Android does not offer to fill in because of
// its length.
func TooLong(m connexus.OTP) (Risk, bool) {
	text := m.Text()
	length := utf8.RuneCountInString(text)
	if length <= connexus.AutofillLength {
		return Risk{}, false
	}
	bound, cost := "", ""
	if m.WebOTPDomain != "" {
		bound = " with the line for " + m.WebOTPDomain
	}
	if n := connexus.Parts(text); n > 1 {
		cost = fmt.Sprintf(", and each costs %d parts", n)
	}
	return Risk{
		Text: fmt.Sprintf("its messages have %d characters%s: Android fills in no code from one of more than %d%s",
			length, bound, connexus.AutofillLength, cost),
		Do: "shorten comment or company",
	}, true
}
