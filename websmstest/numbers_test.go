package websmstest_test

import (
	"fmt"
	"testing"

	"github.com/nyaruka/phonenumbers/v2"
	"github.com/nyaruka/phonenumbers/v2/metadata"
	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/number"
	"github.com/caddy-websms/websms/websmstest"
)

// The client and the simulator take every number that a form accepts: the mobile numbers of every
// country, of every length.
func TestEveryNumberIsSent(t *testing.T) {
	sim := websmstest.NewServer(t, websmstest.Options{})
	client := demoClient(sim)
	t.Cleanup(client.Close)
	countries, shortest, longest := 0, 15, 7
	for region := range phonenumbers.GetSupportedRegions() {
		m, _ := metadata.RegionMetadata(region)
		numbers := map[int]string{} // by length
		for _, d := range []*phonenumbers.PhoneNumberDesc{m.GetMobile(), m.GetFixedLine()} {
			if d.GetNationalNumberPattern() == "" {
				continue
			}
			pattern := rapid.StringMatching("^(?:" + d.GetNationalNumberPattern() + ")$")
			for i := range 8 {
				n, err := number.Parse(fmt.Sprintf("+%d%s", m.GetCountryCode(), pattern.Example(i)), []string{region})
				if err == nil {
					numbers[len(n.E164)] = n.E164
				}
			}
		}
		if len(numbers) > 0 {
			countries++
		}
		for length, e164 := range numbers {
			shortest, longest = min(shortest, length-1), max(longest, length-1)
			before := len(sim.Messages())
			if _, err := client.SendOTP(t.Context(), connexus.OTP{To: e164, Company: "Acme", Code: "123456"}); err != nil {
				t.Errorf("%s: %s: %v", region, e164, err)
			} else if len(sim.Messages()) != before+1 {
				t.Errorf("%s: %s is not in the inbox", region, e164)
			}
		}
	}
	if countries < 200 || shortest != 7 {
		t.Errorf("%d countries have numbers, of %d to %d digits", countries, shortest, longest)
	}
}
