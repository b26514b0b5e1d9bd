package otp_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
)

// TestEngineRetry: the second try sends the same message. Its outcome has what the first
// sending noted, and it counts where it should.
func TestEngineRetry(t *testing.T) {
	withEngine(t, nil, func(e *engineBench) {
		e.policy.PerNumber = []otp.Rate{{Count: 2, Window: 10 * time.Minute}, {Count: 5, Window: time.Hour}, {Count: 9, Window: 24 * time.Hour}}
		e.policy.Budget = []otp.Rate{{Count: 10, Window: time.Hour}}
		e.policy.Company, e.policy.Comment = "Acme", "Hello."
		e.outbox.reply = func(context.Context, connexus.OTP) (connexus.Receipt, error) {
			return connexus.Receipt{MessageID: "MSG" + string(rune('0'+len(e.outbox.all())))}, nil
		}
		challenge := e.issue(otp.Sending{Host: "app.example.com", Note: "a note"})
		first := e.outbox.all()[0]
		message := "MSG1"
		e.report(message, connexus.StateUndelivered)
		var tries []otp.SecondTry
		e.Retry(message, connexus.StateUndelivered, func(try otp.SecondTry) { tries = append(tries, try) })
		synctest.Wait()
		sent := e.outbox.all()
		if len(sent) != 2 || sent[1] != first {
			t.Fatalf("sent %+v, want the first message twice", sent)
		}
		want := otp.SecondTry{Challenge: challenge.ID, Number: someNumber, Note: "a note", MessageID: "MSG2"}
		if len(tries) != 1 || tries[0] != want {
			t.Errorf("told %+v, want %+v", tries, want)
		}
		if used, err := e.Sent(context.Background(), &e.policy, someNumber); err != nil || used[0] != 1 || used[1] != 1 || used[2] != 2 {
			t.Errorf("the number's counts are %v, %v; want 1, 1 and 2", used, err)
		}
		if used, err := e.Spent(context.Background(), &e.policy); err != nil || used[0] != 2 {
			t.Errorf("the budget's count is %v, %v; want 2", used, err)
		}
		e.Retry(message, connexus.StateUndelivered, func(otp.SecondTry) { t.Error("told of a third try") })
		e.Retry("MSG2", connexus.StateRejected, func(otp.SecondTry) { t.Error("told of a third try") })
		synctest.Wait()
		if n := len(e.outbox.all()); n != 2 {
			t.Errorf("%d messages, want 2", n)
		}
		e.verify(challenge.ID, first.Code, nil)
	})
}

// TestEngineRetryRefused: the API refuses the second message. The code stays good, because the
// first message may still arrive.
func TestEngineRetryRefused(t *testing.T) {
	withEngine(t, nil, func(e *engineBench) {
		refusal := &connexus.Error{Err: connexus.ErrFunds}
		e.outbox.reply = func(context.Context, connexus.OTP) (connexus.Receipt, error) {
			if len(e.outbox.all()) > 1 {
				return connexus.Receipt{}, refusal
			}
			return connexus.Receipt{MessageID: "MSG1"}, nil
		}
		challenge := e.issue(otp.Sending{})
		e.report("MSG1", connexus.StateRejected)
		var told error
		e.Retry("MSG1", connexus.StateRejected, func(try otp.SecondTry) { told = try.Err })
		synctest.Wait()
		if !errors.Is(told, connexus.ErrFunds) {
			t.Errorf("told %v, want %v", told, connexus.ErrFunds)
		}
		e.verify(challenge.ID, e.outbox.all()[0].Code, nil)
	})
}

// TestEngineRetryEarly: the report comes before the reply of WebSMS.
func TestEngineRetryEarly(t *testing.T) {
	withEngine(t, nil, func(e *engineBench) {
		e.outbox.reply = func(context.Context, connexus.OTP) (connexus.Receipt, error) {
			if len(e.outbox.all()) == 1 {
				time.Sleep(time.Second)
				return connexus.Receipt{MessageID: "MSG1"}, nil
			}
			return connexus.Receipt{MessageID: "MSG2"}, nil
		}
		var tries []otp.SecondTry
		e.issue(otp.Sending{Retried: func(try otp.SecondTry) { tries = append(tries, try) }})
		e.report("MSG1", connexus.StateUndelivered)
		e.Retry("MSG1", connexus.StateUndelivered, func(otp.SecondTry) { t.Error("a second try before the first sending is settled") })
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(tries) != 1 || tries[0].MessageID != "MSG2" {
			t.Errorf("told %+v, want one second try", tries)
		}
	})
}

// TestEngineNoRetry: other states, restricted gates and codes that WebSMS did not return have
// no second try.
func TestEngineNoRetry(t *testing.T) {
	withEngine(t, nil, func(e *engineBench) {
		e.outbox.reply = func(context.Context, connexus.OTP) (connexus.Receipt, error) {
			return connexus.Receipt{MessageID: "MSG1"}, nil
		}
		none := func(what string, state connexus.State, s otp.Sending) {
			t.Helper()
			e.issue(s)
			time.Sleep(time.Second)
			before := len(e.outbox.all())
			e.report("MSG1", state)
			e.Retry("MSG1", state, func(otp.SecondTry) { t.Errorf("%s: a second try", what) })
			synctest.Wait()
			if n := len(e.outbox.all()); n != before {
				t.Errorf("%s: %d messages, want %d", what, n, before)
			}
		}
		for _, state := range []connexus.State{
			connexus.StateUnknown, connexus.StateQueued, connexus.StateAccepted, connexus.StateExpired,
			connexus.StateBlocked, connexus.StateDelivered,
		} {
			none(state.String(), state, otp.Sending{})
		}
		none("a restricted gate", connexus.StateUndelivered, otp.Sending{Restricted: true})
		e.policy.Remote = true
		none("no code", connexus.StateUndelivered, otp.Sending{})
	})
}

func (e *engineBench) report(message string, state connexus.State) {
	e.t.Helper()
	if _, _, err := e.Report(context.Background(), message, state); err != nil {
		e.t.Fatalf("Report: %v", err)
	}
}
