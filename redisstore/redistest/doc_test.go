package redistest_test

import (
	"runtime"
	"testing"

	"github.com/caddy-websms/websms/redisstore/redistest"
)

// outcome is a test that only records its own result.
type outcome struct {
	testing.TB
	skipped, failed bool
}

func (o *outcome) Helper() {}

func (o *outcome) Skip(...any) {
	o.skipped = true
	runtime.Goexit()
}

func (o *outcome) Fatalf(string, ...any) {
	o.failed = true
	runtime.Goexit()
}

func TestNeed(t *testing.T) {
	redistest.Need(t)
	t.Setenv("PATH", t.TempDir())
	for require, want := range map[string]outcome{
		"": {skipped: true}, "chromium": {skipped: true}, "redis": {failed: true}, "chromium,redis": {failed: true},
	} {
		t.Setenv("WEBSMS_TEST_REQUIRE", require)
		var got outcome
		done := make(chan struct{})
		go func() {
			defer close(done)
			redistest.Need(&got)
		}()
		<-done
		if got != want {
			t.Errorf("without redis-server, with %q required: %+v, want %+v", require, got, want)
		}
	}
}
