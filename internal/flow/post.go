package flow

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/caddy-websms/websms/internal/request"
)

// readForm reads the body of a post into v.form. The body is a form or a JSON object,
// of at most request.MaxBody bytes. readForm returns the problem if it cannot read the
// body, and nil otherwise. An empty body has no fields.
func (v *visit) readForm() *problem {
	body, err := io.ReadAll(http.MaxBytesReader(v.W, v.R.Body, request.MaxBody))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return &problemTooLarge
		}
		return &problemBadRequest
	}
	v.form = url.Values{}
	if len(body) == 0 {
		return nil
	}
	kind, _, err := mime.ParseMediaType(v.R.Header.Get("Content-Type"))
	switch {
	case err == nil && kind == "application/x-www-form-urlencoded":
		if v.form, err = url.ParseQuery(string(body)); err != nil {
			return &problemBadRequest
		}
	case err == nil && kind == "application/json":
		if !v.readJSON(body) {
			return &problemBadRequest
		}
	default:
		return &problemMediaType
	}
	return nil
}

// target returns the return target of a post: that of the field rd in its form, or else that
// of request.TargetOf.
func (f *Flow) target(v *visit) string {
	if v.form.Has("rd") {
		return request.ReturnTarget(v.form.Get("rd"), f.Prefix)
	}
	return request.TargetOf(v.R, f.Prefix)
}

// readJSON puts the strings, numbers and booleans of a JSON object into v.form. It
// ignores other values, and returns false if the body is not one object.
func (v *visit) readJSON(body []byte) bool {
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.UseNumber() // keeps all digits of a code that is a number in JSON
	var fields map[string]any
	if decoder.Decode(&fields) != nil || fields == nil {
		return false
	}
	if _, err := decoder.Token(); err != io.EOF { // not More: it ignores a closing bracket
		return false
	}
	for name, value := range fields {
		switch value := value.(type) {
		case string:
			v.form.Set(name, value)
		case json.Number:
			v.form.Set(name, value.String())
		case bool:
			v.form.Set(name, strconv.FormatBool(value))
		}
	}
	return true
}
