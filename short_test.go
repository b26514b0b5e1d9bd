package websms

import (
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Second: "1s", 90 * time.Second: "1m30s", 10 * time.Minute: "10m", time.Hour: "1h", 12 * time.Hour: "12h",
		time.Hour + time.Second: "1h0m1s", 90 * time.Minute: "1h30m", 100 * time.Hour: "100h", 20 * time.Minute: "20m",
		1500 * time.Millisecond: "1.5s",
	} {
		if got := short(d); got != want {
			t.Errorf("short(%v) = %q, want %q", d, got, want)
		}
		if back, err := caddy.ParseDuration(short(d)); err != nil || back != d {
			t.Errorf("%q reads as %v, %v", short(d), back, err)
		}
	}
}
