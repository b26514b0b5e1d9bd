package connexus

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
)

// object is a JSON object. Its methods read one field each, and tolerate the wrong
// type. Names are matched exactly. If a name comes twice, the last one counts. The
// methods work on a nil object too.
type object map[string]json.RawMessage

// parseObject reads data as one JSON object and nothing after it. A byte order
// mark in front is ignored, as RFC 8259 section 8.1 allows; bytes that are not
// UTF-8 become U+FFFD.
func parseObject(data []byte) (object, bool) {
	var o object
	err := json.Unmarshal(bytes.TrimPrefix(data, []byte("\ufeff")), &o)
	return o, err == nil && o != nil // null leaves it nil
}

// str returns the named field if it is a JSON string.
func (o object) str(name string) (string, bool) {
	raw := o[name]
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err == nil
}

// isNumber reports whether the named field is a JSON number.
func (o object) isNumber(name string) bool {
	raw := o[name]
	return len(raw) > 0 && (raw[0] == '-' || '0' <= raw[0] && raw[0] <= '9')
}

// text returns the first of the named fields that is a number or a string that is not
// empty. A number keeps all digits as they are written.
func (o object) text(names ...string) string {
	for _, name := range names {
		if s, ok := o.str(name); ok && s != "" {
			return s
		}
		if o.isNumber(name) {
			return string(o[name])
		}
	}
	return ""
}

// id returns the message id, by any of the names that integrators have seen. It may
// stand in messages[0].
func (o object) id() string {
	names := []string{"messageId", "message_id", "websms_id"}
	if id := o.text(names...); id != "" {
		return id
	}
	return o.first("messages").text(names...)
}

// first returns the named field if it is an object, or its first element if it is an
// array of objects. Otherwise it returns nil.
func (o object) first(name string) object {
	raw := o[name]
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil && len(list) > 0 {
		raw = list[0]
	}
	inner, _ := parseObject(raw)
	return inner
}

// number returns the named field if it is a number or a string that holds one. A
// number that is too large for a float64 is an infinity.
func (o object) number(name string) (float64, bool) {
	f, err := strconv.ParseFloat(strings.TrimSpace(o.text(name)), 64)
	if err != nil && !math.IsInf(f, 0) || math.IsNaN(f) {
		return 0, false
	}
	return f, true
}

// integer returns the named field if it is a whole number that fits 32 bits, or a
// string that holds one.
func (o object) integer(name string) (int, bool) {
	f, ok := o.number(name)
	if !ok || f != math.Trunc(f) || math.Abs(f) > math.MaxInt32 {
		return 0, false
	}
	return int(f), true
}

// flag returns the named field if it is true or false, also as a string or as 1
// and 0.
func (o object) flag(name string) (value, ok bool) {
	word := string(o[name])
	if s, isString := o.str(name); isString {
		word = s
	}
	switch strings.ToLower(strings.TrimSpace(word)) {
	case "true", "1":
		return true, true
	case "false", "0":
		return false, true
	}
	return false, false
}

// firstMilli is the least number that counts as milliseconds since 1970. As seconds,
// it would be in the year 5138. As milliseconds, it is in 1973.
const firstMilli = 1e11

// time returns the named field, in UTC, if it is a time after 1970 and before the
// year 10000: seconds or milliseconds since 1970, as a number or a string, or
// RFC 3339. Otherwise it returns the zero time.
func (o object) time(name string) time.Time {
	t, err := time.Parse(time.RFC3339, strings.TrimSpace(o.text(name)))
	if err != nil {
		f, ok := o.number(name)
		if !ok || math.Abs(f) > 1e15 {
			return time.Time{}
		}
		if f < firstMilli {
			f *= 1000
		}
		t = time.UnixMilli(int64(math.Round(f)))
	}
	t = t.UTC()
	if t.Unix() <= 0 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}
