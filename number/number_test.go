package number

import (
	"errors"
	"fmt"
	"strings"
	"testing"
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
