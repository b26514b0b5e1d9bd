package storetest

import (
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/otp"
)

func (p *player) first(t *rapid.T) {
	key := p.key(t)
	within := rapid.SampledFrom([]time.Duration{time.Second, time.Minute, 24 * time.Hour}).Draw(t, "within")
	until, seen := p.m.seen[key]
	want := !seen || !p.d.now.Before(until)
	p.d.first(key, within, want)
	if want {
		p.m.seen[key] = p.d.now.Add(within)
		delete(p.m.work, key)
	}
}

func (p *player) begin(t *rapid.T) {
	key, holder := p.key(t), p.holder(t)
	work := p.m.work[key]
	var want time.Duration
	switch {
	case p.d.now.Before(p.m.seen[key]):
		want = -1
	case work.holder != holder && p.d.now.Before(work.until):
		want = work.until.Sub(p.d.now)
	default:
		p.m.work[key] = heldWork{holder, p.d.now.Add(lease)}
	}
	p.d.begin(key, holder, want)
}

func (p *player) done(t *rapid.T) {
	key := p.key(t)
	within := rapid.SampledFrom([]time.Duration{time.Second, time.Minute, 24 * time.Hour}).Draw(t, "within")
	until := p.d.now.Add(within)
	if until.Before(p.m.seen[key]) {
		t.Skip("done for longer")
	}
	p.d.done(key, within)
	p.m.seen[key] = until
	delete(p.m.work, key)
}

func (p *player) forget(t *rapid.T) {
	key, holder := p.key(t), p.holder(t)
	p.d.forget(key, holder)
	if p.m.work[key].holder == holder {
		delete(p.m.work, key)
	}
}

func (p *player) holder(t *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "b"}).Draw(t, "holder")
}

func (p *player) key(t *rapid.T) otp.Digest {
	return counter("", p.name+rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "key")).Key
}
