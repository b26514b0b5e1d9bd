package websms

import (
	"regexp"
	"time"

	"github.com/caddy-websms/websms/otp"
)

// The paths of the admin endpoint.
const (
	revokePath     = "/websms/revoke"
	unlockPath     = "/websms/unlock"
	recoveryPath   = "/websms/recovery-code"
	challengesPath = "/websms/challenges"
	statusPath     = "/websms/status"
)

// adminRequest is what a request asks for.
type adminRequest struct {
	Session string `json:"session"`
	Number  string `json:"number"`
	User    string `json:"user"`
	Realm   string `json:"realm"`
	Budget  bool   `json:"budget"` // for unlock alone
}

// e164 is a number as the sessions hold it. It is not repeated in an error.
var e164 = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

func isE164(number string) bool { return e164.MatchString(number) }

// statusAnswer answers statusPath: the engine of the running configuration first.
type statusAnswer struct {
	Engines []engineStatus `json:"engines"`
}

// engineStatus is the state of one engine: what a configuration's gates share.
type engineStatus struct {
	BaseURL       string         `json:"base_url"`
	Sandbox       bool           `json:"sandbox"`
	Token         *tokenStatus   `json:"token"` // null: none is held
	Store         storeStatus    `json:"store"`
	KeysReady     bool           `json:"keys_ready"`
	Challenges    int            `json:"challenges"`
	Capacity      int            `json:"capacity,omitempty"` // of a store that has one
	SendsInFlight int            `json:"sends_in_flight"`
	Gates         []gateStatus   `json:"gates"`      // none of an engine that ends
	LastError     *failureStatus `json:"last_error"` // of the API; null: there was none
}

type tokenStatus struct {
	Held       bool      `json:"held"`
	AgeSeconds int       `json:"age_seconds"`
	ExpiresAt  time.Time `json:"expires_at"`
}

type storeStatus struct {
	Kind  string `json:"kind"`
	Up    bool   `json:"up"`
	Error string `json:"error,omitempty"`
}

type gateStatus struct {
	Realm  string       `json:"realm"`
	Mode   string       `json:"mode"` // number or second_factor
	Prefix string       `json:"prefix"`
	Budget []rateStatus `json:"budget"`
}

// rateStatus is how much of a rate is used.
type rateStatus struct {
	Rate string `json:"rate"` // such as 3/10m
	Used int    `json:"used"`
}

type failureStatus struct {
	At       time.Time `json:"at"`
	Endpoint string    `json:"endpoint"`
	Message  string    `json:"message"`
}

// challengesAnswer answers challengesPath.
type challengesAnswer struct {
	Challenges []challengeStatus `json:"challenges"`
	Sends      []rateStatus      `json:"sends"`
}

// challengeStatus is a challenge as an operator sees it.
type challengeStatus struct {
	ID           string     `json:"id"`
	Status       otp.Status `json:"status"`
	AttemptsLeft int        `json:"attempts_left"`
	ExpiresAt    time.Time  `json:"expires_at"`
	ResendAt     time.Time  `json:"resend_at"`
}

// recoveryCode answers recoveryPath.
type recoveryCode struct {
	Code      string    `json:"code"`
	ExpiresAt time.Time `json:"expires_at"`
}
