package memorystore

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/session"
)

// killedDir tells the process that TestKilled starts where its file is.
const killedDir = "WEBSMS_TEST_KILLED_DIR"

// TestKilled counts in a process of its own, and kills it. The file has
// everything that the process had counted a second before.
func TestKilled(t *testing.T) {
	if dir := os.Getenv(killedDir); dir != "" {
		countForEver(dir)
	}
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestKilled$")
	child.Env = append(os.Environ(), killedDir+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	counted := 0
	type count struct {
		n  int
		at time.Time
	}
	var counts []count
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if _, err := fmt.Sscanf(lines.Text(), "counted %d", &counted); err != nil {
			continue
		}
		counts = append(counts, count{counted, time.Now()})
		if time.Since(counts[0].at) > 2*time.Second {
			break
		}
	}
	if err := child.Process.Kill(); err != nil { // SIGKILL
		t.Fatal(err)
	}
	killed := time.Now()
	for lines.Scan() {
	}
	if err := child.Wait(); err == nil || ctx.Err() != nil {
		t.Fatalf("the process ended by itself: %v, %v", err, ctx.Err())
	}
	want := 0
	for _, c := range counts {
		if killed.Sub(c.at) >= time.Second {
			want = c.n
		}
	}
	if want == 0 {
		t.Fatalf("nothing was counted a second before the end; %d in all", counted)
	}
	s := openSaved(t, dir, storeEpoch)
	s.wantLog()
	got := s.counted(1)
	failures := s.failures.get(testFailures(1, 0).Number)
	t.Logf("%d counted a second before the end, %d in all, %d in the file", want, counted, got)
	if got < want {
		t.Errorf("%d sendings are counted, want %d at least", got, want)
	}
	if failures == nil || int(failures.strangers.count) < want {
		t.Errorf("the wrong codes are %v, want %d at least", failures, want)
	}
}

// countForEver counts sendings and wrong codes, and says so each time.
func countForEver(dir string) {
	store, err := newMemory(100)
	if err != nil {
		panic(err)
	}
	store.dir = dir
	for n := 1; ; n++ {
		r := testReservation(storeEpoch, testCounter(1, otp.Rate{Count: 100_000, Window: time.Hour}))
		if err := store.Reserve(ctxBg, r); err != nil {
			panic(err)
		}
		run := testFailures(1, 0)
		run.Lockout = otp.Lockout{}
		store.Attempt(ctxBg, r.ID, &otp.Answer{Failures: run, Now: storeEpoch})
		store.Attempt(ctxBg, r.ID, &otp.Answer{Proof: r.Proof, Now: storeEpoch})
		fmt.Printf("counted %d\n", n)
		time.Sleep(2 * time.Millisecond) // paced, as people are
	}
}

// sentCodes is an otp.Sender that sends nothing, and keeps the messages.
type sentCodes struct {
	mu   sync.Mutex
	list []connexus.OTP
}

func (s *sentCodes) SendOTP(_ context.Context, m connexus.OTP) (connexus.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, m)
	return connexus.Receipt{MessageID: fmt.Sprint("MSG", len(s.list)), Code: m.Code}, nil
}

// TestFileSecrets looks through every byte of the file of a busy store,
// before and after it is closed.
func TestFileSecrets(t *testing.T) {
	dir := t.TempDir()
	ring, err := session.NewRing(session.NewKeys(time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	s := openSaved(t, dir, time.Now())
	sent := new(sentCodes)
	engine := otp.NewEngine(otp.Config{Store: s.memory, Sender: sent, Ring: ring})
	policy := otp.Policy{
		Scope: "app.example.com", Length: 8, TTL: 5 * time.Minute, Attempts: 5, Company: "Example",
		PerNumber: []otp.Rate{{Count: 9, Window: time.Hour}}, PerIP: []otp.Rate{{Count: 900, Window: time.Hour}},
		Budget: []otp.Rate{{Count: 900, Window: time.Hour}}, Lockout: otp.Lockout{Count: 5, For: time.Hour, Max: 100},
	}
	var secrets []string
	for i := range 60 {
		number := fmt.Sprintf("+64215550%02d", i)
		c, err := engine.Issue(ctxBg, &policy, otp.Sending{Number: number, IP: "203.0.113.77"}, otp.ID{})
		if err != nil {
			t.Fatal(err)
		}
		engine.Verify(ctxBg, &policy, otp.Verification{ID: c.ID, Code: "13572468", Number: number, Device: "device-of-mine"})
		engine.Verify(ctxBg, &policy, otp.Verification{ID: c.ID, Code: "13572468", Number: number})
		engine.First(ctxBg, time.Hour, "seen", number)
		secrets = append(secrets, number, number[1:])
	}
	engine.Close(ctxBg)
	for _, m := range sent.list {
		secrets = append(secrets, m.Code)
	}
	secrets = append(secrets, "203.0.113.77", "app.example.com", "device-of-mine", "13572468")
	s.flush()
	look := func(when string) {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, "memory.db"))
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range secrets {
			if bytes.Contains(data, []byte(secret)) {
				t.Errorf("%s, the file holds %q", when, secret)
			}
		}
		if !bytes.Contains(data, bucketCounters) {
			t.Errorf("%s, this is not the file", when)
		}
	}
	look("open")
	path := s.file.path
	s.close()
	look("closed")
	for name, want := range map[string]os.FileMode{path: 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	s = openSaved(t, dir, time.Now())
	if n, _ := s.Live(ctxBg, time.Now()); n != 60 || len(s.failures.places) != 60 || !strings.HasPrefix(sent.list[0].To, "+") {
		t.Errorf("%d are live, with the failures of %d numbers, want 60 of each", n, len(s.failures.places))
	}
}
