package connexus

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"unicode"
)

// refusesToken reports whether a reply clearly refuses the bearer token. Then the message
// was not accepted, and a new token may help. WebSMS answers with 401 (WebSMS developer
// guide, step 3). Integrators also report 403 and 200, with invalid_token or "token
// expired" in the body, and RFC 6750, section 3.1, has its own header.
//
// A refusal for lack of funds or of a permission is none, and neither is a reply that
// also says success. In a 2xx that says neither, a message id says that WebSMS may have
// taken the message.
func refusesToken(r reply, obj object, said verdict) bool {
	switch s := r.status; {
	case s == http.StatusUnauthorized:
		return true
	case s == http.StatusPaymentRequired, s == http.StatusRequestTimeout, s == http.StatusTooManyRequests, s/100 == 3:
		return false
	case s/100 == 2 && (said == accepted || said == mixed || said == silent && obj.id() != ""), s >= 500 && obj.outcome() != refused:
		return false
	}
	if invalidToken(r.header) {
		return true
	}
	if obj == nil {
		return r.status/100 == 4 && !isWebPage(r) && blamesToken(string(r.body[:min(len(r.body), maxMessage)]))
	}
	if obj.hint(0) == KindFunds {
		return false
	}
	if said == refused || r.status/100 == 4 { // it cannot be a success, wherever the words stand
		return blamesToken(obj.texts())
	}
	return blamesToken(obj.words())
}

// bearerChallenge matches a challenge of the scheme Bearer with the error invalid_token
// (RFC 6750, section 3).
var bearerChallenge = regexp.MustCompile(`(?i)(?:^|,)\s*bearer\s(?:[^"]|"[^"]*")*?\berror\s*=\s*(?:"invalid_token"|invalid_token\b)`)

func invalidToken(h http.Header) bool {
	for _, value := range h.Values("WWW-Authenticate") {
		if bearerChallenge.MatchString(value) {
			return true
		}
	}
	return false
}

// words returns the texts of a reply that may say why it is a refusal, also those in
// "error":{…}, "errors":[{…}] and "messages":[{…}].
func (o object) words() string {
	var all []string
	for _, part := range []object{o, o.first("error"), o.first("errors"), o.first("messages")} {
		for _, name := range []string{
			"error", "error_description", "error_message", "error_code", "errorCode", "errorMessage",
			"code", "type", "status", "message", "msg", "detail", "reason", "title",
		} {
			if text, ok := part.str(name); ok {
				all = append(all, text)
			}
		}
	}
	return strings.Join(all, "; ")
}

// texts returns all texts of a reply, at any depth and of any name.
func (o object) texts() string {
	var all []string
	var collect func(any)
	collect = func(part any) {
		switch part := part.(type) {
		case string:
			all = append(all, part)
		case []any:
			for _, element := range part {
				collect(element)
			}
		case map[string]any:
			for _, value := range part {
				collect(value)
			}
		}
	}
	for _, raw := range o {
		var part any
		if json.Unmarshal(raw, &part) == nil {
			collect(part)
		}
	}
	return strings.Join(all, "; ")
}

var (
	// dotted finds the dots within a name such as auth.token.expired.
	dotted = regexp.MustCompile(`\b\.\b`)

	// camel splits a word such as tokenExpired.
	camel = regexp.MustCompile(`([a-z])([A-Z])`)

	tokenName  = `(?:tokens?|jwt)`
	tokenFault = `(?:invalid(?:ated)?|expired|revoked|unknown|malformed|inactive|stale|unrecogni[sz]ed|rejected)`

	// faultBefore matches "invalid token", "expired access token" and "could not verify your token".
	faultBefore = regexp.MustCompile(`\b(?:` + tokenFault + `|(?:failed to|could not|cannot|unable to) (?:validate|verify|authenticate)` +
		`(?: the| your)?)(?: or ` + tokenFault + `)? ?` +
		`(?:(?:access|bearer|auth|authentication|authorization|api|oauth2?|session) ?)*` + tokenName + `\b`)
	// faultAfter matches "token expired", "the token has been revoked" and "token is not valid".
	// The token itself may stand between, as in "token wst_12 expired": those of WebSMS begin
	// with wst_.
	faultAfter = regexp.MustCompile(`\b(?:access|bearer|auth|api)?` + tokenName + ` ?` +
		`(?:(?:is|was|has|have|been|provided|supplied|given|you sent|in the request|already|either|missing or|error|now|may|wst \w+) ?)*` +
		`(?:` + tokenFault + `|(?:not|no longer) (?:a )?(?:valid|active|recogni[sz]ed|found|accepted)|` +
		`(?:validation|verification|authentication) failed)\b`)
	// otherToken matches tokens of other purposes.
	otherToken = regexp.MustCompile(`\b(?:payment|card|billing|credit|top ?up|csrf|xsrf|template|push|device|captcha) ` + tokenName + `\b`)
	// notExpired matches a text that denies it.
	notExpired = regexp.MustCompile(`\bnot (?:yet )?(?:expired|invalid|revoked)\b`)
)

// blamesToken reports whether a text says that the bearer token is invalid or expired.
func blamesToken(text string) bool {
	text = strings.ToLower(camel.ReplaceAllString(text, "$1 $2"))
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || strings.ContainsRune("_-:/\"'`‘’“”", r)
	}), " ")
	text = dotted.ReplaceAllString(text, " ")
	return (faultBefore.MatchString(text) || faultAfter.MatchString(text)) &&
		!notExpired.MatchString(text) && !otherToken.MatchString(text)
}
