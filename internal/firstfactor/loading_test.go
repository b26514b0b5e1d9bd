package firstfactor

import (
	"fmt"
	"sync"
	"testing"

	"github.com/caddy-websms/websms/number"
)

// Each call gets the result of Policy.Parse, from several goroutines and after Done.
func TestLoadingParsesAsThePolicyDoes(t *testing.T) {
	policy, err := number.NewPolicy([]string{"NZ", "AU"})
	if err != nil {
		t.Fatal(err)
	}
	spellings := []string{"021 234 567", "0412 345 678", "+12015550123", "+6495551234", "", "x"}
	for i := range 40 {
		spellings = append(spellings, fmt.Sprintf("+6421%06d", i*24_999), fmt.Sprintf("+614%08d", i*2_499_999))
	}
	loading := NewLoading(policy)
	check := func() {
		for _, s := range spellings {
			got, err := loading.Parse(s)
			if want, wanted := policy.Parse(s); got != want || err != wanted {
				t.Errorf("%q is %v, %v; want %v, %v", s, got, err, want, wanted)
			}
		}
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(check)
	}
	loading.Done()
	all.Wait()
	loading = NewLoading(policy)
	check()
	loading.Done()
	check()
}
