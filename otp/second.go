package otp

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/session"
)

// If WebSMS reports that a message was not delivered, the engine sends the same code once
// more by itself. Often the phone was out of reach for a moment. A challenge gets one such
// second try. It counts in the budget and in the longest rate of PerNumber. The browser sees
// no change. A restricted gate has no second tries, because they would tell which numbers are
// on its list.

// envelope holds the parts of the first sending that a second try needs. The store keeps it sealed.
type envelope struct {
	Scope, Number, Device, Host, Company, Comment, Note string
	PerNumber, Budget                                   []Rate
	Lockout                                             Lockout
}

// sealEnvelope returns the sealed envelope of a sending, or nil if it gets no second try.
func (e *Engine) sealEnvelope(p *Policy, s *Sending, id ID) ([]byte, error) {
	if s.Restricted || s.Unlisted {
		return nil, nil
	}
	plain, err := json.Marshal(envelope{
		Scope: p.Scope, Number: s.Number, Device: s.Device, Host: s.Host, Company: p.Company, Comment: p.Comment, Note: s.Note,
		PerNumber: p.PerNumber, Budget: p.Budget, Lockout: p.Lockout,
	})
	if err != nil {
		return nil, err
	}
	sealed, err := e.ring.Seal(session.ForCode, envelopeAudience(id), plain)
	return []byte(sealed), err
}

// openEnvelope opens an envelope that sealEnvelope sealed.
func (e *Engine) openEnvelope(id ID, sealed []byte) (open envelope, err error) {
	plain, err := e.ring.Open(session.ForCode, envelopeAudience(id), string(sealed))
	if err == nil {
		err = json.Unmarshal(plain, &open)
	}
	return open, err
}

// envelopeAudience returns the audience of a sealed envelope. It differs from that of a
// sealed code, so neither opens as the other.
func envelopeAudience(id ID) string { return "envelope " + string(id[:]) }

// counters returns the counters of a second try. Only the longest rate of PerNumber counts it:
// the try is counted as if it had been before the windows of the others.
func (v *envelope) counters(e *Engine) (list []Counter) {
	p := Policy{Scope: v.Scope, Budget: v.Budget}
	var longest []Rate // the rates with the longest window
	var window, before time.Duration
	for _, r := range v.PerNumber {
		switch {
		case r.Window > window:
			longest, window, before = []Rate{r}, r.Window, max(before, window)
		case r.Window == window:
			longest = append(longest, r)
		default:
			before = max(before, r.Window)
		}
	}
	if len(longest) > 0 {
		list = append(list, Counter{Limit: "per_number", Key: e.numberKey(v.Scope, v.Number), Rates: longest, Before: before})
	}
	if len(v.Budget) > 0 {
		list = append(list, e.budget(&p))
	}
	return list
}

// SecondTry describes the outcome of a second try.
type SecondTry struct {
	Challenge ID
	Number    string // E.164
	Note      string // the Note of the first sending
	MessageID string // the new id, or ""
	Err       error  // why the message may not have been sent, or nil
}

// Retry sends a code once more, in the background, if state says that the message with this
// id was not delivered: StateUndelivered or StateRejected. Call it after Report. done, if set,
// is called from another goroutine with the outcome if the second try was claimed.
//
// Retry does nothing if the challenge has ended, had its second try, or has a later sending.
// It does nothing on a restricted gate, if a limit refuses the try, if the number is locked,
// or if too many sendings are in flight.
func (e *Engine) Retry(messageID string, state connexus.State, done func(SecondTry)) {
	if messageID == "" || state != connexus.StateUndelivered && state != connexus.StateRejected || e.ready() != nil {
		return
	}
	release, err := e.dispatch.acquire()
	if err != nil {
		return
	}
	go func() {
		defer release()
		if try, sent := e.retry(messageID); sent && done != nil {
			done(try)
		}
	}()
}

// retry claims a second try and sends the code. It reports whether it has claimed one.
func (e *Engine) retry(messageID string) (try SecondTry, claimed bool) {
	ctx, now := context.Background(), e.now()
	var v envelope
	rec, err := e.store.Second(ctx, messageID, now, func(rec Record) (r Renewal, err error) {
		if v, err = e.openEnvelope(rec.ID, rec.Envelope); err != nil {
			return r, err
		}
		if len(rec.Sealed) == 0 { // WebSMS was to make the code, and did not return it
			return r, ErrDone
		}
		return Renewal{
			Scope: v.Scope, Now: now, Counters: v.counters(e),
			Failures: e.failures(&Policy{Scope: v.Scope, Lockout: v.Lockout}, v.Number, v.Device),
		}, nil
	})
	if err != nil {
		return try, false
	}
	try = SecondTry{Challenge: rec.ID, Number: v.Number, Note: v.Note}
	code, err := e.open(rec.ID, rec.Sealed)
	if err != nil {
		try.Err = err
		return try, true
	}
	receipt, err := e.dispatch.send(ctx, connexus.OTP{To: v.Number, Company: v.Company, Comment: v.Comment, Code: code, WebOTPDomain: v.Host})
	try.MessageID, try.Err = receipt.MessageID, err
	if err != nil {
		return try, true
	}
	// The same number of the sending: the status of the challenge stays, until a report says
	// that this message has arrived.
	kept := Settlement{Scope: v.Scope, Sending: rec.Sending, MessageID: receipt.MessageID, Status: Accepted, Taken: now, Now: e.now()}
	if lost := e.store.Settle(ctx, rec.ID, &kept); lost != nil {
		try.Err = errors.Join(err, lost)
	}
	return try, true
}
