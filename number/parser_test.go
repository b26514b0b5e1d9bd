package number

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nyaruka/phonenumbers/v2"
	"pgregory.net/rapid"
)

// everywhere returns the codes of all countries.
func everywhere() []string {
	var regions []string
	for region := range phonenumbers.GetSupportedRegions() {
		regions = append(regions, region)
	}
	slices.Sort(regions)
	return regions
}

// compare returns a function that fails t where a parser for regions reads an
// input in another way than Parse.
func compare(tb testing.TB, regions []string) func(t interface{ Errorf(string, ...any) }, input string) {
	policy, err := NewPolicy(regions)
	if err != nil {
		tb.Fatal(err)
	}
	parser := policy.Parser()
	return func(t interface{ Errorf(string, ...any) }, input string) {
		want, wantErr := Parse(input, regions)
		for range 2 { // the second time it knows the verdict
			if n, err := parser.Parse(input); n != want || !errors.Is(err, wantErr) {
				t.Errorf("%d countries: the parser reads %q as %v, %v; Parse as %v, %v", len(regions), input, n, err, want, wantErr)
			}
		}
	}
}

// The parser and Parse agree on the example numbers of every kind and country, with
// one digit more and one less. In some countries they also agree where any digit
// is another one, or stands behind a zero.
func TestParserLikeParse(t *testing.T) {
	neighbours := strings.Fields("NZ US GB IT JP AR")
	var inputs []string
	for _, region := range everywhere() {
		for kind := phonenumbers.FIXED_LINE; kind <= phonenumbers.VOICEMAIL; kind++ {
			n := phonenumbers.GetExampleNumberForTypeInRegion(region, kind)
			if n == nil {
				continue
			}
			e164 := phonenumbers.Format(n, phonenumbers.E164)
			inputs = append(inputs, e164, e164+"0", e164[:len(e164)-1])
			for i := 1; i < len(e164); i++ {
				if !slices.Contains(neighbours, region) {
					continue
				}
				inputs = append(inputs, e164[:i]+string('0'+(e164[i]-'0'+1)%10)+e164[i+1:], e164[:i]+"0"+e164[i:])
			}
		}
	}
	for code := range phonenumbers.GetSupportedGlobalNetworkCallingCodes() {
		inputs = append(inputs, phonenumbers.Format(phonenumbers.GetExampleNumberForNonGeoEntity(code), phonenumbers.E164))
	}
	t.Logf("%d numbers", len(inputs))
	for _, regions := range [][]string{{"NZ"}, everywhere()} {
		check := compare(t, regions)
		for _, input := range inputs {
			check(t, input)
		}
	}
}

// The same for digits behind the beginnings of real numbers, in countries that
// share a calling code, remove a national prefix or begin with zeros.
func TestParserLikeParseAnywhere(t *testing.T) {
	regions := strings.Fields("NZ US CA GB JE AU CX IT VA RU KZ BR AR MX DE FI AX CI HU SM SH")
	check := compare(t, regions)
	all := compare(t, everywhere())
	beginnings := strings.Fields(`
		64 642 6421 640 1 1201 1416 10 11 44 447 4477 44753 440 61 614 618910 610 39 393 390 3906698
		7 79 77 78 55 5511 550 54 549 52 521 49 491 358 3584 35818 225 36 3606 378 290 881 0 00 999 800`)
	rapid.Check(t, func(t *rapid.T) {
		input := "+" + rapid.SampledFrom(beginnings).Draw(t, "beginning") + rapid.StringMatching(`[0-9]{0,14}`).Draw(t, "digits")
		check(t, input)
		all(t, input)
	})
}

// FuzzParser compares the parser with Parse, also for inputs that are not numbers.
func FuzzParser(f *testing.F) {
	for _, s := range []string{
		"+6421234567", "+64021234567", "+12015550123", "+447400123456", "+61412345678", "+393123456789", "+5491123456789",
		"021 234 567", "+64 21 234 567", "+", "+64", "＋6421234567", "+0064212345", "+88161234567", "+99999999", "++6421234567",
		"+79123456789", "+6421234567\x00",
	} {
		f.Add(s)
	}
	here, all := compare(f, []string{"NZ", "AU", "US", "GB", "AR"}), compare(f, everywhere())
	f.Fuzz(func(t *testing.T, input string) {
		here(t, input)
		all(t, input)
	})
}

// A parser that has no room for another state reads on as Parse does.
func TestParserFull(t *testing.T) {
	policy, _ := NewPolicy([]string{"NZ"})
	parser := policy.Parser()
	if _, err := parser.Parse("+6421234567"); err != nil {
		t.Fatal(err)
	}
	parser.states = maxStates
	for _, input := range []string{"+6421234567", "+64273456789", "+6495551234"} {
		want, wantErr := Parse(input, []string{"NZ"})
		if n, err := parser.Parse(input); n != want || !errors.Is(err, wantErr) {
			t.Errorf("%q is %v, %v; want %v, %v", input, n, err, want, wantErr)
		}
	}
	if parser.states != maxStates {
		t.Errorf("a full parser grew to %d states", parser.states)
	}
}

// Every calling code but Argentina's has a plan, so a new version of the library
// cannot make lists slow unnoticed.
func TestParserPlans(t *testing.T) {
	for code := range phonenumbers.GetSupportedCallingCodes() {
		pl := newPlan(code, phonenumbers.GetRegionCodesForCountryCode(code))
		if (pl == nil) != (code == 54) {
			t.Errorf("calling code %d: plan %v", code, pl != nil)
		}
	}
}

// list returns a million numbers of New Zealand, one a line.
func list(spelling string) string {
	var b strings.Builder
	for i := range 1_000_000 {
		fmt.Fprintf(&b, spelling, i)
	}
	return b.String()
}

func BenchmarkAllowFrom(b *testing.B) {
	for _, c := range []struct{ name, spelling string }{{"E.164", "+64212%06d\n"}, {"local", "0212%06d\n"}} {
		b.Run(c.name, func(b *testing.B) {
			text := list(c.spelling)
			b.ReportAllocs()
			for b.Loop() {
				p, _ := NewPolicy([]string{"NZ"})
				if err := p.AllowFrom(strings.NewReader(text)); err != nil || p.Len() != 1_000_000 {
					b.Fatal(p.Len(), err)
				}
			}
		})
	}
}
