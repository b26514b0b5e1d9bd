package operator

import (
	"regexp"
	"time"

	"github.com/caddy-websms/websms/otp"
)

// The paths of the admin endpoint.
const (
	RevokePath     = "/websms/revoke"
	UnlockPath     = "/websms/unlock"
	RecoveryPath   = "/websms/recovery-code"
	ChallengesPath = "/websms/challenges"
	StatusPath     = "/websms/status"
)

// Request is what a request asks for.
type Request struct {
	Session string `json:"session"`
	Number  string `json:"number"`
	User    string `json:"user"`
	Realm   string `json:"realm"`
	Budget  bool   `json:"budget"` // for unlock alone
}

// e164 is a number as the sessions hold it. It is not repeated in an error.
var e164 = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

func IsE164(number string) bool { return e164.MatchString(number) }

// Status answers StatusPath: the engine of the running configuration first.
type Status struct {
	Engines []EngineStatus `json:"engines"`
}

// EngineStatus is the state of one engine: what a configuration's gates share.
type EngineStatus struct {
	BaseURL       string         `json:"base_url"`
	Sandbox       bool           `json:"sandbox"`
	Token         *TokenStatus   `json:"token"` // null: none is held
	Store         StoreStatus    `json:"store"`
	KeysReady     bool           `json:"keys_ready"`
	Challenges    int            `json:"challenges"`
	Capacity      int            `json:"capacity,omitempty"` // of a store that has one
	SendsInFlight int            `json:"sends_in_flight"`
	Gates         []GateStatus   `json:"gates"`      // none of an engine that ends
	LastError     *FailureStatus `json:"last_error"` // of the API; null: there was none
}

type TokenStatus struct {
	Held       bool      `json:"held"`
	AgeSeconds int       `json:"age_seconds"`
	ExpiresAt  time.Time `json:"expires_at"`
}

type StoreStatus struct {
	Kind  string `json:"kind"`
	Up    bool   `json:"up"`
	Error string `json:"error,omitempty"`
}

type GateStatus struct {
	Realm  string       `json:"realm"`
	Mode   string       `json:"mode"` // number or second_factor
	Prefix string       `json:"prefix"`
	Budget []RateStatus `json:"budget"`
}

// RateStatus is how much of a rate is used.
type RateStatus struct {
	Rate string `json:"rate"` // such as 3/10m
	Used int    `json:"used"`
}

type FailureStatus struct {
	At       time.Time `json:"at"`
	Endpoint string    `json:"endpoint"`
	Message  string    `json:"message"`
}

// Challenges answers ChallengesPath.
type Challenges struct {
	Challenges []ChallengeStatus `json:"challenges"`
	Sends      []RateStatus      `json:"sends"`
}

// ChallengeStatus is a challenge as an operator sees it.
type ChallengeStatus struct {
	ID           string     `json:"id"`
	Status       otp.Status `json:"status"`
	AttemptsLeft int        `json:"attempts_left"`
	ExpiresAt    time.Time  `json:"expires_at"`
	ResendAt     time.Time  `json:"resend_at"`
}

// RecoveryCode answers RecoveryPath.
type RecoveryCode struct {
	Code      string    `json:"code"`
	ExpiresAt time.Time `json:"expires_at"`
}
