package websms

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-websms/websms/websmstest"
)

// Two numbers that look alike when they are masked: one is on the list.
const (
	listed   = "+6421234567"
	unlisted = "+6421235567"
)

const listGate = "numbers {\n allow " + listed + " +6421000777\n}\n"

// seenBy is all of an answer that a browser sees, but for what is sealed in cookies.
func seenBy(a answer) string {
	var lines []string
	for name, values := range a.Header {
		for _, value := range values {
			switch name {
			case "Date":
				continue
			case "Set-Cookie":
				cookie, err := http.ParseSetCookie(value)
				if err != nil {
					return err.Error()
				}
				value = strings.Replace(value, cookie.Value, fmt.Sprintf("(%d bytes)", len(cookie.Value)), 1)
			}
			lines = append(lines, name+": "+value)
		}
	}
	slices.Sort(lines)
	return a.Status + "\n" + strings.Join(lines, "\n") + "\n\n" + a.body
}

// Who asks for a number that is not on the list cannot tell it from one that
// is, whatever is tried; and nothing is sent to it.
func TestOutsidersAreAnsweredAlike(t *testing.T) {
	now := useClock(t)
	w := start(t, setup{gate: listGate + "code {\n ttl 10m\n}\n limits {\n per_number 3/10m\n cooldown 30s\n}"})
	inside, outside := w.browser(), w.browser()
	both := func(what string, do func(b *browser, number string) answer) {
		t.Helper()
		if in, out := seenBy(do(inside, listed)), seenBy(do(outside, unlisted)); in != out {
			t.Errorf("%s: one on the list gets\n%s\none that is not\n%s", what, in, out)
		}
	}
	path := func(path string, header http.Header) func(*browser, string) answer {
		return func(b *browser, _ string) answer { return b.get(path, header) }
	}
	status := func(b *browser) any { return b.get("/.websms/status", api).json("status") }
	settled := func(what string, reports int) {
		t.Helper()
		eventually(t, what+": both are accepted", func() bool { return status(inside) == "accepted" && status(outside) == "accepted" })
		// Also when the network has reported on the one that was sent.
		eventually(t, what+": it is reported on", func() bool { return len(w.logged("websms.dlr")) >= reports })
		both(what+": status", path("/.websms/status", api))
		both(what+": the code form, for a program", path("/.websms/verify", api))
		both(what+": the code form", path("/.websms/verify", page))
	}

	both("send", func(b *browser, number string) answer { return b.request(number) })
	settled("send", 2)
	both("send by a person", func(b *browser, number string) answer {
		return b.post("/.websms/send", []string{"phone", number, "rd", "/a"}, page)
	})
	settled("send by a person", 4)
	resend := func(b *browser, _ string) answer { return b.resend() }
	both("resend too early", resend)
	now.Advance(30 * time.Second)
	w.sim.SetDelivery(websmstest.Undelivered)
	both("resend", resend)
	settled("resend", 6)
	both("a resend too many", resend)
	both("one too many", func(b *browser, number string) answer { return b.request(number) })
	both("one too many, of a person", func(b *browser, number string) answer {
		return b.post("/.websms/send", []string{"phone", number}, page)
	})
	wrong := other(w.messagesTo(listed)[0].Code)
	for range 3 {
		both("a wrong code", func(b *browser, _ string) answer { return b.answerWith(wrong) })
	}
	for range 3 {
		both("a wrong code of a person", func(b *browser, _ string) answer {
			return b.post("/.websms/verify", []string{"code", wrong}, page)
		})
	}
	both("a dead challenge", path("/.websms/verify", page))
	both("a dead challenge's status", path("/.websms/status", api))
	now.Advance(10 * time.Minute)

	// Refused by WebSMS: on the list that shows no more than off it, and costs as much.
	w.sim.Always(websmstest.InsufficientFunds200())
	for range 3 {
		both("send without funds", func(b *browser, number string) answer { return b.request(number) })
		eventually(t, "both are accepted", func() bool { return status(inside) == "accepted" && status(outside) == "accepted" })
	}
	both("one too many without funds", func(b *browser, number string) answer { return b.request(number) })
	both("status without funds", path("/.websms/status", api))
	now.Advance(10 * time.Minute)
	both("an expired challenge", path("/.websms/verify", page))
	both("an expired challenge's code", func(b *browser, _ string) answer { return b.answerWith(wrong) })

	if n := len(w.messagesTo(unlisted)); n != 0 {
		t.Errorf("%d messages went to a number off the list", n)
	}
	if n := w.sim.Counts().OTPRequests; n != 6 { // two sent, one resent, three refused
		t.Errorf("WebSMS was asked to send %d messages; want 6", n)
	}
	w.wantNoSecrets(unlisted[2:])
}

// Delivery shows only to a browser that has verified this very number before.
func TestDeliveryShowsToKnownBrowser(t *testing.T) {
	w := start(t, setup{gate: listGate + plenty})
	reports := func(n int) {
		t.Helper()
		eventually(t, "the network reports", func() bool { return len(w.logged("websms.dlr")) >= n })
	}
	status := func(b *browser) any { return b.get("/.websms/status", api).json("status") }
	b := w.browser()
	b.login(listed)
	reports(2)
	b.ask(listed)
	eventually(t, "a browser that verified the number sees the delivery", func() bool { return status(b) == "delivered" })
	w.sim.Next(websmstest.InsufficientFunds200())
	b.resend()
	eventually(t, "and that a message failed", func() bool { return status(b) == "failed" })

	b.ask("+6421000777")
	reports(6)
	eventually(t, "the message is on its way", func() bool { return status(b) != "queued" })
	if got := status(b); got != "accepted" {
		t.Errorf("of another number it sees %v", got)
	}
	b.post("/.websms/logout", nil, api)
	b.ask(listed)
	eventually(t, "it knows the number also when signed out", func() bool { return status(b) == "delivered" })

	stranger := w.browser()
	stranger.ask(listed)
	reports(10)
	eventually(t, "the message is on its way", func() bool { return status(stranger) != "queued" })
	if got := status(stranger); got != "accepted" {
		t.Errorf("a stranger sees %v", got)
	}
	// Where every number may ask, there is nothing to hide, but of what was
	// asked before.
	w.load(plenty)
	if got := status(stranger); got != "accepted" {
		t.Errorf("when the list is gone, a stranger sees %v", got)
	}
	stranger.ask(listed)
	eventually(t, "without a list a stranger sees the delivery", func() bool { return status(stranger) == "delivered" })
}

// Outsiders are counted as others are: they use up a gate's budget.
func TestOutsidersAreCounted(t *testing.T) {
	w := start(t, setup{gate: listGate + "limits {\n budget 2/1h\n cooldown 0s\n}"})
	wantStatus(t, "an outsider", w.browser().request(unlisted), http.StatusAccepted)
	wantStatus(t, "an insider", w.browser().request(listed), http.StatusAccepted)
	wantProblem(t, "an outsider", w.browser().request("+6421999999"), http.StatusTooManyRequests, "rate_limited")
	wantProblem(t, "an insider", w.browser().request("+6421000777"), http.StatusTooManyRequests, "rate_limited")
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}

// The status of an outsider changes when an insider's does: after as long as a
// sending takes.
func TestOutsiderIsAcceptedInTime(t *testing.T) {
	const latency = 120 * time.Millisecond
	w := start(t, setup{gate: listGate + plenty, api: websmstest.Options{Latency: latency}})
	waits := func(number string, times int) []time.Duration {
		took := make([]time.Duration, times)
		var group sync.WaitGroup
		for i := range took {
			group.Go(func() {
				b := w.browser()
				begun := time.Now()
				b.request(number)
				stream := b.openEvents(t.Context())
				defer stream.close()
				stream.until("accepted")
				took[i] = time.Since(begun)
			})
		}
		group.Wait()
		return took
	}
	in, out := waits(listed, 15), waits(unlisted, 15)
	if ratio := float64(median(in)) / float64(median(out)); ratio < 0.5 || ratio > 2 {
		t.Errorf("it is accepted after %s on the list and %s off it", median(in), median(out))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.sim.WaitMessage(ctx, func(m websmstest.Message) bool { return "+"+m.To == unlisted }); err == nil {
		t.Error("a message went to a number off the list")
	}
}
