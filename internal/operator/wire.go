package operator

import (
	"regexp"
	"time"

	"github.com/caddy-websms/websms/otp"
)

// The paths of the admin endpoint. StatusPath takes a GET, each other a POST with
// a Request.
const (
	RevokePath     = "/websms/revoke"
	UnlockPath     = "/websms/unlock"
	RecoveryPath   = "/websms/recovery-code"
	ChallengesPath = "/websms/challenges"
	StatusPath     = "/websms/status"
)

// Request is the body of a POST. A request names one of Session, Number and User,
// or Budget.
type Request struct {
	Session string `json:"session"` // id of a session: 32 hexadecimal digits
	Number  string `json:"number"`  // in E.164
	User    string `json:"user"`    // as the first factor names them
	Realm   string `json:"realm"`   // of the gate; "" for the gates without one
	Budget  bool   `json:"budget"`  // only with UnlockPath
}

// e164 matches a number as sessions hold it.
var e164 = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

// IsE164 reports whether a number is written in E.164, such as +6421234567. It
// does not ask whether such a number exists.
func IsE164(number string) bool { return e164.MatchString(number) }

// Status is the answer of StatusPath. The engine of the running configuration comes
// first. Others are those of configurations that are ending.
type Status struct {
	Engines []EngineStatus `json:"engines"`
}

// EngineStatus is the state of one engine, which all gates of a configuration
// share.
type EngineStatus struct {
	BaseURL       string         `json:"base_url"`
	Sandbox       bool           `json:"sandbox"`
	Token         *TokenStatus   `json:"token"`   // null if there is no token
	Account       *AccountStatus `json:"account"` // null if WebSMS does not tell the balance
	Store         StoreStatus    `json:"store"`
	KeysReady     bool           `json:"keys_ready"` // the sealing keys are known
	Challenges    int            `json:"challenges"`
	Capacity      int            `json:"capacity,omitempty"` // of a store that has one
	SendsInFlight int            `json:"sends_in_flight"`
	Gates         []GateStatus   `json:"gates"`      // empty for an engine that is ending
	LastError     *FailureStatus `json:"last_error"` // of the WebSMS API; null if there was none
}

// TokenStatus is the state of the bearer token for WebSMS.
type TokenStatus struct {
	Held       bool      `json:"held"`
	AgeSeconds int       `json:"age_seconds"`
	ExpiresAt  time.Time `json:"expires_at"`
}

// AccountStatus is the balance of the account with WebSMS.
type AccountStatus struct {
	Balance  float64   `json:"balance"`
	Currency string    `json:"currency"` // such as NZD; empty if WebSMS does not name it
	At       time.Time `json:"at"`       // when WebSMS told it
}

// StoreStatus is the state of the store of challenges.
type StoreStatus struct {
	Kind  string `json:"kind"` // such as memory or redis
	Up    bool   `json:"up"`   // the store answers
	Error string `json:"error,omitempty"`
}

// GateStatus is the state of one gate.
type GateStatus struct {
	Realm  string       `json:"realm"`
	Mode   string       `json:"mode"` // number or second_factor
	Prefix string       `json:"prefix"`
	Budget []RateStatus `json:"budget"`
}

// RateStatus says how much of a rate limit is used.
type RateStatus struct {
	Rate string `json:"rate"` // such as 3/10m
	Used int    `json:"used"`
}

// FailureStatus is the latest failed call of the WebSMS API.
type FailureStatus struct {
	At       time.Time `json:"at"`
	Endpoint string    `json:"endpoint"` // token or otp
	Message  string    `json:"message"`
}

// Challenges is the answer of ChallengesPath: the challenges of one number, and how
// many codes count against its limits.
type Challenges struct {
	Challenges []ChallengeStatus `json:"challenges"`
	Sends      []RateStatus      `json:"sends"`
}

// ChallengeStatus is the state of one challenge.
type ChallengeStatus struct {
	ID           string     `json:"id"`
	Status       otp.Status `json:"status"`
	AttemptsLeft int        `json:"attempts_left"`
	ExpiresAt    time.Time  `json:"expires_at"`
	ResendAt     time.Time  `json:"resend_at"`
}

// RecoveryCode is the answer of RecoveryPath.
type RecoveryCode struct {
	Code      string    `json:"code"`
	ExpiresAt time.Time `json:"expires_at"`
}
