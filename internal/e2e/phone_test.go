package e2e_test

import (
	"context"
	"strings"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/caddy-websms/websms/internal/browser"
)

// A phone is the simulator's inbox in a tab of its own.
type phone struct{ *tab }

// sms is a message in the inbox.
type sms struct {
	ID, Code, State string
	Text            string // as shown, with its lines
}

// pickUp opens the inbox in a second tab.
func (b *tab) pickUp(s *site) *phone {
	b.T.Helper()
	p := &phone{&tab{b.Beside()}}
	if !b.Scripts() {
		p.WithoutScripts()
	}
	p.Open(s.inbox)
	return p
}

// messages returns the messages to a number in the inbox, newest first.
func (p *phone) messages(number string) []sms {
	p.T.Helper()
	return browser.Eval[[]sms](p.Tab, `[...document.querySelectorAll("#messages .message[data-to=`+browser.Quote(number)+`]")].map(m => ({
		ID: m.id, Code: m.dataset.code, State: m.querySelector(".state").innerText, Text: m.querySelector(".sms").innerText,
	}))`)
}

// await waits until count messages have come to a number, and returns the newest. The page shows
// them by itself. Without JavaScript, await reloads it.
func (p *phone) await(number string, count int) sms {
	p.T.Helper()
	ctx, cancel := context.WithTimeout(p.Ctx, browser.Patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if all := p.messages(number); len(all) >= count {
			if len(all) > count {
				p.T.Errorf("%d messages to %s, want %d", len(all), number, count)
			}
			return all[0]
		}
		select {
		case <-tick.C:
			if !p.Scripts() {
				p.Do(chromedp.Reload())
			}
		case <-ctx.Done():
			p.T.Fatalf("message %d to %s does not come; %s", count, number, p.Where())
		}
	}
}

// awaitState waits until the inbox shows this state for the newest message to a number.
func (p *phone) awaitState(number, state string) {
	p.T.Helper()
	p.UntilText("#messages .message[data-to="+browser.Quote(number)+"] .state", state)
}

// chooseDelivery chooses the delivery result of the next message.
func (p *phone) chooseDelivery(value string) {
	p.T.Helper()
	if p.Scripts() { // when it begins to listen, the page shows the current choice
		p.UntilText("#reload", "Live")
	}
	p.Do(chromedp.SetValue(chromedp.CSS("#next"), value))
	p.Click(".next button")
	p.Until("document.querySelector('#next option[value=" + value + "]').hasAttribute('selected')")
}

// reply answers a message from the phone.
func (p *phone) reply(m sms, words string) {
	p.T.Helper()
	bubble := "#" + m.ID + " "
	p.Click(bubble + "summary")
	p.Fill(bubble+"input[name=body]", words)
	p.Click(bubble + "form button")
	p.UntilText(bubble+".replies li", words)
}

// otherCode returns a wrong code: it has the same length and differs in each digit.
func otherCode(code string) string {
	return strings.Map(func(digit rune) rune { return '0' + (digit-'0'+1)%10 }, code)
}
