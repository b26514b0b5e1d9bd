package websms_test

import (
	"os/exec"
	"testing"
)

// Each alert rule fires in its own case and in no other. Prometheus' own tool checks this.
func TestAlertRules(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed: it comes with Prometheus")
	}
	for _, args := range [][]string{{"check", "rules", "docs/alerts.yml"}, {"test", "rules", "docs/alerts_test.yml"}} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}
