package websmstest

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options configures a [Simulator]. The zero value is ready to use.
type Options struct {
	// ClientID and ClientSecret are the only credentials that get a token.
	// Default: "cid_demo" and "csk_demo".
	ClientID, ClientSecret string

	// WebhookURL is the address for delivery reports and replies. If it is empty,
	// they are not posted.
	WebhookURL string

	// WebhookSecret is sent with each post as "Authorization: Bearer". If it is
	// empty, the header is not sent.
	WebhookSecret string

	// TokenTTL is the life of a token. Default: 24 hours, as in the WebSMS
	// developer guide (step 2).
	TokenTTL time.Duration

	// Latency is the delay of each API reply. Default: 0.
	Latency time.Duration

	// DeliveryDelay is the time from acceptance to the final report. Default: 0.
	DeliveryDelay time.Duration

	// LateDelay is the same for a message with [DeliverLate]. Default: 30 seconds.
	LateDelay time.Duration

	// RetryPause is the wait before the first of three retries of a failed webhook
	// post. It doubles with each retry. Default: 1 second, or 10 milliseconds in
	// [NewServer].
	RetryPause time.Duration

	// BasePath is the path of the API. Default: "/api/connexus".
	BasePath string

	// Now is the clock for the times of messages and tokens. Default: time.Now.
	// Delays use the real clock.
	Now func() time.Time
}

func (o *Options) setDefaults() {
	if o.ClientID == "" {
		o.ClientID = "cid_demo"
	}
	if o.ClientSecret == "" {
		o.ClientSecret = "csk_demo"
	}
	if o.TokenTTL == 0 {
		o.TokenTTL = 24 * time.Hour
	}
	if o.LateDelay == 0 {
		o.LateDelay = 30 * time.Second
	}
	if o.RetryPause == 0 {
		o.RetryPause = time.Second
	}
	if o.BasePath == "" {
		o.BasePath = "/api/connexus"
	}
	o.BasePath = strings.TrimRight(o.BasePath, "/")
	if o.Now == nil {
		o.Now = time.Now
	}
}

// errClosed ends the calls that are waiting when the simulator is closed.
var errClosed = errors.New("simulator closed")

// Simulator is a simulated WebSMS service with the inbox of all phones that it sends
// to. Make one with [New] or [NewServer]. It is safe for concurrent use.
type Simulator struct {
	opts    Options
	state   *state
	webhook atomic.Pointer[webhook]
	inbox   http.Handler

	done chan struct{} // closed to end the requests that would not end by themselves
	stop func()        // closes done, once
}

// New returns a simulator with its API below Options.BasePath and its inbox at "/".
// The caller must Close it.
func New(o Options) *Simulator {
	return newSimulator(o, newState())
}

// newSimulator returns a simulator with its own settings and a state that it may share
// with others.
func newSimulator(o Options, st *state) *Simulator {
	o.setDefaults()
	s := &Simulator{opts: o, state: st, done: make(chan struct{})}
	s.stop = sync.OnceFunc(func() { close(s.done) })
	s.SetWebhook(o.WebhookURL, o.WebhookSecret)
	s.inbox = s.inboxHandler()
	return s
}

// ServeHTTP answers API calls and serves the inbox.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	endpoint, isAPI := strings.CutPrefix(r.URL.Path, s.opts.BasePath+"/")
	switch {
	case isAPI && endpoint == "auth/token":
		s.serveToken(w, r)
	case isAPI && endpoint == "sms/otp":
		s.serveSend(w, r, func(c *Counts) { c.OTPRequests++ }, parseSend)
	case isAPI && endpoint == "sms/out":
		s.serveSend(w, r, func(c *Counts) { c.TextRequests++ }, parseText)
	case isAPI && endpoint == "sms/balance":
		s.serveBalance(w, r)
	case isAPI && s.opts.BasePath != "":
		writeError(w, http.StatusNotFound, "not_found", "no such endpoint")
	default:
		s.inbox.ServeHTTP(w, r)
	}
}

// Close ends every waiting request, gives up webhook posts, and waits until the
// simulator's goroutines have ended. It may be called again.
func (s *Simulator) Close() {
	s.stop()
	s.state.hooks.close()
}

// SetWebhook changes Options.WebhookURL and Options.WebhookSecret. The change also
// applies to posts that are already waiting.
func (s *Simulator) SetWebhook(url, secret string) {
	s.webhook.Store(&webhook{url, secret})
}

// Messages returns the newest messages, at most 1000, newest first.
func (s *Simulator) Messages() []Message {
	v := s.state.since(0)
	messages := make([]Message, len(v.messages))
	for i, m := range v.messages {
		messages[i] = m.Message
	}
	return messages
}

// WaitMessage returns the newest message for which match returns true. If there is
// none, it waits. It calls match again for each message that is new or has a new
// state or reply. A nil match accepts every message. The error is the cause of ctx, or
// says that the simulator was closed.
func (s *Simulator) WaitMessage(ctx context.Context, match func(Message) bool) (Message, error) {
	return s.state.wait(ctx, match)
}

// Next adds faults for the next calls to /sms/otp and /sms/out, one for each call, in
// order. They come after those added before. Only a call with a valid token and valid
// fields uses up a fault. Fault{} serves a call as usual.
func (s *Simulator) Next(faults ...Fault) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.faults.next = append(s.state.faults.next, faults...)
}

// Always sets the fault of every call to /sms/otp and /sms/out for which Next has none. Fault{}
// ends it.
func (s *Simulator) Always(f Fault) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.faults.always = f
}

// NextToken adds faults for the next calls to /auth/token with valid credentials, as
// [Simulator.Next] does for /sms/otp.
func (s *Simulator) NextToken(faults ...Fault) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.tokenFault.next = append(s.state.tokenFault.next, faults...)
}

// NextBalance adds faults for the next calls to /sms/balance with a valid token, as
// [Simulator.Next] does for /sms/otp. In their Body, no placeholder is replaced.
func (s *Simulator) NextBalance(faults ...Fault) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.balanceFault.next = append(s.state.balanceFault.next, faults...)
}

// RefuseTokensWith sets the reply to a token that is unknown, revoked or expired, such as
// [InvalidToken] or [TokenExpired200]. Fault{} is the usual reply: status 401.
func (s *Simulator) RefuseTokensWith(f Fault) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.tokenRefusal = f
}

// RevokeTokens makes every token that was issued so far invalid.
func (s *Simulator) RevokeTokens() {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	clear(s.state.tokens)
	s.state.tokenOrder = nil
}

// SetBalance sets the account's balance in New Zealand dollars. After the call, each
// message costs 0.115, except in the sandbox. If the balance is too low, a message is
// refused with [InsufficientFunds200]. Before the first call, and after
// SetBalance(math.Inf(1)), messages cost nothing, and the balance is always 100.
func (s *Simulator) SetBalance(nzd float64) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.billed = !math.IsInf(nzd, 1)
	if s.state.billed {
		s.state.balance = int64(math.Round(nzd * 1e6))
	}
}

// Whitelist lets messages with a URL of that domain, or of one below it, through. It also
// delivers those that are held for it (see [Message.Held]).
func (s *Simulator) Whitelist(domain string) {
	for _, m := range s.state.whitelist(strings.ToLower(domain)) {
		s.schedule(m, m.delivery.steps(s.opts))
	}
}

// SetDelivery sets the delivery of the next message. Later messages have DeliverNow
// again.
func (s *Simulator) SetDelivery(d Delivery) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.delivery = d
	s.state.touch(nil)
}

// Counts returns the counters of the simulator.
func (s *Simulator) Counts() Counts {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return s.state.counts
}

// sleep waits for d and returns true. If the request or the state ends first, it
// returns false at once. A reload of the configuration does not end the wait.
func (s *Simulator) sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	case <-s.state.hooks.ctx.Done():
		return false
	}
}
