package redisstore

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/redisstore/redistest"
)

// The people and the limits of the soak. There are few numbers and tight limits, so that
// limits are reached all the time.
const (
	soakNodes    = 3
	soakPeople   = 12
	soakNumbers  = 9
	soakAttempts = 4
)

var (
	soakRates   = []otp.Rate{{Count: 6, Window: time.Second}, {Count: 20, Window: 4 * time.Second}}
	soakBudget  = []otp.Rate{{Count: 40, Window: time.Second}}
	soakLockout = otp.Lockout{Count: 4, For: 400 * time.Millisecond}
)

// TestSoak simulates people who use several nodes, while the network between the nodes and
// Redis has faults. Afterwards it compares the data in Redis with the answers that people
// got. WEBSMS_TEST_SOAK sets the time, such as 10m. WEBSMS_TEST_SEED repeats the random
// choices of an earlier run.
func TestSoak(t *testing.T) {
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		newSoak(t, redistest.Server(t)).run()
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		newSoak(t, redistest.Cluster(t).Nodes...).run()
	})
}

// soak is one run.
type soak struct {
	*testing.T
	redis   []*redistest.Redis
	nodes   []*process // each node has its own proxies
	proxies [][]*redistest.FaultProxy
	seed    uint64
	life    time.Duration
	settles sync.WaitGroup

	mu    sync.Mutex
	all   []*asked
	sent  map[otp.Digest][]time.Time // by counter: the sendings that may have gone out
	locks map[string][]lock          // by number
	tally map[string]int
}

// lock is a lock that a person was told of at the time seen.
type lock struct{ seen, until time.Time }

// asked is one challenge, and the facts that are known about it. It belongs to one person,
// except in a crowd.
type asked struct {
	*otp.Reservation
	number   string
	refused  bool // WebSMS has refused it
	replaced bool // by one that was accepted
	failed   bool // nothing was sent: Reserve returned an error
	vague    int  // steps with an unknown outcome, or that may still be taken back
	wrong    int
	right    int
	used     bool // the right code has led to the session of an earlier attempt
}

func newSoak(t *testing.T, redis ...*redistest.Redis) *soak {
	t.Helper()
	s := &soak{
		T: t, redis: redis, life: 6 * time.Second, seed: rand.Uint64(),
		sent: make(map[otp.Digest][]time.Time), locks: make(map[string][]lock), tally: make(map[string]int),
	}
	if testing.Short() {
		s.life = time.Second / 2
	}
	if text := os.Getenv("WEBSMS_TEST_SOAK"); text != "" {
		var err error
		if s.life, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	if text := os.Getenv("WEBSMS_TEST_SEED"); text != "" {
		if _, err := fmt.Sscan(text, &s.seed); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("WEBSMS_TEST_SEED=%d", s.seed)
	for range soakNodes {
		way := make(map[string]string) // by server: the proxy of this node to that server
		var addrs []string
		var proxies []*redistest.FaultProxy
		for _, r := range redis {
			proxy := redistest.Proxy(t, r.Addr())
			way[r.Addr()] = proxy.Addr()
			addrs, proxies = append(addrs, r.Addr()), append(proxies, proxy)
		}
		s.proxies = append(s.proxies, proxies)
		s.nodes = append(s.nodes, s.node(addrs, way))
	}
	return s
}

// node opens a node that reaches the servers through these proxies.
func (s *soak) node(addrs []string, way map[string]string) *process {
	option, err := provisioned(s.T, &Store{Address: addrs}).clientOption()
	if err != nil {
		s.Fatal(err)
	}
	option.DialCtxFn = func(ctx context.Context, to string, dialer *net.Dialer, _ *tls.Config) (net.Conn, error) {
		if by, ok := way[to]; ok {
			to = by
		}
		return dialer.DialContext(ctx, "tcp", to)
	}
	n := newNode(DefaultKeyPrefix+"alive", func() (rueidis.Client, error) { return rueidis.NewClient(option) }, zap.NewNop)
	p := &process{store: newStore(n, DefaultKeyPrefix)}
	s.Cleanup(n.close)
	select {
	case <-n.known:
	case <-time.After(patience):
		s.Fatal("it is never known whether Redis is there")
	}
	return p
}

// dice returns the random numbers of one goroutine.
func (s *soak) dice(who int) *rand.Rand { return rand.New(rand.NewPCG(s.seed, uint64(who))) }

func (s *soak) run() {
	over, end := context.WithTimeout(context.Background(), s.life)
	defer end()
	var people, weather sync.WaitGroup
	for i := range soakPeople {
		people.Go(func() { s.person(over, s.dice(i)) })
	}
	for i := range s.proxies {
		weather.Go(func() { s.weather(over, s.dice(1000+i), s.proxies[i]) })
	}
	people.Wait()
	weather.Wait()
	s.settles.Wait()
	for i, n := range s.nodes {
		redistest.Eventually(s.T, fmt.Sprintf("node %d has paid what it owes", i), func() error {
			n.node.mu.Lock()
			defer n.node.mu.Unlock()
			if owed := len(n.node.owed); owed > 0 || !n.node.up.Load() {
				return fmt.Errorf("it owes %d, there: %t", owed, n.node.up.Load())
			}
			return nil
		})
	}
	s.Logf("%v", s.tally)
	s.check()
}

// weather switches random faults on and off.
func (s *soak) weather(over context.Context, dice *rand.Rand, proxies []*redistest.FaultProxy) {
	wait := func(d time.Duration) {
		select {
		case <-over.Done():
		case <-time.After(d):
		}
	}
	for over.Err() == nil {
		wait(time.Duration(50+dice.IntN(400)) * time.Millisecond)
		long := time.Duration(10+dice.IntN(300)) * time.Millisecond
		during := func(fault func(*redistest.FaultProxy, bool)) {
			for _, on := range []bool{true, false} {
				for _, p := range proxies {
					fault(p, on)
				}
				if on {
					wait(long)
				}
			}
		}
		switch dice.IntN(7) {
		case 0:
			for _, p := range proxies {
				p.Reset()
			}
		case 1:
			during((*redistest.FaultProxy).HalfOpen)
		case 2:
			during((*redistest.FaultProxy).Partition)
		case 3, 4:
			during((*redistest.FaultProxy).CutReplies)
		case 5:
			during(func(p *redistest.FaultProxy, on bool) {
				if p.Latency(0); on {
					p.Latency(long)
				}
			})
		case 6:
			_, _ = s.redis[dice.IntN(len(s.redis))].Try("SCRIPT", "FLUSH") // it may fail
		}
	}
}

// at returns a random node for a step.
func (s *soak) at(dice *rand.Rand) *process { return s.nodes[dice.IntN(len(s.nodes))] }

// did notes an outcome under the lock that guards all notes.
func (s *soak) did(what string, note func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tally[what]++
	if note != nil {
		note()
	}
}

// person asks for codes, one after the other, and answers them.
func (s *soak) person(over context.Context, dice *rand.Rand) {
	var mine *asked
	for over.Err() == nil {
		switch step := dice.IntN(20); {
		case mine == nil || step < 2:
			mine = s.ask(dice, mine)
		case step < 9:
			mine = s.resend(dice, mine)
		case step < 14:
			mine = s.answer(dice, mine, wrong)
		case step < 18:
			mine = s.answer(dice, mine, mine.Proof)
		default:
			mine = s.crowd(mine)
		}
		time.Sleep(time.Duration(dice.IntN(40)) * time.Millisecond) // people are not programs
	}
}

func (s *soak) counters(number string) []otp.Counter {
	return []otp.Counter{perNumber(number, soakRates...), {Limit: "budget", Key: sha256.Sum256([]byte("budget")), Rates: soakBudget}}
}

// ask asks for a code that replaces the current one.
func (s *soak) ask(dice *rand.Rand, former *asked) *asked {
	number := fmt.Sprintf("+6421000000%d", dice.IntN(soakNumbers))
	c := &asked{Reservation: reservation(s.counters(number)...), number: number}
	c.Attempts, c.Cooldown, c.Failures = soakAttempts, 15*time.Millisecond, lockout(number, soakLockout)
	if dice.IntN(4) == 0 {
		c.TTL = 2 * time.Second
	}
	if former != nil {
		c.Replaces = former.ID
	}
	began := now()
	c.Now = began
	err := s.at(dice).Reserve(ctx, c.Reservation)
	s.judge("Reserve", number, began, err)
	s.did(outcome("Reserve", err), func() {
		s.all = append(s.all, c)
		switch {
		case err != nil:
			c.failed = true
			if former != nil && errors.Is(err, errLost) {
				former.vague++
			}
			return
		case former != nil:
			former.replaced = true
		}
		c.refused = dice.IntN(8) == 0
		s.sending(c, c.Now)
	})
	if err != nil {
		return former
	}
	s.settle(dice, c, 1, c.Now)
	if c.refused {
		return nil
	}
	return c
}

// sending notes a sending that may go out. The caller holds mu.
func (s *soak) sending(c *asked, at time.Time) {
	if c.refused {
		return
	}
	for _, counter := range c.Counters {
		s.sent[counter.Key] = append(s.sent[counter.Key], at)
	}
}

// settle tells the store the outcome of a sending, after the person got an answer.
func (s *soak) settle(dice *rand.Rand, c *asked, sending int, taken time.Time) {
	node, refused := s.at(dice), c.refused
	settlement := &otp.Settlement{
		Sending: sending, Status: otp.Accepted, MessageID: fmt.Sprint("MSG", c.ID, sending), Taken: taken, Now: now(),
	}
	if refused {
		settlement.Status, settlement.MessageID, settlement.Refused, settlement.Return = otp.Failed, "", true, c.Counters
	}
	s.settles.Go(func() {
		err := node.Settle(ctx, c.ID, settlement)
		s.did(outcome("Settle", err), nil)
		if err != nil {
			s.Errorf("Settle, while Redis was never away for ten seconds: %v", err)
		}
	})
}

func (s *soak) resend(dice *rand.Rand, c *asked) *asked {
	began := now()
	again := &otp.Renewal{Now: began, TTL: c.TTL, Cooldown: c.Cooldown, Counters: c.Counters, Failures: c.Failures}
	rec, err := s.at(dice).Resend(ctx, c.ID, again)
	s.judge("Resend", c.number, began, err)
	s.did(outcome("Resend", err), func() {
		if err == nil {
			s.sending(c, began)
		}
	})
	if err == nil {
		s.settle(dice, c, rec.Sending, began)
	}
	return s.after("Resend", c, err)
}

func (s *soak) answer(dice *rand.Rand, c *asked, proof otp.Digest) *asked {
	return s.after("Attempt", c, s.attempt(s.at(dice), c, proof, dice.IntN(2) == 0))
}

// attempt answers a challenge and notes the outcome. With again, the person uses a page.
func (s *soak) attempt(node *process, c *asked, proof otp.Digest, again bool) error {
	began := now()
	_, err := node.Attempt(ctx, c.ID, &otp.Answer{Proof: proof, Failures: c.Failures, Now: began, Again: again})
	s.judge("Attempt", c.number, began, err)
	s.did(outcome("Attempt", err), func() {
		switch {
		case err == nil && proof == wrong:
			s.Errorf("a wrong code is right")
		case err == nil:
			if c.right++; c.right > 1 {
				s.Errorf("a code is right %d times", c.right)
			}
		case errors.Is(err, otp.ErrUsed):
			if c.used = true; !again || proof == wrong {
				s.Errorf("a program, or a wrong code, is told that the code was used: %v", err)
			}
		case errors.Is(err, otp.ErrWrongCode):
			c.wrong++
			if proof != wrong {
				s.Errorf("the right code is wrong: %v", err)
			}
		case errors.Is(err, errLost):
			c.vague++
		}
	})
	return err
}

// crowd answers with the right code at all nodes at once.
func (s *soak) crowd(c *asked) *asked {
	results := make([]error, 3*len(s.nodes))
	var all sync.WaitGroup
	for i := range results {
		all.Go(func() { results[i] = s.attempt(s.nodes[i%len(s.nodes)], c, c.Proof, i%2 == 0) })
	}
	all.Wait()
	if slices.Contains(results, nil) {
		return nil
	}
	for _, err := range results {
		if c = s.after("Attempt", c, err); c == nil {
			return nil
		}
	}
	return c
}

// after returns the challenge that a person continues with.
func (s *soak) after(step string, c *asked, err error) *asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case step == "Attempt" && err == nil, errors.Is(err, otp.ErrExpired), errors.Is(err, otp.ErrTooManyAttempts):
		return nil
	case errors.Is(err, otp.ErrNoChallenge):
		// The end of the challenge may still have to be taken back.
		if c.vague == 0 && c.right == 0 && time.Since(c.Now) < c.TTL {
			s.Errorf("%s: challenge %s is gone", step, c.ID)
		}
		return nil
	}
	return c
}

// judge compares an outcome with the locks that were known when the person asked. It
// reports outcomes that are not possible.
func (s *soak) judge(step, number string, began time.Time, err error) {
	done := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	counted := err == nil || errors.Is(err, otp.ErrWrongCode)
	var limit *otp.LimitError
	var away *otp.UnavailableError
	switch {
	case errors.As(err, &limit):
		if limit.Locked() {
			s.locks[number] = append(s.locks[number], lock{done, began.Add(limit.RetryAfter)})
		}
	case counted, errors.As(err, &away), errors.Is(err, otp.ErrNoChallenge), errors.Is(err, otp.ErrExpired),
		errors.Is(err, otp.ErrTooManyAttempts):
	default:
		s.Errorf("%s: %v", step, err)
	}
	if !counted {
		return
	}
	for _, l := range s.locks[number] {
		if began.After(l.seen) && done.Before(l.until) {
			s.Errorf("%s passes a lock that has %v to go", step, l.until.Sub(done))
		}
	}
}

// outcome names the outcome of a step.
func outcome(step string, err error) string {
	var limit *otp.LimitError
	switch {
	case err == nil:
		return step + " ok"
	case errors.Is(err, otp.ErrWrongCode):
		return step + " wrong"
	case errors.As(err, &limit):
		return step + " " + limit.Limit
	case errors.Is(err, otp.ErrUsed):
		return step + " used"
	case errors.Is(err, errLost):
		return step + " lost"
	case errors.Is(err, errAway):
		return step + " away"
	}
	return step + " refused"
}
