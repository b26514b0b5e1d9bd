package operator

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
)

// OnlyMethod returns an error if a request has another method than the given one.
func OnlyMethod(w http.ResponseWriter, r *http.Request, method string) error {
	if r.Method != method {
		w.Header().Set("Allow", method)
		return Error(http.StatusMethodNotAllowed, "use "+method)
	}
	return nil
}

// maxRequest bounds the body of a request, in bytes.
const maxRequest = 8 << 10

// ReadRequest reads the body of a POST. The realms of gates have at most maxRealm
// characters; ReadRequest refuses a longer one.
func ReadRequest(w http.ResponseWriter, r *http.Request, maxRealm int) (*Request, error) {
	var req Request
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	body.DisallowUnknownFields()
	if err := body.Decode(&req); err != nil {
		return nil, Error(http.StatusBadRequest,
			`the body is not understood: send one JSON object such as {"number": "+6421234567"}, `+
				`with the fields session, number, user, realm, budget`)
	}
	if req.Budget && r.URL.Path != UnlockPath {
		return nil, Error(http.StatusBadRequest, "budget goes with unlock alone")
	}
	if utf8.RuneCountInString(req.Realm) > maxRealm {
		return nil, Error(http.StatusBadRequest, "realm is longer than that of any gate")
	}
	if _, err := body.Token(); err != io.EOF {
		return nil, Error(http.StatusBadRequest, "something follows the JSON object: send one alone")
	}
	return &req, nil
}

// Error returns an error that the admin endpoint answers with an HTTP status and a
// text.
func Error(status int, text string) error {
	return caddy.APIError{HTTPStatus: status, Err: errors.New(text)}
}

// Unavailable returns an error that the admin endpoint answers with status 503. Use
// it for errors of the store.
func Unavailable(err error) error {
	return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: err}
}
