package websmstest_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/websmstest"
)

// BenchmarkSend measures sends over loopback connections, with client and simulator in
// one process.
func BenchmarkSend(b *testing.B) {
	b.Run("no webhook", func(b *testing.B) { benchmarkSend(b, websmstest.Options{}) })
	b.Run("webhook", func(b *testing.B) { benchmarkSend(b, websmstest.Options{WebhookURL: benchHook(b)}) })
}

func benchmarkSend(b *testing.B, o websmstest.Options) {
	a := open(b, o)
	body := form("msgCode", "482174").Encode()
	b.ReportAllocs()
	b.SetParallelism(16)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			req, err := http.NewRequest(http.MethodPost, a.sim.URL+"/sms/otp", strings.NewReader(body))
			if err != nil {
				b.Error(err)
				return
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("Authorization", "Bearer "+a.token)
			resp, err := a.client.Do(req)
			if err != nil {
				b.Error(err)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				b.Errorf("status %d", resp.StatusCode)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sends/s")
	if got := a.sim.Counts(); got.Accepted < b.N {
		b.Errorf("%d accepted of %d", got.Accepted, b.N)
	} else if o.WebhookURL != "" {
		b.ReportMetric(float64(got.Dropped)/float64(b.N), "dropped/send")
	}
}

// benchHook returns the URL of a webhook that accepts every event.
func benchHook(b *testing.B) string {
	h := newHook(b)
	h.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
	})
	return h.URL
}

// BenchmarkInboxPage measures the page with 1000 messages, which is the maximum.
func BenchmarkInboxPage(b *testing.B) {
	a := open(b, websmstest.Options{})
	for range 1000 {
		if r, err := a.post("/sms/otp", form("msgComment", "Valid for 5 minutes.")); err != nil || r.status != 200 {
			b.Fatal(r, err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if r := a.inbox("GET", "", nil); strings.Count(r.body, `class="otp"`) != 1000 {
			b.Fatal("not all messages are on the page")
		}
	}
}
