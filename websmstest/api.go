package websmstest

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"strings"
	"time"
)

// price is the price of one message, in millionths of a New Zealand dollar.
const price = 115_000

// tokenReply is the reply of /auth/token (WebSMS developer guide, step 2).
type tokenReply struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"` // seconds
}

// sendReply is the reply of /sms/otp (guide, step 4). That of /sms/out has no code.
type sendReply struct {
	Status    string `json:"status"`
	MessageID any    `json:"messageId"` // a string, or a json.Number with Fault.NumericID
	Code      string `json:"code,omitempty"`
}

// balanceReply is the reply of /sms/balance.
type balanceReply struct {
	Balance  float64 `json:"balance"`
	Currency string  `json:"currency"`
}

type errorReply struct {
	Error   string `json:"error"`
	Message string `json:"message,omitempty"`
}

func (s *Simulator) serveToken(w http.ResponseWriter, r *http.Request) {
	s.state.count(func(c *Counts) { c.TokenRequests++ })
	fields, ok := s.readPost(w, r)
	if !ok {
		return
	}
	if fields["client_id"] == "" || fields["client_secret"] == "" {
		writeError(w, http.StatusBadRequest, "invalid_request", "client_id and client_secret are required")
		return
	}
	if !equal(fields["client_id"], s.opts.ClientID) || !equal(fields["client_secret"], s.opts.ClientSecret) {
		writeError(w, http.StatusUnauthorized, "invalid_client", "unknown client_id or wrong client_secret")
		return
	}
	s.state.mu.Lock()
	f := s.state.tokenFault.take()
	s.state.mu.Unlock()
	issue := func() tokenReply {
		return tokenReply{
			AccessToken: s.state.issueToken(s.opts.Now().Add(s.opts.TokenTTL)),
			TokenType:   "Bearer",
			ExpiresIn:   int64(s.opts.TokenTTL / time.Second),
		}
	}
	var reply tokenReply
	if f.AcceptAnyway {
		reply = issue()
	}
	if !s.sleep(r.Context(), s.opts.Latency+f.Delay) {
		cut(w)
		return
	}
	if f.spoils() {
		s.writeFault(w, r, f, encode(reply), strings.NewReplacer("{token}", reply.AccessToken))
		return
	}
	if !f.AcceptAnyway {
		reply = issue()
	}
	maps.Copy(w.Header(), f.Header)
	writeJSON(w, http.StatusOK, reply)
}

// admits reports whether r is a POST with a valid token. If it is not, admits has
// replied.
func (s *Simulator) admits(w http.ResponseWriter, r *http.Request) bool {
	if !s.isPost(w, r) {
		return false
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") && s.state.validToken(token, s.opts.Now()) {
		return true
	}
	s.state.mu.Lock()
	f := s.state.tokenRefusal
	s.state.mu.Unlock()
	if f.spoils() {
		s.writeFault(w, r, f, nil, strings.NewReplacer())
		return false
	}
	w.Header().Set("WWW-Authenticate", "Bearer")
	writeError(w, http.StatusUnauthorized, "unauthorized", "")
	return false
}

func (s *Simulator) serveBalance(w http.ResponseWriter, r *http.Request) {
	s.state.count(func(c *Counts) { c.Balances++ })
	if !s.admits(w, r) {
		return
	}
	s.state.mu.Lock()
	f := s.state.balanceFault.take()
	reply := balanceReply{100, "NZD"}
	if s.state.billed {
		reply.Balance = float64(s.state.balance) / 1e6
	}
	s.state.mu.Unlock()
	if !s.sleep(r.Context(), s.opts.Latency+f.Delay) {
		cut(w)
		return
	}
	if f.spoils() {
		s.writeFault(w, r, f, encode(reply), strings.NewReplacer())
		return
	}
	maps.Copy(w.Header(), f.Header)
	writeJSON(w, http.StatusOK, reply)
}

// serveSend takes a message, which parse makes of the fields of the request.
func (s *Simulator) serveSend(
	w http.ResponseWriter, r *http.Request, count func(*Counts), parse func(map[string]string) (*message, string),
) {
	s.state.count(count)
	if !s.admits(w, r) {
		return
	}
	fields, ok := s.readPost(w, r)
	if !ok {
		return
	}
	m, problem := parse(fields)
	if problem != "" {
		writeError(w, http.StatusBadRequest, "invalid_request", problem)
		return
	}
	s.state.mu.Lock()
	f := s.state.faults.take()
	s.state.mu.Unlock()
	m.numeric = f.NumericID
	if f.AcceptAnyway {
		s.accept(m)
	}
	if !s.sleep(r.Context(), s.opts.Latency+f.Delay) {
		cut(w)
		return
	}
	if f.spoils() {
		names := strings.NewReplacer("{id}", m.ID, "{code}", m.Code)
		s.writeFault(w, r, f, encode(m.reply()), names)
		return
	}
	if !f.AcceptAnyway {
		if !m.Sandbox && !s.state.charge(m.To) {
			s.writeFault(w, r, InsufficientFunds200(), nil, strings.NewReplacer())
			return
		}
		s.accept(m)
	}
	maps.Copy(w.Header(), f.Header)
	writeJSON(w, http.StatusOK, m.reply())
}

// accept completes m, shows it in the inbox and schedules its delivery reports.
func (s *Simulator) accept(m *message) {
	if m.numeric {
		// Every JSON reader reads 15 digits exactly (RFC 8259, section 6). The
		// first one must not be 0.
		m.ID = "1" + randomDigits(14)
	} else {
		m.ID = "MSG" + rand.Text()[:16]
	}
	if !m.plain {
		if !m.OwnCode {
			m.Code = randomDigits(6)
		}
		m.Body = m.Message.body()
	}
	m.At = s.opts.Now()
	m.State = "accepted"
	steps := s.state.add(m).steps(s.opts)
	s.schedule(m, steps)
}

func (m *message) reply() sendReply {
	return sendReply{Status: "success", MessageID: m.jsonID(), Code: m.Code}
}

// jsonID returns the id in the form that it has in JSON.
func (m *message) jsonID() any {
	if m.numeric {
		return json.Number(m.ID)
	}
	return m.ID
}

// isPost reports whether r is a POST. If it is not, isPost has replied.
func (s *Simulator) isPost(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodPost {
		return true
	}
	w.Header().Set("Allow", http.MethodPost)
	writeError(w, http.StatusMethodNotAllowed, "method_not_allowed", "use POST")
	return false
}

// readPost returns the fields of a POST. If ok is false, readPost has replied.
func (s *Simulator) readPost(w http.ResponseWriter, r *http.Request) (fields map[string]string, ok bool) {
	if !s.isPost(w, r) {
		return nil, false
	}
	fields, status, problem := readFields(w, r)
	if problem != "" {
		writeError(w, status, "invalid_request", problem)
		return nil, false
	}
	return fields, true
}

// randomDigits returns n random digits. All texts of n digits are equally likely.
func randomDigits(n int) string {
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
	v, err := rand.Int(rand.Reader, limit)
	if err != nil {
		panic(err) // rand.Reader never returns an error: it ends the program instead
	}
	return fmt.Sprintf("%0*d", n, v)
}

// equal compares two texts in constant time.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

func encode(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // the callers pass only reply types of this package
	}
	return append(body, '\n')
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", jsonType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(encode(v))
}

func writeError(w http.ResponseWriter, status int, code, problem string) {
	writeJSON(w, status, errorReply{code, problem})
}
