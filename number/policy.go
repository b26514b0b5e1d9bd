package number

import (
	"fmt"
	"slices"
	"strings"
)

// Policy says which numbers a gate serves. The zero Policy serves none.
type Policy struct {
	regions []string
	allowed map[string]struct{} // nil: every number of regions
}

// NewPolicy returns a policy for the mobile numbers of regions (ISO codes; at
// least one). The error names the first code that is not a country.
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

// Restrict limits the policy to numbers added with Allow, from now on.
func (p *Policy) Restrict() {
	if p.allowed == nil {
		p.allowed = make(map[string]struct{})
	}
}

// Restricted reports whether only listed numbers are served.
func (p *Policy) Restricted() bool { return p.allowed != nil }

// Len returns how many numbers are listed.
func (p *Policy) Len() int { return len(p.allowed) }

// Allow lists a number, in any spelling that Parse understands, and restricts
// the policy to listed numbers. The error does not repeat the number.
func (p *Policy) Allow(input string) error {
	n, err := Parse(input, p.regions)
	if err != nil {
		return err
	}
	p.Restrict()
	p.allowed[n.E164] = struct{}{}
	return nil
}

// Parse understands input as a number of the policy's countries. It returns
// ErrInvalid or ErrCountry, and says nothing of the list.
func (p *Policy) Parse(input string) (Number, error) { return Parse(input, p.regions) }

// Allowed reports whether n is served: of a country served, and listed where
// there is a list.
func (p *Policy) Allowed(n Number) bool {
	served := slices.Contains(p.regions, n.Region)
	if !served || p.allowed == nil {
		return served
	}
	_, listed := p.allowed[n.E164]
	return listed
}

// Example returns a number as the first country's people write it.
func (p *Policy) Example() string { return Example(p.regions[0]) }
