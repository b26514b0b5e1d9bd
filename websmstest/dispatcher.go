package websmstest

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

const (
	maxPosts   = 32768 // posts that are waiting or running
	maxWorkers = 16    // posts that run at once
)

// errTooMany refuses a post if there are maxPosts.
var errTooMany = errors.New("too many webhook posts are under way")

// post is one event on its way to a webhook.
type post struct {
	sim     *Simulator // the simulator that has the webhook
	msg     *message
	event   []byte     // made from steps[0] when the post is first due
	steps   []step     // this report and those that follow it
	retries int        // so far
	result  chan error // buffered; gets the outcome, if it is not nil
}

// dispatcher makes posts in the background, each when it is due.
type dispatcher struct {
	client *http.Client
	ctx    context.Context // ends when the dispatcher is closed
	cancel context.CancelFunc
	wg     sync.WaitGroup

	// due holds the posts that are due. It has room for maxPosts, so that a send
	// to it never blocks.
	due chan *post

	mu     sync.Mutex
	live   int // posts that are waiting or running
	timers map[*post]*time.Timer
}

func newDispatcher() *dispatcher {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = maxWorkers
	ctx, cancel := context.WithCancel(context.Background())
	d := &dispatcher{
		client: &http.Client{
			Transport: transport,
			// A redirect counts as an answer other than 200.
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

// start accepts a post that is due after a delay, or returns errTooMany.
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

// putAfter makes an accepted post due after a delay.
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

// do makes a post that is due. After the first try, it schedules the next report of
// the message. That one does not wait for the retries of this post.
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

// close gives up all posts and waits until the workers have ended.
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
