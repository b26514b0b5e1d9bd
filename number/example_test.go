package number_test

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caddy-websms/websms/number"
)

// A local spelling is read as each country would read it, in turn.
func ExampleParse() {
	for _, typed := range []string{"021 234 567", "0064 21 234 567", "+61 412 345 678", "09 555 1234"} {
		n, err := number.Parse(typed, []string{"NZ"})
		switch {
		case errors.Is(err, number.ErrCountry):
			fmt.Println("another country's number")
		case errors.Is(err, number.ErrInvalid):
			fmt.Println("no mobile number")
		default:
			fmt.Println(n.E164, n.Region)
		}
	}
	// Output:
	// +6421234567 NZ
	// +6421234567 NZ
	// another country's number
	// no mobile number
}

// Where several countries have the same local spelling, the first one counts.
func ExampleParse_countries() {
	for _, regions := range [][]string{{"NZ", "AU"}, {"AU", "NZ"}, {"FR", "NL"}, {"NL", "FR"}} {
		for _, typed := range []string{"021 234 567", "0412 345 678", "06 12 34 56 78"} {
			if n, err := number.Parse(typed, regions); err == nil {
				fmt.Println(regions, typed, n.E164)
			}
		}
	}
	// Output:
	// [NZ AU] 021 234 567 +6421234567
	// [NZ AU] 0412 345 678 +61412345678
	// [AU NZ] 021 234 567 +6421234567
	// [AU NZ] 0412 345 678 +61412345678
	// [FR NL] 06 12 34 56 78 +33612345678
	// [NL FR] 06 12 34 56 78 +31612345678
}

// Logs and pages show a masked number. A short number shows less.
func ExampleMask() {
	fmt.Println(number.Mask("+6421234567"))
	fmt.Println(number.Mask("+29051234"))
	fmt.Println(number.Mask("not a number"))
	// Output:
	// +64•••567
	// +290•••4
	// •••
}

// A policy serves the mobile numbers of some countries, or only those on a list.
func ExamplePolicy() {
	policy, err := number.NewPolicy([]string{"NZ", "AU"})
	if err != nil {
		fmt.Println(err)
		return
	}
	n, _ := policy.Parse("0412 345 678")
	fmt.Println(n.E164, policy.Allowed(n))

	if err := policy.Allow("021 234 567"); err != nil { // from now on, only listed numbers
		fmt.Println(err)
		return
	}
	fmt.Println(n.E164, policy.Allowed(n))
	// Output:
	// +61412345678 true
	// +61412345678 false
}

// A list has one number a line, in any spelling. The error names bad lines by
// their number and never repeats them.
func ExamplePolicy_AllowFrom() {
	policy, err := number.NewPolicy([]string{"NZ"})
	if err != nil {
		fmt.Println(err)
		return
	}
	list := "# night shift\n+6421234567\n021 234 568 # Aroha\n09 555 1234\n"
	fmt.Println(policy.AllowFrom(strings.NewReader(list)))
	fmt.Println(policy.Len(), "listed")
	// Output:
	// line 4: not a mobile number
	// 2 listed
}
