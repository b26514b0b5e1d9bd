package websms_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/websmstest"
)

// spans is an OpenTelemetry collector.
type spans struct {
	mu   sync.Mutex
	list []*trace.Span
	raw  strings.Builder
}

func collectSpans(t *testing.T) *spans {
	s := new(spans)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			zipped, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			body = zipped
		}
		data, err := io.ReadAll(body)
		var request collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(data, &request)
		}
		if err != nil {
			t.Error(err)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.raw.Write(data)
		for _, resource := range request.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				s.list = append(s.list, scope.Spans...)
			}
		}
	}))
	t.Cleanup(server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
	return s
}

// named returns the spans of a name and their results.
func (s *spans) named(name string) (found []*trace.Span, results []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, span := range s.list {
		if span.Name != name {
			continue
		}
		result := ""
		for _, a := range span.Attributes {
			if a.Key == "websms.result" {
				result = a.Value.GetStringValue()
			}
		}
		found, results = append(found, span), append(results, result)
	}
	return found, results
}

// The trace of a request shows each step at the gate. It also shows the API call, which ends after
// the request. No trace holds a number or a code.
func TestTracing(t *testing.T) {
	s := collectSpans(t)
	w := harness.Start(t, harness.Setup{Gate: harness.Plenty, Front: "tracing {\n span site\n}"})
	b := w.Browser()
	code := b.Ask("+6421000666")
	b.AnswerWith(harness.OtherCode(code))
	harness.WantStatus(t, "verify", b.AnswerWith(code), http.StatusOK)
	w.Sim.Next(websmstest.InvalidRequest())
	w.Browser().Request("+6421000667")
	want := map[string]string{
		"websms send": " ", "websms api /sms/otp": "failed sent", "websms verify": "verified wrong_code",
	}
	for name, results := range want {
		harness.Eventually(t, "the spans "+name, func() bool {
			found, got := s.named(name)
			slices.Sort(got) // two calls may end in either order
			return len(found) >= 2 && strings.Join(got, " ") == results
		})
	}
	harness.Eventually(t, "the webhook's span", func() bool { found, _ := s.named("websms webhook"); return len(found) > 0 })
	for child, parent := range map[string]string{"websms api /sms/otp": "websms send", "websms send": "site", "websms verify": "site"} {
		harness.Eventually(t, child+" under "+parent, func() bool {
			children, _ := s.named(child)
			parents, _ := s.named(parent)
			for _, c := range children {
				known := false
				for _, p := range parents {
					known = known || string(c.ParentSpanId) == string(p.SpanId) && string(c.TraceId) == string(p.TraceId)
				}
				if !known {
					return false
				}
			}
			return true
		})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, secret := range []string{"21000666", "21000667", code, "csk_demo"} {
		if strings.Contains(s.raw.String(), secret) {
			t.Error("a trace holds a number, a code or a secret")
		}
	}
}
