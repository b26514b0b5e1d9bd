package number

import (
	"slices"

	"github.com/nyaruka/phonenumbers/v2"
)

// Parser parses many numbers for one policy, such as the lines of a list. Its
// results are those of Policy.Parse, for every input. It is faster for numbers in
// E.164: less than 0.1 µs each where Policy.Parse takes 10 µs. Other spellings take
// as long as with Policy.Parse, and so do all numbers of Argentina.
//
// A Parser grows with the countries of the numbers it has read: to 70 kB for New
// Zealand, 1 MB for North America, and 20 MB at most. Drop it with the list. It must
// not be used by two goroutines at once. Policy.Parser makes one.
type Parser struct {
	regions []string
	plans   map[int]*plan // by calling code; nil where a plan cannot be built
	states  int           // of all plans together
}

// maxStates bounds the memory of a Parser. A state takes 400 bytes. All numbers of
// New Zealand have 189 states, those of North America 1,400 and those of all
// countries together 25,500, by the metadata of phonenumbers v2.0.7.
const maxStates = 50_000

// Parser returns a parser for the countries of p, for one goroutine.
func (p *Policy) Parser() *Parser {
	return &Parser{regions: p.regions, plans: make(map[int]*plan)}
}

// Parse returns the result of Policy.Parse for input: a number, ErrInvalid or
// ErrCountry.
func (p *Parser) Parse(input string) (Number, error) {
	if s := p.state(input); s != nil {
		return p.judge(s, input)
	}
	return Parse(input, p.regions)
}

// judge returns the verdict of s, which holds for every number that ends in s. The
// first such number is read by Parse, and its result becomes the verdict.
func (p *Parser) judge(s *state, input string) (Number, error) {
	switch {
	case s.verdict == accepted:
		return Number{E164: input, Region: s.region}, nil
	case repeated(input[1:]) != "": // Parse may take the calling code once, and then the digits behind it count
		return Parse(input, p.regions)
	case s.verdict == refused:
		return Number{}, s.err
	}
	n, err := Parse(input, p.regions)
	if err != nil {
		s.verdict, s.err = refused, err
	} else if n.E164 == input {
		s.verdict, s.region = accepted, n.Region
	}
	return n, err
}

// state returns the state that an E.164 number ends in. It returns nil where Parse
// has to read the input: another spelling, a calling code without a plan, a number
// that begins with its country's national prefix, or a Parser that is full.
func (p *Parser) state(input string) *state {
	if len(input) < 1+minDigits || len(input) > 1+maxNational || input[0] != '+' {
		return nil
	}
	for i := 1; i < len(input); i++ {
		if input[i] < '0' || input[i] > '9' {
			return nil
		}
	}
	pl, national := p.plan(input[1:])
	if pl == nil {
		return nil
	}
	at := int32(0)
	for i := range len(national) {
		digit := national[i] - '0'
		next := pl.states[at].next[digit]
		if next == 0 {
			if p.states >= maxStates {
				return nil
			}
			before := len(pl.states)
			next = pl.step(at, digit)
			p.states += len(pl.states) - before
		}
		if next == prefixed {
			return nil
		}
		at = next
	}
	return &pl.states[at]
}

// plan returns the plan of the calling code that digits begin with, and the digits
// behind it. No calling code begins with another one.
func (p *Parser) plan(digits string) (*plan, string) {
	if digits[0] == '0' {
		return nil, "" // as in "+0064": Parse takes the digits behind "+00" as dialled
	}
	code := 0
	for i := range 3 {
		code = code*10 + int(digits[i]-'0')
		pl, known := p.plans[code]
		if !known {
			regions := phonenumbers.GetRegionCodesForCountryCode(code)
			if len(regions) == 0 {
				continue
			}
			pl = newPlan(code, regions)
			p.plans[code] = pl
		}
		return pl, digits[i+1:]
	}
	return nil, ""
}

// A plan is the numbering plan of one calling code, as an automaton that reads the
// digits behind the code. Two numbers that end in the same state have the same
// length, and match the same patterns of the library's metadata. The library
// decides on nothing else whether a number in E.164 is a mobile number, and of
// which region, as long as it removes no national prefix. So the library's verdict
// on one number of a state holds for all of them.
//
// States are built when a number first needs them: the automaton of a whole country
// would be larger than most lists.
type plan struct {
	automaton *automaton
	states    []state          // the first one is the start
	index     map[string]int32 // the states by their key
}

type state struct {
	next    [10]int32 // by digit: a state, 0 for one that is not built yet, or prefixed
	threads []thread  // where the patterns stand
	digits  byte      // read so far
	verdict verdict
	region  string // if accepted
	err     error  // if refused
}

// prefixed stands for a number that begins with its country's national prefix,
// such as +64 (0)21. The library removes the prefix, so its verdict is on other
// digits than those read. Parse reads such a number.
const prefixed = -1

type verdict byte

const (
	unknown  verdict = iota // until Parse has read a number of this state
	accepted                // the number as it stands
	refused
)

// newPlan returns the plan of a calling code that regions share, or nil where the
// library's patterns are not plain enough for an automaton.
func newPlan(code int, regions []string) *plan {
	a := newAutomaton()
	for i, region := range regions {
		m := numberingPlan(code, region)
		if m == nil {
			return nil
		}
		if i == 0 { // the library strips the prefix of the first region, in all of them
			a.add(m.GetNationalPrefixForParsing(), strip)
		}
		a.add(m.GetLeadingDigits(), begin)
		for _, d := range []*phonenumbers.PhoneNumberDesc{
			m.GetGeneralDesc(), m.GetFixedLine(), m.GetMobile(), m.GetTollFree(), m.GetPremiumRate(), m.GetSharedCost(),
			m.GetPersonalNumber(), m.GetVoip(), m.GetPager(), m.GetUan(), m.GetVoicemail(),
		} {
			a.add(d.GetNationalNumberPattern(), whole)
		}
	}
	threads, stripped, ok := a.start()
	if !ok || stripped {
		return nil
	}
	return &plan{automaton: a, states: []state{{threads: slices.Clone(threads)}}, index: make(map[string]int32)}
}

// step adds the transition from a state by a digit, and returns its end.
func (pl *plan) step(from int32, digit byte) int32 {
	threads, stripped := pl.automaton.step(pl.states[from].threads, digit)
	next := int32(prefixed)
	if !stripped {
		next = pl.find(threads, pl.states[from].digits+1)
	}
	pl.states[from].next[digit] = next
	return next
}

// find returns the state with these threads and as many digits, which it adds if
// there is none. The length is part of the key because the library compares it
// with the lengths of each kind of number.
func (pl *plan) find(threads []thread, digits byte) int32 {
	key := make([]byte, 0, 1+2*len(threads))
	key = append(key, digits)
	for _, t := range threads {
		key = append(key, byte(t), byte(t>>8))
	}
	if found, ok := pl.index[string(key)]; ok {
		return found
	}
	at := int32(len(pl.states))
	pl.states = append(pl.states, state{threads: slices.Clone(threads), digits: digits})
	pl.index[string(key)] = at
	return at
}
