package operator

import (
	"bytes"
	"strings"
	"testing"
)

// The status for people has the balance, and says so when it is low.
func TestStatusBalance(t *testing.T) {
	for _, c := range []struct {
		account *AccountStatus
		want    string
	}{
		{nil, "balance          not known\n"},
		{&AccountStatus{Balance: 12.34, Currency: "NZD"}, "balance          12.34 NZD, about 107 messages\n"},
		{&AccountStatus{Balance: 11.4}, "balance          LOW: 11.40, about 99 messages; top the account up at websms.co.nz\n"},
		{&AccountStatus{Balance: 1, Currency: "AUD"}, "balance          1.00 AUD\n"},
	} {
		var out bytes.Buffer
		printEngine(&out, &EngineStatus{Account: c.account, KeysReady: true})
		if !strings.Contains(out.String(), c.want) {
			t.Errorf("the status is\n%swithout %q", out.String(), c.want)
		}
	}
}
