package pages

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// luminance is the relative luminance of a colour #rrggbb (WCAG 2.2).
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	rgb, err := strconv.ParseUint(strings.TrimPrefix(hex, "#"), 16, 32)
	if err != nil || len(hex) != 7 {
		t.Fatalf("colour %q: want #rrggbb", hex)
	}
	channel := func(shift uint) float64 {
		c := float64(rgb>>shift&0xff) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*channel(16) + 0.7152*channel(8) + 0.0722*channel(0)
}

func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	la, lb := luminance(t, a), luminance(t, b)
	return (max(la, lb) + 0.05) / (min(la, lb) + 0.05)
}

func TestContrastFormula(t *testing.T) {
	// Known values: black on white, and the grey that just passes on white.
	for _, c := range []struct {
		a, b string
		want float64
	}{{"#000000", "#ffffff", 21}, {"#ffffff", "#ffffff", 1}, {"#767676", "#ffffff", 4.54}} {
		if got := contrast(t, c.a, c.b); math.Abs(got-c.want) > 0.005 {
			t.Errorf("contrast of %s and %s is %.3f, want %.2f", c.a, c.b, got, c.want)
		}
	}
}

var token = regexp.MustCompile(`--([a-z-]+):\s*([^;]+);`)

// schemes reads the colour tokens of the style sheet for the light and the dark scheme.
func schemes(t *testing.T, css string) map[string]map[string]string {
	t.Helper()
	blocks := regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllStringSubmatch(css, -1)
	if len(blocks) != 2 || !strings.Contains(css, "@media (prefers-color-scheme: dark) {\n\t:root {") {
		t.Fatalf("%d blocks of tokens, want a light and a dark one", len(blocks))
	}
	found := make(map[string]map[string]string)
	for i, scheme := range []string{"light", "dark"} {
		found[scheme] = make(map[string]string)
		for _, m := range token.FindAllStringSubmatch(blocks[i][1], -1) {
			found[scheme][m[1]] = m[2]
		}
	}
	return found
}

func TestContrastOfTokens(t *testing.T) {
	css, err := files.ReadFile("assets/style.css")
	if err != nil {
		t.Fatal(err)
	}
	const words, control = 4.5, 3.0 // WCAG 2.2, 1.4.3 and 1.4.11
	pairs := map[string]float64{
		"text page": words, "text surface": words,
		"muted page": words, "muted surface": words,
		"action surface": words, "action-strong surface": words, "action page": words,
		"on-action action": words, "on-action action-strong": words,
		"bad surface": words, "bad bad-surface": words,
		"good surface": control, "good good-surface": words,
		"control surface": control,
	}
	found := schemes(t, string(css))
	for scheme, colours := range found {
		if len(colours) != len(found["light"]) {
			t.Errorf("%s has %d colours, light has %d", scheme, len(colours), len(found["light"]))
		}
		for pair, want := range pairs {
			a, b, _ := strings.Cut(pair, " ")
			if got := contrast(t, colours[a], colours[b]); got < want {
				t.Errorf("%s: %s on %s is %.2f:1, want %.1f:1", scheme, a, b, got, want)
			}
		}
	}

	// All colours are tokens, so the pairs above cover every colour.
	rest := token.ReplaceAllString(string(css), "")
	if m := regexp.MustCompile(`#[0-9a-fA-F]{3,8}\b|rgba?\(|hsla?\(|oklch\(|opacity`).FindString(rest); m != "" {
		t.Errorf("the style sheet has a colour of its own: %s", m)
	}
}

func TestStyleSheet(t *testing.T) {
	css, err := files.ReadFile("assets/style.css")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"@media (prefers-color-scheme: dark)", "@media (prefers-reduced-motion: no-preference)",
		"@media (forced-colors: active)", ":focus-visible",
	} {
		if !strings.Contains(string(css), want) {
			t.Errorf("the style sheet knows nothing of %s", want)
		}
	}
	for _, bad := range []string{"url(", "@import", "outline: none", "outline: 0"} {
		if strings.Contains(string(css), bad) {
			t.Errorf("the style sheet has %s", bad)
		}
	}
	// Transitions and animations are allowed only inside the prefers-reduced-motion query.
	before, _, _ := strings.Cut(string(css), "@media (prefers-reduced-motion")
	if m := regexp.MustCompile(`(transition|animation)[a-z-]*:`).FindString(before); m != "" {
		t.Error(fmt.Sprint(m, " outside of prefers-reduced-motion"))
	}
}
