package number

import (
	"strings"
	"testing"
)

// BenchmarkParse measures the time that a gate spends on one typed input.
func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ name, input, regions string }{
		{"right", "021 234 567", "NZ"},
		{"international", "+64 21 234 567", "NZ"},
		{"another country", "+61 412 345 678", "NZ"},
		{"landline", "09 555 1234", "NZ"},
		{"digits, the longest", strings.Repeat("2", 64), "NZ"},
		{"20 digits", strings.Repeat("2", 20), "NZ"},
		{"15 digits", strings.Repeat("2", 15), "NZ"},
		{"pluses", strings.Repeat("+", 64), "NZ"},
		{"decoration", "+" + strings.Repeat("(-", 31) + "2", "NZ"},
		{"digits and decoration", strings.Repeat("2-", 32), "NZ"},
		{"right in ten countries", "+64 21 234 567", "AU US GB FR DE IT ES JP BR NZ"},
		{"hopeless in ten countries", strings.Repeat("2", 64), "AU US GB FR DE IT ES JP BR NZ"},
		{"19 digits in ten countries", "+" + strings.Repeat("2", 19), "AU US GB FR DE IT ES JP BR NZ"},
		{"fullwidth", strings.Repeat("２", 21), "NZ"},
		{"invalid utf8", strings.Repeat("\xff", 64), "NZ"},
		{"0 and slashes", strings.Repeat("0/", 32), "NZ"},
		{"64k letters", strings.Repeat("x", 64<<10), "NZ"},
	} {
		regions := strings.Fields(c.regions)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = Parse(c.input, regions)
			}
		})
	}
}

// BenchmarkParser measures one number in E.164, with a verdict that is known.
func BenchmarkParser(b *testing.B) {
	for _, c := range []struct{ name, input, regions string }{
		{"NZ", "+6421234567", "NZ"},
		{"US of 13 countries", "+12015550123", "NZ AU US CA GB IE DE FR NL SE IN SG JP"},
	} {
		b.Run(c.name, func(b *testing.B) {
			policy, err := NewPolicy(strings.Fields(c.regions))
			if err != nil {
				b.Fatal(err)
			}
			parser := policy.Parser()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := parser.Parse(c.input); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
