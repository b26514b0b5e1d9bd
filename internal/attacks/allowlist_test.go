package attacks_test

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/websmstest"
)

// formID matches the name of a challenge in its form, which is random.
var formID = regexp.MustCompile(`name="challenge" value="[-_0-9A-Za-z]{16}"`)

// seenBy holds all that a browser sees of an answer, except for the sealed content of cookies and
// the random name of a challenge.
func seenBy(a harness.Answer) string {
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
	return a.Status + "\n" + strings.Join(lines, "\n") + "\n\n" + formID.ReplaceAllString(a.Text, "(a challenge)")
}

// A visitor cannot tell a listed number from an unlisted one by any answer. Nothing is sent to an
// unlisted number.
func TestOutsidersAreAnsweredAlike(t *testing.T) {
	now := harness.UseClock(t)
	w := harness.Start(t, harness.Setup{Gate: harness.ListGate + "code {\n ttl 10m\n}\n limits {\n per_number 3/10m\n cooldown 30s\n}"})
	inside, outside := w.Browser(), w.Browser()
	both := func(what string, do func(b *harness.Browser, number string) harness.Answer) {
		t.Helper()
		if in, out := seenBy(do(inside, harness.Listed)), seenBy(do(outside, harness.Unlisted)); in != out {
			t.Errorf("%s: one on the list gets\n%s\none that is not\n%s", what, in, out)
		}
	}
	path := func(path string, header http.Header) func(*harness.Browser, string) harness.Answer {
		return func(b *harness.Browser, _ string) harness.Answer { return b.Get(path, header) }
	}
	status := func(b *harness.Browser) any { return b.Get("/.websms/status", harness.API).JSON("status") }
	settled := func(what string, reports int) {
		t.Helper()
		harness.Eventually(t, what+": both are accepted", func() bool { return status(inside) == "accepted" && status(outside) == "accepted" })
		// The same after the network's report on the message that was sent.
		harness.Eventually(t, what+": it is reported on", func() bool { return len(w.Logged("websms.dlr")) >= reports })
		both(what+": status", path("/.websms/status", harness.API))
		both(what+": the code form, for a program", path("/.websms/verify", harness.API))
		both(what+": the code form", path("/.websms/verify", harness.Page))
	}

	both("send", func(b *harness.Browser, number string) harness.Answer { return b.Request(number) })
	settled("send", 2)
	both("send again too early", func(b *harness.Browser, number string) harness.Answer { return b.Request(number) })
	now.Advance(30 * time.Second)
	both("send by a person", func(b *harness.Browser, number string) harness.Answer {
		return b.Post("/.websms/send", []string{"phone", number, "rd", "/a"}, harness.Page)
	})
	settled("send by a person", 4)
	resend := func(b *harness.Browser, _ string) harness.Answer { return b.Resend() }
	both("resend too early", resend)
	now.Advance(time.Minute)
	w.Sim.SetDelivery(websmstest.Undelivered)
	both("resend", resend)
	settled("resend", 6)
	both("a resend too many", resend)
	both("one too many", func(b *harness.Browser, number string) harness.Answer { return b.Request(number) })
	both("one too many, of a person", func(b *harness.Browser, number string) harness.Answer {
		return b.Post("/.websms/send", []string{"phone", number}, harness.Page)
	})
	wrong := harness.OtherCode(w.MessagesTo(harness.Listed)[0].Code)
	for range 3 {
		both("a wrong code", func(b *harness.Browser, _ string) harness.Answer { return b.AnswerWith(wrong) })
	}
	for range 3 {
		both("a wrong code of a person", func(b *harness.Browser, _ string) harness.Answer {
			return b.Post("/.websms/verify", []string{"code", wrong}, harness.Page)
		})
	}
	both("a dead challenge", path("/.websms/verify", harness.Page))
	both("a dead challenge's status", path("/.websms/status", harness.API))
	now.Advance(10 * time.Minute)

	// WebSMS refuses the message: the answer for a listed number shows no more than for an unlisted
	// one, and costs the same.
	w.Sim.Always(websmstest.InsufficientFunds200())
	for range 3 {
		inside, outside = w.Browser(), w.Browser()
		both("send without funds", func(b *harness.Browser, number string) harness.Answer { return b.Request(number) })
		harness.Eventually(t, "both are accepted", func() bool { return status(inside) == "accepted" && status(outside) == "accepted" })
	}
	both("one too many without funds", func(b *harness.Browser, number string) harness.Answer { return b.Request(number) })
	both("status without funds", path("/.websms/status", harness.API))
	now.Advance(10 * time.Minute)
	both("an expired challenge", path("/.websms/verify", harness.Page))
	both("an expired challenge's code", func(b *harness.Browser, _ string) harness.Answer { return b.AnswerWith(wrong) })

	if n := len(w.MessagesTo(harness.Unlisted)); n != 0 {
		t.Errorf("%d messages went to a number off the list", n)
	}
	if n := w.Sim.Counts().OTPRequests; n != 6 { // two sent, one resent, three refused
		t.Errorf("WebSMS was asked to send %d messages; want 6", n)
	}
	w.WantNoSecrets(harness.Unlisted[2:])
}

// A browser sees the delivery only if it has verified this number before.
func TestDeliveryShowsToKnownBrowser(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.ListGate + harness.Plenty})
	reports := func(n int) {
		t.Helper()
		harness.Eventually(t, "the network reports", func() bool { return len(w.Logged("websms.dlr")) >= n })
	}
	status := func(b *harness.Browser) any { return b.Get("/.websms/status", harness.API).JSON("status") }
	b := w.Browser()
	b.Login(harness.Listed)
	reports(2)
	b.Ask(harness.Listed)
	harness.Eventually(t, "a browser that verified the number sees the delivery", func() bool { return status(b) == "delivered" })
	w.Sim.Next(websmstest.InsufficientFunds200())
	b.Resend()
	harness.Eventually(t, "and that a message failed", func() bool { return status(b) == "failed" })

	b.Ask("+6421000777")
	reports(6)
	harness.Eventually(t, "the message is on its way", func() bool { return status(b) != "queued" })
	if got := status(b); got != "accepted" {
		t.Errorf("of another number it sees %v", got)
	}
	b.Post("/.websms/logout", nil, harness.API)
	b.Ask(harness.Listed)
	harness.Eventually(t, "it knows the number also when signed out", func() bool { return status(b) == "delivered" })

	stranger := w.Browser()
	stranger.Ask(harness.Listed)
	reports(10)
	harness.Eventually(t, "the message is on its way", func() bool { return status(stranger) != "queued" })
	if got := status(stranger); got != "accepted" {
		t.Errorf("a stranger sees %v", got)
	}
	// Without a list there is nothing to hide, except for challenges that began under a list.
	w.Load(harness.Plenty)
	if got := status(stranger); got != "accepted" {
		t.Errorf("when the list is gone, a stranger sees %v", got)
	}
	stranger = w.Browser()
	stranger.Ask(harness.Listed)
	harness.Eventually(t, "without a list a stranger sees the delivery", func() bool { return status(stranger) == "delivered" })
}

// Asks for unlisted numbers use up the gate's budget too.
func TestOutsidersAreCounted(t *testing.T) {
	w := harness.Start(t, harness.Setup{Gate: harness.ListGate + "limits {\n budget 2/1h\n cooldown 0s\n}"})
	harness.WantStatus(t, "an outsider", w.Browser().Request(harness.Unlisted), http.StatusAccepted)
	harness.WantStatus(t, "an insider", w.Browser().Request(harness.Listed), http.StatusAccepted)
	harness.WantProblem(t, "an outsider", w.Browser().Request("+6421999999"), http.StatusTooManyRequests, "rate_limited")
	harness.WantProblem(t, "an insider", w.Browser().Request("+6421000777"), http.StatusTooManyRequests, "rate_limited")
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}

// The status of an unlisted number changes when that of a listed one does: after the time that a
// sending takes.
func TestOutsiderIsAcceptedInTime(t *testing.T) {
	const latency = 120 * time.Millisecond
	w := harness.Start(t, harness.Setup{Gate: harness.ListGate + harness.Plenty, API: websmstest.Options{Latency: latency}})
	waits := func(number string, times int) []time.Duration {
		took := make([]time.Duration, times)
		var group sync.WaitGroup
		for i := range took {
			group.Go(func() {
				b := w.Browser()
				begun := time.Now()
				b.Request(number)
				stream := harness.OpenEvents(b, t.Context())
				defer stream.Close()
				stream.Until("accepted")
				took[i] = time.Since(begun)
			})
		}
		group.Wait()
		return took
	}
	in, out := waits(harness.Listed, 15), waits(harness.Unlisted, 15)
	if ratio := float64(median(in)) / float64(median(out)); ratio < 0.5 || ratio > 2 {
		t.Errorf("it is accepted after %s on the list and %s off it", median(in), median(out))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Sim.WaitMessage(ctx, func(m websmstest.Message) bool { return "+"+m.To == harness.Unlisted }); err == nil {
		t.Error("a message went to a number off the list")
	}
}
