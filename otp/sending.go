package otp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddy-websms/websms/connexus"
)

// Sender sends messages, as *connexus.Client does. An error that is a
// *connexus.Error with MaybeAccepted false says that nothing was sent.
type Sender interface {
	SendOTP(ctx context.Context, m connexus.OTP) (connexus.Receipt, error)
}

// Sending is one request for a code.
type Sending struct {
	Number string // E.164
	// Device names the device that asks, if it has verified the number before. It
	// is "" for any other device.
	Device string
	// IP is the IP address that asks, in the form that PerIP counts. The
	// address "" is not counted.
	IP string
	// Host is the host that the message is bound to (WebOTP), or "".
	Host string
	// Unlisted marks an unlisted number. The sending is counted, answered and timed
	// like any other, but no message is sent.
	Unlisted bool
	// Restricted marks a restricted gate, which must answer listed and unlisted
	// numbers alike. The outcome of the sending then changes no counter.
	Restricted bool
	// Note is any text. A second try gets it back: see Engine.Retry.
	Note string
	// Done, if set, is called from another goroutine with the outcome of the
	// sending. It is not called for an unlisted number.
	Done func(id ID, messageID string, err error)
	// Retried, if set, is called from another goroutine with the outcome of a second
	// try whose report came before the reply of WebSMS.
	Retried func(SecondTry)
	// Strained, if set, is called from another goroutine when this sending has
	// used four fifths of a rate of the budget. It is called once in each window.
	Strained func(used int, of Rate)
}

// The least and the most digits of a code that WebSMS makes.
const (
	minRemote = 4
	maxRemote = 8
)

// errNoCode is the outcome of a sending if WebSMS was to make the code, and its reply
// holds none of a usable length.
var errNoCode = errors.New("the reply holds no code of 4 to 8 digits; the message cannot be verified")

// send hands one sending to the dispatcher. The function release frees its place.
func (e *Engine) send(ctx context.Context, p *Policy, s Sending, id ID, sending int, code string, taken time.Time, release func()) {
	go func() {
		defer release()
		e.strained(p, &s)
		shown := e.veil(p.Scope, &s, id, sending, taken)
		if s.Unlisted {
			<-shown
			return
		}
		settled := Settlement{Scope: p.Scope, Sending: sending, Status: Accepted, Taken: taken}
		receipt, err := e.dispatch.send(ctx, connexus.OTP{
			To: s.Number, Company: p.Company, Comment: p.Comment, Code: code, WebOTPDomain: s.Host,
		})
		settled.MessageID = receipt.MessageID
		if err == nil && code == "" {
			settled.Made, err = e.made(id, receipt.Code)
		}
		if err != nil {
			settled.Status = Failed
			var failure *connexus.Error
			settled.Refused = errors.As(err, &failure) && !failure.MaybeAccepted
			if settled.Refused && !s.Restricted {
				settled.Return = e.counters(p, &s)
			}
		}
		<-shown
		settled.Now = e.now()
		if lost := e.store.Settle(context.Background(), id, &settled); lost != nil {
			err = errors.Join(err, fmt.Errorf("recording the sending: %w", lost))
		}
		if s.Done != nil {
			s.Done(id, settled.MessageID, err)
		}
		e.Retry(settled.MessageID, settled.Early, s.Retried)
	}()
}

// veil hides whether a restricted gate really sends the message. It does two things.
// First it waits until the HTTP response has left: work beside the response would
// slow it by some 0.1 ms on a machine of 2 cores. Then it sets the challenge to
// accepted after a random time, for listed and unlisted numbers alike. It closes
// shown when the challenge is accepted. The gate does not show later changes.
func (e *Engine) veil(scope string, s *Sending, id ID, sending int, taken time.Time) (shown <-chan struct{}) {
	done := make(chan struct{})
	if !s.Restricted && !s.Unlisted {
		close(done)
		return done
	}
	e.dispatch.pause(5*time.Millisecond, 25*time.Millisecond)
	go func() {
		defer close(done)
		e.dispatch.pause(200*time.Millisecond, 500*time.Millisecond) // as long as WebSMS usually takes
		// While the store is down, the challenges of all numbers stay queued.
		_ = e.store.Settle(context.Background(), id, &Settlement{
			Scope: scope, Sending: sending, Status: Accepted, Taken: taken, Now: e.now(),
		})
	}()
	return done
}

// made seals a code that WebSMS made, for the store.
func (e *Engine) made(id ID, code string) (*Made, error) {
	if len(code) < minRemote || len(code) > maxRemote || strings.Trim(code, "0123456789") != "" {
		return nil, errNoCode
	}
	sealed, err := e.seal(id, code)
	if err != nil {
		return nil, err
	}
	return &Made{Sealed: sealed, Proof: e.proof(id, code), Length: len(code)}, nil
}
