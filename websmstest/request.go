package websmstest

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/publicsuffix"
)

const (
	maxBody  = 16 << 10 // bytes of a request body; the known fields take under 2 KiB
	maxText  = 160      // characters of msgCompany and of msgComment: one SMS of GSM 7-bit text
	jsonType = "application/json"
	formType = "application/x-www-form-urlencoded"
)

// readFields reads the fields of a POST body, which is a form or JSON. If there is a
// problem, it returns the status and the text of the reply.
func readFields(w http.ResponseWriter, r *http.Request) (fields map[string]string, status int, problem string) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return nil, http.StatusRequestEntityTooLarge, "the body is over " + strconv.Itoa(maxBody) + " bytes"
	}
	if err != nil {
		return nil, http.StatusBadRequest, "the body cannot be read"
	}
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch mediaType {
	case formType:
		fields, problem = formFields(body)
	case jsonType:
		fields, problem = jsonFields(body)
	default:
		problem = "send Content-Type " + formType + " or " + jsonType
	}
	if problem != "" {
		return nil, http.StatusBadRequest, problem
	}
	return fields, 0, ""
}

func formFields(body []byte) (fields map[string]string, problem string) {
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, "the body is not a form"
	}
	fields = make(map[string]string, len(values))
	for name, v := range values {
		if len(v) > 1 {
			return nil, "a field is given more than once"
		}
		fields[name] = v[0]
	}
	return fields, ""
}

func jsonFields(body []byte) (fields map[string]string, problem string) {
	var values map[string]any
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.UseNumber()
	if err := d.Decode(&values); err != nil || values == nil {
		return nil, "the body is not a JSON object"
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, "the body goes on after the JSON object"
	}
	fields = make(map[string]string, len(values))
	for name, v := range values {
		switch v := v.(type) {
		case string:
			fields[name] = v
		case json.Number:
			fields[name] = v.String()
		case bool:
			fields[name] = strconv.FormatBool(v)
		case nil: // like an absent field
		default:
			return nil, "a field is neither text nor a number"
		}
	}
	return fields, ""
}

// parseSend checks the fields of a send (WebSMS developer guide, step 4) and returns
// the requested message. It does not set the ID, the time or a code of the simulator.
func parseSend(fields map[string]string) (_ *message, problem string) {
	m := &message{Message: Message{
		To:           fields["to"],
		Company:      fields["msgCompany"],
		Comment:      fields["msgComment"],
		Code:         fields["msgCode"],
		WebOTPDomain: fields["webOtpDomain"],
		Sandbox:      isSandbox(fields),
	}}
	m.OwnCode = m.Code != ""
	switch {
	case !isDigits(m.To, 7, 15) || m.To[0] == '0':
		return m, "to must be an E.164 number without the leading '+': 7 to 15 digits, country code first"
	case strings.TrimSpace(m.Company) == "":
		return m, "msgCompany is missing"
	case !isText(m.Company):
		return m, "msgCompany must be one line of at most 160 characters"
	case !isText(m.Comment):
		return m, "msgComment must be one line of at most 160 characters"
	case m.OwnCode && !isDigits(m.Code, 4, 8):
		return m, "msgCode must be 4 to 8 digits"
	case m.WebOTPDomain != "" && !isHost(m.WebOTPDomain):
		return m, "webOtpDomain must be a bare host name"
	}
	return m, ""
}

// parseText checks the fields of /sms/out and returns the requested message.
func parseText(fields map[string]string) (_ *message, problem string) {
	m := &message{plain: true, Message: Message{To: fields["to"], Body: fields["body"], Sandbox: isSandbox(fields)}}
	switch {
	case !isDigits(m.To, 7, 15) || m.To[0] == '0':
		return m, "to must be an E.164 number without the leading '+': 7 to 15 digits, country code first"
	case strings.TrimSpace(m.Body) == "":
		return m, "body is missing"
	case !utf8.ValidString(m.Body) || utf8.RuneCountInString(m.Body) > maxReply:
		return m, "body must be at most 1000 characters"
	}
	return m, ""
}

func isSandbox(fields map[string]string) bool {
	return fields["sandbox"] == "1" || fields["sandbox"] == "true"
}

var (
	// address matches a URL, and its first group the host.
	address = regexp.MustCompile(`(?i)\b[a-z][a-z0-9+.-]*://([^\s/?#]+)`)
	// dottedName matches names that have the form of a domain.
	dottedName = regexp.MustCompile(`(?:[\pL\pN](?:[\pL\pN_-]*[\pL\pN])?\.)+[\pL][\pL\pN-]*[\pL\pN]`)
)

// link returns the first domain that the sender has put into the text, or "". A name is a
// domain if it ends in a public suffix.
func (m *message) link() string {
	text := m.Company + " " + m.Comment
	if m.plain {
		text = m.Body
	}
	if found := address.FindStringSubmatch(text); found != nil {
		return strings.ToLower(found[1])
	}
	for _, name := range dottedName.FindAllString(strings.ToLower(text), -1) {
		if suffix, listed := publicsuffix.PublicSuffix(name); suffix != name && (listed || strings.Contains(suffix, ".")) {
			return name
		}
	}
	return ""
}

// body returns the text of the SMS (WebSMS developer guide, step 4).
func (m *Message) body() string {
	text := m.Code + " is your " + m.Company + " verification code."
	if m.Comment != "" {
		text += " " + m.Comment
	}
	if m.WebOTPDomain != "" {
		text += "\n@" + m.WebOTPDomain + " #" + m.Code
	}
	return text
}

func isDigits(s string, least, most int) bool {
	if len(s) < least || len(s) > most {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func isText(s string) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= maxText && !strings.ContainsFunc(s, unicode.IsControl)
}

// isHost reports whether s has the form of a host name (RFC 1123, section 2.1): labels
// of letters, digits and inner hyphens, with at most 253 characters in total.
func isHost(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
				return false
			}
		}
	}
	return true
}
