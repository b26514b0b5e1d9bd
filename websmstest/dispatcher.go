package websmstest

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

const (
	maxPosts   = 32768 // under way, waiting for their time included
	maxWorkers = 16    // posting at once
)

// errTooMany refuses a post past maxPosts.
var errTooMany = errors.New("too many webhook posts are under way")

// post is one event on its way to the webhook.
type post struct {
	sim     *Simulator // whose webhook it goes to
	msg     *message
	event   []byte     // made from steps[0] when it is first due
	steps   []step     // reports that follow; steps[0] is this one
	retries int        // done so far
	result  chan error // buffered; gets the outcome when somebody waits for it
}

// dispatcher makes posts in the background, each at its time.
type dispatcher struct {
	client *http.Client
	ctx    context.Context // ends when the dispatcher is closed
	cancel context.CancelFunc
	wg     sync.WaitGroup

	// due holds posts whose time has come. It has room for all that are
	// under way, so that putting one there never waits.
	due chan *post

	mu     sync.Mutex
	live   int // posts under way
	timers map[*post]*time.Timer
}

func newDispatcher() *dispatcher {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = maxWorkers
	ctx, cancel := context.WithCancel(context.Background())
	d := &dispatcher{
		client: &http.Client{
			Transport: transport,
			// A redirect is not an answer of 200.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		ctx:    ctx,
		cancel: cancel,
		due:    make(chan *post, maxPosts),
		timers: make(map[*post]*time.Timer),
	}
	for range maxWorkers {
		d.wg.Go(d.work)
	}
	return d
}

// start takes on a post that is due after a delay.
func (d *dispatcher) start(p *post, after time.Duration) error {
	d.mu.Lock()
	if d.live == maxPosts {
		d.mu.Unlock()
		p.sim.state.count(func(c *Counts) { c.Dropped++ })
		return errTooMany
	}
	d.live++
	d.mu.Unlock()
	d.putAfter(p, after)
	return nil
}

// putAfter has a live post become due after a delay.
func (d *dispatcher) putAfter(p *post, after time.Duration) {
	if after <= 0 {
		d.due <- p
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx.Err() != nil {
		return
	}
	d.timers[p] = time.AfterFunc(after, func() {
		d.mu.Lock()
		delete(d.timers, p)
		d.mu.Unlock()
		d.due <- p
	})
}

func (d *dispatcher) work() {
	for {
		select {
		case p := <-d.due:
			d.do(p)
		case <-d.ctx.Done():
			return
		}
	}
}

// do makes a post that is due, and starts the report after it: what follows a
// report waits for its first try and not for its retries.
func (d *dispatcher) do(p *post) {
	first := p.retries == 0
	retry, err := p.sim.try(d.ctx, p)
	if retry > 0 {
		p.retries++
		d.putAfter(p, retry)
	} else {
		d.mu.Lock()
		d.live--
		d.mu.Unlock()
		if p.result != nil {
			p.result <- err
		}
	}
	if first && len(p.steps) > 0 {
		p.sim.schedule(p.msg, p.steps[1:])
	}
}

// close gives up what is under way and waits for the workers to end.
func (d *dispatcher) close() {
	d.mu.Lock()
	d.cancel()
	for _, timer := range d.timers {
		timer.Stop()
	}
	clear(d.timers)
	d.mu.Unlock()
	d.wg.Wait()
	d.client.CloseIdleConnections()
}
