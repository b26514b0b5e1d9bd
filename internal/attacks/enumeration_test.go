package attacks_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/websmstest"
)

// shift returns the Hodges–Lehmann estimate of the time by which the second sample is later: the
// median of all differences. Outliers do not move it.
func shift(a, b []time.Duration) time.Duration {
	differences := make([]time.Duration, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			differences = append(differences, y-x)
		}
	}
	return median(differences)
}

// mannWhitney returns the rank sum of the second sample as a number of standard deviations from its
// expected value for two samples of one distribution (Mann and Whitney, 1947; ties share their
// ranks).
func mannWhitney(a, b []time.Duration) float64 {
	all := slices.Concat(a, b)
	slices.Sort(all)
	rank := func(x time.Duration) float64 {
		first, _ := slices.BinarySearch(all, x)
		behind, _ := slices.BinarySearch(all, x+1)
		return float64(first+behind+1) / 2
	}
	sum, n, m := 0.0, float64(len(a)), float64(len(b))
	for _, x := range b {
		sum += rank(x)
	}
	return (sum - m*(n+m+1)/2) / math.Sqrt(n*m*(n+m+1)/12)
}

// steps are the steps of one visitor.
var steps = []string{"send", "status", "the code page", "a wrong code", "status behind it"}

// sendingTime is the time that WebSMS takes. No visitor sees it.
const sendingTime = 300 * time.Millisecond

// visitTimes has visitors ask for listed and for unlisted numbers, in random order. It returns the
// time of each step for both kinds. No two answers may differ.
func visitTimes(w *harness.World, t *testing.T, numbers [2][]string) (took [2]map[string][]time.Duration) {
	took = [2]map[string][]time.Duration{make(map[string][]time.Duration), make(map[string][]time.Duration)}
	b := w.Browser()
	b.Client.Jar = nil
	shown := make(map[string]string) // by step: the answer that every visitor sees
	var order []int
	for who := range numbers {
		order = append(order, slices.Repeat([]int{who}, len(numbers[who]))...)
	}
	rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	var next [2]int
	for _, who := range order {
		number := numbers[who][next[who]]
		next[who]++
		cookie, asked := http.Header{}, time.Now()
		for _, step := range steps {
			begun := time.Now()
			var a harness.Answer
			switch step {
			case "send":
				a = b.Post("/.websms/send", []string{"phone", number}, harness.API)
			case "a wrong code":
				a = b.AnswerWith("000000", cookie)
			case "the code page":
				a = b.Get("/.websms/verify", harness.Page, cookie)
			default:
				a = b.Get("/.websms/status", harness.API, cookie)
			}
			took[who][step] = append(took[who][step], time.Since(begun))
			if c := a.SetCookie("websms_session_challenge"); c != nil {
				cookie.Set("Cookie", c.Name+"="+c.Value)
			}
			if time.Since(asked) > sendingTime/2 {
				continue // the machine stood still, and the message may be on its way
			}
			if first, known := shown[step]; !known {
				shown[step] = seenBy(a)
			} else if seen := seenBy(a); seen != first {
				t.Fatalf("%s: one sees\n%s\nanother\n%s", step, first, seen)
			}
		}
	}
	return took
}

// apart is the largest allowed distance of two samples, in standard deviations. In random order,
// two samples of one distribution are farther apart once in 16,000 times, with any noise. With a
// second try for each of 5 steps that is once in 10^7.
const apart = 4

// 200 asks for a listed number and 200 for an unlisted one do not differ: not in the status, the
// header, the body or its size, and not in the time of the ask or of any later step, such as a
// wrong code.
func TestEnumeration(t *testing.T) {
	harness.UseClock(t) // it stands still, so that answers of other moments are the same
	const visitors, warm = 200, 20
	var numbers [2][]string
	for i := range visitors + 2*warm { // alike when they are masked
		numbers[0] = append(numbers[0], fmt.Sprintf("+6421%04d567", 2000+2*i))
		numbers[1] = append(numbers[1], fmt.Sprintf("+6421%04d567", 2001+2*i))
	}
	list := filepath.Join(t.TempDir(), "list")
	harness.WriteFile(t, list, strings.Join(numbers[0], "\n"))
	w := harness.Start(t, harness.Setup{
		Gate: "numbers {\n allow_file " + list + "\n}\n" + harness.Plenty,
		API:  websmstest.Options{Latency: sendingTime},
	})
	w.Sim.SetWebhook("", "") // its posts would be more work in this process
	sent := func(n int) {
		t.Helper()
		harness.Eventually(t, "all messages have gone out", func() bool { return w.Sim.Counts().Accepted == n })
	}
	visitTimes(w, t, [2][]string{numbers[0][visitors:], numbers[1][visitors:]})
	rounds := 0
	for try := range 2 {
		var took [2]map[string][]time.Duration
		for more := range maxRounds { // on a busy machine a few rounds are not enough
			round := visitTimes(w, t, [2][]string{numbers[0][:visitors], numbers[1][:visitors]})
			rounds++
			sent(2*warm + rounds*visitors)
			if more == 0 {
				took = round
			} else {
				for who := range took {
					for step, times := range round[who] {
						took[who][step] = append(took[who][step], times...)
					}
				}
			}
			if !slices.ContainsFunc(steps, func(step string) bool { return !tells(took[0][step], took[1][step]) }) {
				break
			}
		}
		differs := false
		for _, step := range steps {
			in, out := took[0][step], took[1][step]
			z := mannWhitney(in, out)
			t.Logf("%s: median %s on the list, %s off it; %+.1f standard deviations", step, median(slices.Clone(in)), median(slices.Clone(out)), z)
			if !tells(in, out) {
				t.Errorf("%s: a millisecond more or less does not show in %d asks: the test tests nothing", step, len(in))
			}
			if differs = differs || math.Abs(z) > apart; math.Abs(z) > apart && try > 0 {
				t.Errorf("%s: off the list it takes %s more, which is %+.1f standard deviations", step, shift(in, out), z)
			}
		}
		if !differs {
			break
		}
	}
	for _, m := range w.Sim.Messages() {
		if slices.Contains(numbers[1], "+"+m.To) {
			t.Fatal("a message went to a number off the list")
		}
	}
	w.WantNoSecrets()
}

// maxRounds bounds the number of rounds that are evaluated together.
const maxRounds = 6

// tells reports whether a difference of a millisecond would show.
func tells(in, out []time.Duration) bool {
	return mannWhitney(in, delayed(out, time.Millisecond)) >= apart && mannWhitney(in, delayed(out, -time.Millisecond)) <= -apart
}

func delayed(list []time.Duration, by time.Duration) []time.Duration {
	list = slices.Clone(list)
	for i := range list {
		list[i] += by
	}
	return list
}

// The statistics give the results of textbook examples.
func TestRankStatistics(t *testing.T) {
	ms := func(list ...time.Duration) []time.Duration {
		for i := range list {
			list[i] *= time.Millisecond
		}
		return list
	}
	for _, c := range []struct {
		a, b  []time.Duration
		z     float64
		shift time.Duration
	}{
		{ms(1, 2, 3), ms(4, 5, 6), 1.964, 3 * time.Millisecond},
		{ms(4, 5, 6), ms(1, 2, 3), -1.964, -3 * time.Millisecond},
		{ms(1, 1), ms(1, 1), 0, 0},
		{ms(1, 4), ms(2, 3), 0, time.Millisecond}, // of an even number, the upper of the two in the middle
		{ms(1, 2, 2), ms(2, 3, 9), 1.528, time.Millisecond},
		{ms(1, 2, 1000), ms(11, 12, 13), 0.655, 10 * time.Millisecond},
	} {
		if z := mannWhitney(c.a, c.b); math.Abs(z-c.z) > 0.001 {
			t.Errorf("of %v and %v the rank sum is %.3f standard deviations off; want %.3f", c.a, c.b, z, c.z)
		}
		if got := shift(c.a, c.b); got != c.shift {
			t.Errorf("%v is later than %v by %s; want %s", c.b, c.a, got, c.shift)
		}
	}
}
