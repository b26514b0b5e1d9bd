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

func TestParse(t *testing.T) {
	nz := []string{"NZ"}
	for _, c := range []struct {
		in      string
		regions []string
		want    string
		err     error
	}{
		{"+6421234567", nz, "+6421234567", nil},
		{"021 234 567", nz, "+6421234567", nil},
		{"(021) 234-567", nz, "+6421234567", nil},
		{"0064 21 234 567", nz, "+6421234567", nil},
		{"64 21 234 567", nz, "+6421234567", nil},
		{"+64 (0)21 234 567", nz, "+6421234567", nil},
		{"  +64\u00a021\u00a0234\u00a0567 ", nz, "+6421234567", nil},
		{"０２１２３４５６７", nz, "+6421234567", nil},
		{"027.123.4567", nz, "+64271234567", nil},
		{"09 555 1234", nz, "", ErrInvalid},  // a landline in Auckland
		{"0900 12345", nz, "", ErrInvalid},   // premium
		{"0800 838 383", nz, "", ErrInvalid}, // toll free
		{"111", nz, "", ErrInvalid},
		{"", nz, "", ErrInvalid},
		{"021 234 567 ext 5", nz, "", ErrInvalid},
		{"021-CALL-ME", nz, "", ErrInvalid},
		{"tel:+6421234567;ext=5", nz, "", ErrInvalid},
		{"021 234 567'; DROP TABLE", nz, "", ErrInvalid},
		{strings.Repeat("0", 65), nz, "", ErrInvalid},
		{"+61 412 345 678", nz, "", ErrCountry},
		{"+44 7400 123456", nz, "", ErrCountry},
		{"0412 345 678", []string{"NZ", "AU"}, "+61412345678", nil},
		{"021 234 567", []string{"AU", "NZ"}, "+6421234567", nil},
		{"(201) 555-0123", []string{"US"}, "+12015550123", nil},
		{"+1 416 555 0123", []string{"US"}, "", ErrCountry}, // Canada shares +1
		{"+881 612 345 678", nz, "", ErrCountry},            // satellite
	} {
		got, err := Parse(c.in, c.regions)
		if got.E164 != c.want || !errors.Is(err, c.err) {
			t.Errorf("Parse(%q, %v) = %q, %v; want %q, %v", c.in, c.regions, got.E164, err, c.want, c.err)
		}
		if err != nil && c.in != "" && strings.Contains(err.Error(), c.in) {
			t.Errorf("the error repeats the number: %v", err)
		}
	}
}

func TestMask(t *testing.T) {
	for in, want := range map[string]string{
		"+6421234567":   "+64•••567",
		"+12015550123":  "+1•••123",
		"+353851234567": "+353•••567",
		"+3546111234":   "+354•••234", // seven digits: four are hidden
		"+298211234":    "+298•••34",
		"+29051234":     "+290•••4",
		"+6907290":      "+690•••",
		"+690729":       "•••", // no number is so short
		"+999123456":    "•••", // no country
		"+0641234567":   "•••",
		"+64212345６7":   "•••",
		"+64 21234567":  "•••",
		"":              "•••",
		"+64":           "•••",
		"6421234567":    "•••",
	} {
		if got := Mask(in); got != want {
			t.Errorf("Mask(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestPolicy(t *testing.T) {
	p, err := NewPolicy([]string{"nz", "AU"})
	if err != nil {
		t.Fatal(err)
	}
	in, err := p.Parse("021 234 567")
	if err != nil || !p.Allowed(in) || p.Restricted() {
		t.Fatalf("an open policy refuses %v: %v", in, err)
	}
	if p.Allowed(Number{E164: "+447400123456", Region: "GB"}) {
		t.Error("a number of another country is allowed")
	}
	file := "\ufeff# staff\n021 234 567 # Aroha\n\n  +61 412 345 678\n"
	if err := p.AllowFrom(strings.NewReader(file)); err != nil {
		t.Fatal(err)
	}
	if !p.Allowed(in) || p.Len() != 2 {
		t.Errorf("a listed number is refused, or %d listed instead of 2", p.Len())
	}
	out, err := p.Parse("021 234 568")
	if err != nil {
		t.Fatal(err)
	}
	if p.Allowed(out) {
		t.Error("an unlisted number is allowed")
	}
}

func TestPolicyErrors(t *testing.T) {
	if _, err := NewPolicy(nil); err == nil {
		t.Error("a policy without a country is accepted")
	}
	if _, err := NewPolicy([]string{"NZL"}); err == nil || !strings.Contains(err.Error(), `"NZL"`) {
		t.Errorf("a wrong country gives %v", err)
	}
	p, _ := NewPolicy([]string{"NZ"})
	err := p.AllowFrom(strings.NewReader("021 234 567\n09 555 1234\n+61 412 345 678\n"))
	if err == nil {
		t.Fatal("bad lines are accepted")
	}
	for _, want := range []string{"line 2: not a mobile number", "line 3: mobile number of a country"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q lacks %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "555") {
		t.Errorf("the error repeats a number: %v", err)
	}
	many := strings.Repeat("nobody\n", 1000)
	if err := p.AllowFrom(strings.NewReader(many)); err == nil || len(err.Error()) > 1000 || !strings.Contains(err.Error(), "990 more") {
		t.Errorf("a thousand bad lines give %v", err)
	}
	empty, _ := NewPolicy([]string{"NZ"})
	if err := empty.AllowFrom(strings.NewReader("# nobody yet\n")); err != nil || !empty.Restricted() {
		t.Error("an empty list opens the gate to every number")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"021 234 567", "+6421234567", "0064 21 234 567", "(021) 234-567", "+", "+64", "٠٢١٢٣٤٥٦٧", "0\x0021"} {
		f.Add(s)
	}
	p, err := NewPolicy([]string{"NZ", "AU", "US"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in string) {
		n, err := p.Parse(in)
		if err != nil {
			if n != (Number{}) {
				t.Errorf("%q: an error and the number %v", in, n)
			}
			return
		}
		if len(n.E164) < 8 || len(n.E164) > 16 || n.E164[0] != '+' || strings.Trim(n.E164[1:], "0123456789") != "" {
			t.Errorf("%q gives %q, which is not E.164", in, n.E164)
		}
		again, err := p.Parse(n.E164)
		if err != nil || again != n {
			t.Errorf("%q gives %v, which parses as %v, %v", in, n, again, err)
		}
		if masked := Mask(n.E164); strings.Contains(masked, n.E164[4:]) {
			t.Errorf("the mask %q shows the number", masked)
		}
		if !p.Allowed(n) {
			t.Errorf("%v parses but is not allowed by an open policy", n)
		}
	})
}

// FuzzPlausible compares read with readPlainly. The inputs that shape refuses are
// no numbers of any country, and a number with a plus is the same in every region.
func FuzzPlausible(f *testing.F) {
	for _, s := range []string{
		"021 234 567", "+64 (0)21 234 567", "0011 64 21 234 567", "1411 0011 64 21 234 567", "8~10 64 21 234 567",
		"00 64 (0) 21 234 567", "++64 21 234 567", "+0064 21 234 567", "021 234 567/021 234 568", "#21 234 567",
		"(+64) 21 234 567", "＋64 ２１ 234567", "+123456789012345678", "290 51234", "51234",
		"+49 (0)1512 3456789", "0049 (0)1512 3456789", "+55 (0xx11) 91234-5678", "0 15 11 91234 5678", "+64*21 234 567", "1+6421234567",
	} {
		f.Add(s)
	}
	regions := []string{"NZ", "AU", "US", "DE", "BR", "RU", "SH", "JP", "AR", "CO"}
	f.Fuzz(func(t *testing.T, in string) {
		if len(in) > maxInput {
			return
		}
		n, _, err := read(plain(in), regions)
		want, wantErr := readPlainly(plain(in), regions)
		if n != want || !errors.Is(err, wantErr) {
			t.Errorf("%q is %v, %v; plainly read %v, %v", in, n, err, want, wantErr)
		}
	})
}

// The same for digits and the characters that people put between them.
func TestPlausibleSpellings(t *testing.T) {
	regions := []string{"NZ", "AU", "US", "DE", "BR", "RU", "SH", "JP", "AR", "CO"}
	rapid.Check(t, func(t *rapid.T) {
		in := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{
			"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "0", "00", "0011", "1411", "011", "810", "+", "＋", "(0)",
			"64", "61", "49", "55", "7",
			" ", "-", ".", "/", "(", ")", "~", "*", "#", "２", "٣", "\u00a0", "21 234 567", "412 345 678", "151 2345 6789", "11 91234 5678",
		}), 1, 24).Draw(t, "pieces"), "")
		if len(in) > maxInput {
			return
		}
		n, _, err := read(plain(in), regions)
		want, wantErr := readPlainly(plain(in), regions)
		if n != want || !errors.Is(err, wantErr) {
			t.Errorf("%q is %v, %v; plainly read %v, %v", in, n, err, want, wantErr)
		}
	})
}

// readPlainly is read without its shortcuts.
func readPlainly(input string, regions []string) (Number, error) {
	if strings.ContainsFunc(input, isLetter) {
		return Number{}, ErrInvalid
	}
	err := ErrInvalid
	for _, region := range regions {
		parsed, parseErr := phonenumbers.Parse(input, region)
		if parseErr != nil || !mobile(parsed) {
			continue
		}
		n := Number{
			E164:   phonenumbers.Format(parsed, phonenumbers.E164),
			Region: phonenumbers.GetRegionCodeForNumber(parsed),
		}
		if slices.Contains(regions, n.Region) {
			return n, nil
		}
		err = ErrCountry
	}
	return Number{}, err
}

// An example of every country, in every spelling that the library knows, is
// plausible, also behind the longest international prefix.
func TestPlausibleEverywhere(t *testing.T) {
	countries := 0
	for region := range phonenumbers.GetSupportedRegions() {
		n := phonenumbers.GetExampleNumberForTypeInRegion(region, phonenumbers.MOBILE)
		if n == nil || !mobile(n) {
			continue
		}
		countries++
		e164 := phonenumbers.Format(n, phonenumbers.E164)
		for _, spelling := range []string{
			e164, phonenumbers.Format(n, phonenumbers.NATIONAL), phonenumbers.Format(n, phonenumbers.INTERNATIONAL),
			phonenumbers.FormatOutOfCountryCallingNumber(n, "AU"), phonenumbers.FormatOutOfCountryCallingNumber(n, "CO"),
			phonenumbers.FormatOutOfCountryCallingNumber(n, "RU"), "1411 0011 " + e164[1:],
		} {
			if _, plausible := shape(spelling); !plausible && !strings.ContainsFunc(spelling, isLetter) {
				t.Errorf("%s: %q is implausible", region, spelling)
			}
		}
		both := []string{"NZ", region}
		got, err := Parse(e164, both)
		if want, wantErr := readPlainly(e164, both); got != want || !errors.Is(err, wantErr) {
			t.Errorf("%s: %q is %v, %v; plainly read %v, %v", region, e164, got, err, want, wantErr)
		}
	}
	if countries < 200 {
		t.Errorf("%d countries have an example", countries)
	}
}

// An input that cannot be a number is not parsed: that would take a thousand times
// as long.
func TestHopelessCostsNothing(t *testing.T) {
	regions := []string{"AU", "US", "GB", "FR", "DE", "IT", "ES", "JP", "BR", "NZ"}
	for _, in := range []string{
		strings.Repeat("2", 64), strings.Repeat("2-", 32), strings.Repeat("0/", 32), "+" + strings.Repeat("2", 19), strings.Repeat("0", 25),
		strings.Repeat("+", 64), strings.Repeat("\xff", 64), strings.Repeat("２", 21) + "2222", "", "021", "+64",
		strings.Repeat("(", 64), strings.Repeat("9", 1<<20),
	} {
		if _, err := Parse(in, regions); !errors.Is(err, ErrInvalid) {
			t.Errorf("%.70q: %v", in, err)
		}
		if n := testing.AllocsPerRun(100, func() { _, _ = Parse(in, regions) }); n != 0 {
			t.Errorf("%.70q: %v allocations", in, n)
		}
	}
}

func BenchmarkAllowed(b *testing.B) {
	p, _ := NewPolicy([]string{"NZ"})
	for i := range 100_000 {
		_ = p.Allow(fmt.Sprintf("+64212%05d", i))
	}
	n := Number{E164: "+6421200042", Region: "NZ"}
	b.ReportAllocs()
	for b.Loop() {
		if !p.Allowed(n) {
			b.Fatal("refused")
		}
	}
}
