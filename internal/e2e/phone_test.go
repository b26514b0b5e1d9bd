package e2e_test

import (
	"context"
	"strings"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/caddy-websms/websms/internal/browser"
)

// A phone is the simulator's inbox, in a tab of its own.
type phone struct{ *tab }

// sms is a message as the inbox shows it.
type sms struct {
	ID, Code, State string
	Text            string // as shown, lines and all
}

// pickUp opens the inbox beside another tab.
func (b *tab) pickUp(s *site) *phone {
	b.T.Helper()
	p := &phone{&tab{b.Beside()}}
	if !b.Scripts() {
		p.WithoutScripts()
	}
	p.Open(s.inbox)
	return p
}

// messages returns what stands in the inbox for a number, newest first.
func (p *phone) messages(number string) []sms {
	p.T.Helper()
	return browser.Eval[[]sms](p.Tab, `[...document.querySelectorAll("#messages .message[data-to=`+browser.Quote(number)+`]")].map(m => ({
		ID: m.id, Code: m.dataset.code, State: m.querySelector(".state").innerText, Text: m.querySelector(".sms").innerText,
	}))`)
}

// await waits until so many messages have come to a number, and returns the
// newest. The page is to show them by itself; without JavaScript it is reloaded.
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

// awaitState waits until the newest message to a number is said to be in a state.
func (p *phone) awaitState(number, state string) {
	p.T.Helper()
	p.UntilText("#messages .message[data-to="+browser.Quote(number)+"] .state", state)
}

// chooseDelivery chooses what becomes of the next message.
func (p *phone) chooseDelivery(value string) {
	p.T.Helper()
	if p.Scripts() { // as it begins to listen, the page shows the choice that stands
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

// another returns a code of the same length that is not this one.
func another(code string) string {
	return strings.Map(func(digit rune) rune { return '0' + (digit-'0'+1)%10 }, code)
}
