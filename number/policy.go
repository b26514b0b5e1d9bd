package number

import (
	"fmt"
	"slices"
	"strings"
)

// Policy says which numbers a gate serves: all mobile numbers of some countries,
// or only those on a list. Make one with NewPolicy; the zero Policy serves none.
//
// A Policy may be read by many goroutines at once, but not while Restrict, Allow
// or AllowFrom runs.
type Policy struct {
	regions []string
	allowed map[string]struct{} // nil: every number of regions
}

// NewPolicy returns a policy for the mobile numbers of regions. These are ISO
// 3166-1 codes in any case, in order of preference, and at least one. The error
// names the first code that is not a country.
func NewPolicy(regions []string) (*Policy, error) {
	if len(regions) == 0 {
		return nil, fmt.Errorf("no country given; name at least one ISO code, such as NZ")
	}
	p := new(Policy)
	for _, r := range regions {
		code := strings.ToUpper(r)
		if !KnownRegion(code) {
			return nil, fmt.Errorf("%q is not a country; give its two-letter ISO 3166 code, such as NZ", r)
		}
		p.regions = append(p.regions, code)
	}
	return p, nil
}

// Restrict limits the policy to listed numbers, also if none is listed yet.
func (p *Policy) Restrict() {
	if p.allowed == nil {
		p.allowed = make(map[string]struct{})
	}
}

// Restricted reports whether only listed numbers are served.
func (p *Policy) Restricted() bool { return p.allowed != nil }

// Len returns how many numbers are listed.
func (p *Policy) Len() int { return len(p.allowed) }

// Allow lists a number, in any spelling that Parse reads, and restricts the policy
// to listed numbers. The error is ErrInvalid or ErrCountry; then nothing changes.
func (p *Policy) Allow(input string) error {
	n, err := Parse(input, p.regions)
	if err != nil {
		return err
	}
	p.Restrict()
	p.allowed[n.E164] = struct{}{}
	return nil
}

// Parse reads input as a number of the policy's countries. The error is ErrInvalid
// or ErrCountry. Parse does not look at the list: see Allowed.
func (p *Policy) Parse(input string) (Number, error) { return Parse(input, p.regions) }

// Allowed reports whether n is served: its country is, and it is on the list if
// there is one.
func (p *Policy) Allowed(n Number) bool {
	served := slices.Contains(p.regions, n.Region)
	if !served || p.allowed == nil {
		return served
	}
	_, listed := p.allowed[n.E164]
	return listed
}

// Example returns a number of the first country in its local spelling.
func (p *Policy) Example() string { return Example(p.regions[0]) }
