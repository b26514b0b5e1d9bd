package connexus_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/caddy-websms/websms/connexus"
)

func BenchmarkParseEvent(b *testing.B) {
	for name, body := range map[string]string{
		"mo":  `{"type":"mo","messageId":"MO456","from":"+6421234567","to":"shortcode","body":"Reply text","timestamp":1234567890}`,
		"dlr": `{"type":"dlr","messageId":"MSG123","status":"DELIVRD","statusCode":1,"timestamp":1234567890}`,
	} {
		b.Run(name, func(b *testing.B) {
			data := []byte(body)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := connexus.ParseEvent(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSendOTP sends over kept loopback connections. To show the share of the
// client itself, it also sends through a transport that answers at once.
func BenchmarkSendOTP(b *testing.B) {
	b.Run("loopback", func(b *testing.B) {
		a := newAPI(b, nil, nil)
		c := a.client(b)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) { sendUntilDone(b, c, pb.Next) })
	})
	b.Run("client alone", func(b *testing.B) {
		c := newClient(b, hasToken, withTransport(transport(func(r *http.Request) (*http.Response, error) {
			return success(r)
		})))
		b.ReportAllocs()
		sendUntilDone(b, c, b.Loop)
	})
}

func sendUntilDone(b *testing.B, c *connexus.Client, next func() bool) {
	for next() {
		if _, err := c.SendOTP(context.Background(), testOTP); err != nil {
			b.Error(err)
			return
		}
	}
}
