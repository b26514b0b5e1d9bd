package websms

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
)

// onlyMethod refuses a request with another method.
func onlyMethod(w http.ResponseWriter, r *http.Request, method string) error {
	if r.Method != method {
		w.Header().Set("Allow", method)
		return adminError(http.StatusMethodNotAllowed, "use "+method)
	}
	return nil
}

// maxRequest bounds the body of a request, in bytes.
const maxRequest = 8 << 10

// readRequest reads the body of a request. It refuses a realm of more than
// maxRealm characters, which no gate has.
func readRequest(w http.ResponseWriter, r *http.Request, maxRealm int) (*adminRequest, error) {
	var req adminRequest
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	body.DisallowUnknownFields()
	if err := body.Decode(&req); err != nil {
		return nil, adminError(http.StatusBadRequest, `the body is not understood: send one JSON object such as {"number": "+6421234567"}, with the fields session, number, user, realm, budget`)
	}
	if req.Budget && r.URL.Path != unlockPath {
		return nil, adminError(http.StatusBadRequest, "budget goes with unlock alone")
	}
	if utf8.RuneCountInString(req.Realm) > maxRealm {
		return nil, adminError(http.StatusBadRequest, "realm is longer than that of any gate")
	}
	if _, err := body.Token(); err != io.EOF {
		return nil, adminError(http.StatusBadRequest, "something follows the JSON object: send one alone")
	}
	return &req, nil
}

func adminError(status int, text string) error {
	return caddy.APIError{HTTPStatus: status, Err: errors.New(text)}
}

func unavailable(err error) error {
	return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: err}
}
