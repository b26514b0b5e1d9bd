package number

import (
	"regexp/syntax"
	"slices"

	"github.com/nyaruka/phonenumbers/v2"
	"github.com/nyaruka/phonenumbers/v2/metadata"
)

// numberingPlan returns the library's metadata for a region of a calling code, nil
// if there is none. Calling codes of no country, such as 881 for satellites, have
// the region "001".
func numberingPlan(code int, region string) *phonenumbers.PhoneMetadata {
	if region == "001" {
		m, _ := metadata.NonGeoMetadata(code)
		return m
	}
	m, _ := metadata.RegionMetadata(region)
	return m
}

// An automaton runs many regular expressions over the same digits at once. It
// holds the instructions that the standard library compiles them to.
type automaton struct {
	code   []instruction
	starts []thread
	broken bool // by a pattern that is more than digits

	mark    []uint32 // for each instruction, the last generation that has it
	current uint32   // the generation: one for each step
	list    []thread // of the current generation
}

type instruction struct {
	syntax.Inst         // Out and, for alternatives, Arg count from the automaton's start
	purpose     purpose // of its pattern
}

// A thread is one position in one of the patterns: the index of an instruction
// that waits for a digit, or of one that says that its pattern has matched.
type thread uint16

// purpose says how the library uses a pattern.
type purpose byte

const (
	whole purpose = iota // it must match the whole number
	begin                // it must match how the number begins
	strip                // how the number begins, if it matches, is removed
)

func newAutomaton() *automaton { return new(automaton) }

// add adds a pattern, as the library writes it. An empty one matches no number.
func (a *automaton) add(pattern string, why purpose) {
	if pattern == "" {
		return
	}
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		a.broken = true
		return
	}
	compiled, err := syntax.Compile(re.Simplify())
	if err != nil || len(a.code)+len(compiled.Inst) > 1<<16 {
		a.broken = true
		return
	}
	base := uint32(len(a.code))
	for _, inst := range compiled.Inst {
		inst.Out += base
		switch inst.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			inst.Arg += base
		case syntax.InstEmptyWidth:
			a.broken = a.broken || why != strip
		}
		a.code = append(a.code, instruction{inst, why})
	}
	a.starts = append(a.starts, thread(base+uint32(compiled.Start)))
}

// start returns the threads before the first digit. It reports whether the national
// prefix may be empty, and whether every pattern is one for an automaton.
func (a *automaton) start() (threads []thread, stripped, ok bool) {
	if a.broken {
		return nil, false, false
	}
	a.mark = make([]uint32, len(a.code))
	a.next()
	for _, s := range a.starts {
		stripped = a.follow(s) || stripped
	}
	return a.sorted(), stripped, true
}

// step returns where threads stand behind one more digit, and whether they now
// match the national prefix. The result is valid until the next call.
func (a *automaton) step(threads []thread, digit byte) (after []thread, stripped bool) {
	a.next()
	for _, t := range threads {
		in := &a.code[t]
		if in.Op == syntax.InstMatch {
			if in.purpose == begin { // the beginning has matched, and stays so
				stripped = a.follow(t) || stripped
			}
			continue
		}
		if in.MatchRune(rune('0' + digit)) {
			stripped = a.follow(thread(in.Out)) || stripped
		}
	}
	return a.sorted(), stripped
}

// follow adds t to the current generation, or the threads that it leads to without
// a digit. It reports whether one of them matches the national prefix.
func (a *automaton) follow(t thread) (stripped bool) {
	if a.mark[t] == a.current {
		return false
	}
	a.mark[t] = a.current
	switch in := &a.code[t]; in.Op {
	case syntax.InstAlt, syntax.InstAltMatch:
		left, right := a.follow(thread(in.Out)), a.follow(thread(in.Arg))
		return left || right
	case syntax.InstCapture, syntax.InstNop:
		return a.follow(thread(in.Out))
	case syntax.InstMatch:
		a.list = append(a.list, t)
		return in.purpose == strip
	case syntax.InstEmptyWidth: // "$" in a national prefix: taken as if the number ended here
		return true
	case syntax.InstFail:
		return false
	default: // it waits for a digit
		a.list = append(a.list, t)
		return false
	}
}

func (a *automaton) next() {
	a.current++
	a.list = a.list[:0]
}

// sorted puts the threads in order, so that equal sets have equal keys.
func (a *automaton) sorted() []thread {
	slices.Sort(a.list)
	return a.list
}
