package telemetry

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// vocabulary is every metric of ours, and every value that its labels may have.
func vocabulary() (names, values []string) {
	described := make(chan *prometheus.Desc, 100)
	for _, c := range collectors(Sources{}) {
		c.Describe(described)
	}
	close(described)
	for d := range described {
		names = append(names, regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(d.String())[1])
	}
	values = slices.Concat([]string{"passed", "bypassed", "challenged", "ok", "failed"},
		[]string{"token", "otp", "balance", "text"}, sendResults, codeResults,
		[]string{WebhookHandled, WebhookInWork, WebhookRepeated, WebhookUnauthorized, WebhookInvalid, WebhookTooLarge,
			WebhookLate, WebhookMethod, WebhookPassedOn, WebhookNotTaken},
		[]string{TypeReply, TypeReport, TypeUnknown, TypeNone},
		[]string{"funds", "credentials", "bad_request", "throttled", "unavailable", "malformed", "timeout", "canceled"})
	return names, values
}

// docs/operations.md has every metric with every value of its labels, and
// neither it nor the dashboard nor the alerts names one that there is not.
func TestOperationsDocs(t *testing.T) {
	names, values := vocabulary()
	read := func(file string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	page := read("docs/operations.md")
	_, table, _ := strings.Cut(page, "## Metrics")
	table, _, _ = strings.Cut(table, "## Logs")
	for _, word := range append(slices.Clone(names), values...) {
		if !strings.Contains(table, "`"+word+"`") {
			t.Errorf("docs/operations.md does not have %s", word)
		}
	}
	for _, event := range []string{
		EntryRequested, EntrySent, EntryFailed, EntryVerified, EntryWrong, EntryLocked, EntryLimited, EntryNoNumber,
		EntryLoggedOut, EntryRevoked, EntryUnlocked, EntryRecovery,
		EventSent, EventFailed, EventVerified, EventReply, EventReport,
	} {
		if !strings.Contains(page, "`"+event+"`") {
			t.Errorf("docs/operations.md does not have %s", event)
		}
	}
	metricName := regexp.MustCompile(`caddy_websms_[a-z_]+`)
	matcher := regexp.MustCompile(`(?:decision|result|type|endpoint)(?:=~?|!~?=?)\\?"([^"\\]+)\\?"`)
	for _, file := range []string{"docs/operations.md", "docs/grafana.json", "docs/alerts.yml", "docs/alerts_test.yml", "README.md"} {
		text := read(file)
		for _, name := range metricName.FindAllString(text, -1) {
			plain := name
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				plain = strings.TrimSuffix(plain, suffix)
			}
			if !slices.Contains(names, plain) {
				t.Errorf("%s names the metric %s, which there is not", file, name)
			}
		}
		for _, found := range matcher.FindAllStringSubmatch(text, -1) {
			for value := range strings.SplitSeq(found[1], "|") {
				if !slices.Contains(values, value) {
					t.Errorf("%s asks for the label's value %s, which there is not", file, value)
				}
			}
		}
	}
}
