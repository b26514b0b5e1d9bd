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
	// ClientID and ClientSecret are the only credentials taken. Default:
	// "cid_demo" and "csk_demo".
	ClientID, ClientSecret string

	// WebhookURL is where delivery reports and replies are posted. Default:
	// nowhere.
	WebhookURL string

	// WebhookSecret, unless empty, goes with each post as
	// "Authorization: Bearer".
	WebhookSecret string

	// TokenTTL is how long a token lives. Default: 24 hours, as the WebSMS
	// developer guide has it (step 2).
	TokenTTL time.Duration

	// Latency is how long each API reply takes. Default: 0.
	Latency time.Duration

	// DeliveryDelay is the time from acceptance to the final report.
	// Default: 0.
	DeliveryDelay time.Duration

	// LateDelay is the same for a message sent with [DeliverLate]. Default:
	// 30 seconds.
	LateDelay time.Duration

	// RetryPause is the time before a failed webhook post is tried again;
	// it doubles with each of the three retries. Default: 1 second, or
	// 10 milliseconds in [NewServer].
	RetryPause time.Duration

	// BasePath is where the API lives. Default: "/api/connexus".
	BasePath string

	// Now tells the time of messages and of the end of tokens. Default:
	// time.Now. Delays run on the real clock.
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

// errClosed is what ends calls that wait on a simulator that is closed.
var errClosed = errors.New("simulator closed")

// Simulator is a simulated WebSMS service and the inbox of all phones it
// sends to. Make one with [New] or [NewServer].
type Simulator struct {
	opts    Options
	state   *state
	webhook atomic.Pointer[webhook]
	inbox   http.Handler

	done chan struct{} // closed when requests without an end of their own are to end
	stop func()        // closes done, once
}

// New returns a simulator that serves its API below Options.BasePath and its
// inbox at "/". Close it when it is no longer needed.
func New(o Options) *Simulator {
	return newSimulator(o, newState())
}

// newSimulator returns a simulator with settings of its own and a state that
// may be shared.
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
		s.serveOTP(w, r)
	case isAPI && s.opts.BasePath != "":
		writeError(w, http.StatusNotFound, "not_found", "no such endpoint")
	default:
		s.inbox.ServeHTTP(w, r)
	}
}

// Close ends the simulator's goroutines and every request that waits, and
// waits for the goroutines. Webhook posts under way are given up.
func (s *Simulator) Close() {
	s.stop()
	s.state.hooks.close()
}

// SetWebhook changes where delivery reports and replies go from now on, also
// those that are already due. An empty url sends them nowhere; an empty
// secret sends no Authorization header.
func (s *Simulator) SetWebhook(url, secret string) {
	s.webhook.Store(&webhook{url, secret})
}

// Messages returns the messages that are kept, newest first.
func (s *Simulator) Messages() []Message {
	v := s.state.since(0)
	messages := make([]Message, len(v.messages))
	for i, m := range v.messages {
		messages[i] = m.Message
	}
	return messages
}

// WaitMessage returns the newest message that match accepts, at once if there
// is one, otherwise as soon as there is: match is asked again about each
// message that is new or whose state or replies changed. A nil match accepts
// any. The error is that of ctx, or says that the simulator was closed.
func (s *Simulator) WaitMessage(ctx context.Context, match func(Message) bool) (Message, error) {
	return s.state.wait(ctx, match)
}

// Next sets how the next sends go wrong, one each, in order and after those
// already set. Only a call to /sms/otp that would have been served, with a
// valid token and valid fields, uses one up. Fault{} lets a call pass.
func (s *Simulator) Next(faults ...Fault) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.faults.next = append(s.state.faults.next, faults...)
}

// Always sets how every send goes wrong for which Next has nothing, until
// Always(Fault{}).
func (s *Simulator) Always(f Fault) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.faults.always = f
}

// NextToken is [Simulator.Next] for /auth/token.
func (s *Simulator) NextToken(faults ...Fault) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.tokenFault.next = append(s.state.tokenFault.next, faults...)
}

// RevokeTokens ends every token issued so far.
func (s *Simulator) RevokeTokens() {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	clear(s.state.tokens)
	s.state.tokenOrder = nil
}

// SetBalance sets the account's balance in New Zealand dollars. From then on
// each message takes 0.115, unless it is sandboxed, and a message that the
// balance does not cover is refused as [InsufficientFunds200] is. Before the
// first call, and after SetBalance(math.Inf(1)), nothing is charged.
func (s *Simulator) SetBalance(nzd float64) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.billed = !math.IsInf(nzd, 1)
	if s.state.billed {
		s.state.balance = int64(math.Round(nzd * 1e6))
	}
}

// SetDelivery sets how the next message is delivered; those after it are
// delivered as usual again.
func (s *Simulator) SetDelivery(d Delivery) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.delivery = d
	s.state.touch(nil)
}

// Counts returns how often things have happened so far.
func (s *Simulator) Counts() Counts {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return s.state.counts
}

// sleep waits for d. It reports false, at once, when the request or the state
// ends before; a mere change of configuration does not cut a call short.
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
