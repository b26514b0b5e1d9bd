package e2e_test

import (
	"context"
	"strings"
	"time"

	"github.com/chromedp/chromedp"
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
	b.t.Helper()
	p := &phone{b.beside()}
	if !b.scripts {
		p.withoutScripts()
	}
	p.tab.open(s.inbox)
	return p
}

// messages returns what stands in the inbox for a number, newest first.
func (p *phone) messages(number string) []sms {
	p.t.Helper()
	return eval[[]sms](p.tab, `[...document.querySelectorAll("#messages .message[data-to=`+quote(number)+`]")].map(m => ({
		ID: m.id, Code: m.dataset.code, State: m.querySelector(".state").innerText, Text: m.querySelector(".sms").innerText,
	}))`)
}

// await waits until so many messages have come to a number, and returns the
// newest. The page is to show them by itself; without JavaScript it is reloaded.
func (p *phone) await(number string, count int) sms {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if all := p.messages(number); len(all) >= count {
			if len(all) > count {
				p.t.Errorf("%d messages to %s, want %d", len(all), number, count)
			}
			return all[0]
		}
		select {
		case <-tick.C:
			if !p.scripts {
				p.do(chromedp.Reload())
			}
		case <-ctx.Done():
			p.t.Fatalf("message %d to %s does not come; %s", count, number, p.where())
		}
	}
}

// awaitState waits until the newest message to a number is said to be in a state.
func (p *phone) awaitState(number, state string) {
	p.t.Helper()
	p.untilText("#messages .message[data-to="+quote(number)+"] .state", state)
}

// chooseDelivery chooses what becomes of the next message.
func (p *phone) chooseDelivery(value string) {
	p.t.Helper()
	if p.scripts { // as it begins to listen, the page shows the choice that stands
		p.untilText("#reload", "Live")
	}
	p.do(chromedp.SetValue(chromedp.CSS("#next"), value))
	p.click(".next button")
	p.until("document.querySelector('#next option[value=" + value + "]').hasAttribute('selected')")
}

// reply answers a message from the phone.
func (p *phone) reply(m sms, words string) {
	p.t.Helper()
	bubble := "#" + m.ID + " "
	p.click(bubble + "summary")
	p.fill(bubble+"input[name=body]", words)
	p.click(bubble + "form button")
	p.untilText(bubble+".replies li", words)
}

// another returns a code of the same length that is not this one.
func another(code string) string {
	return strings.Map(func(digit rune) rune { return '0' + (digit-'0'+1)%10 }, code)
}
