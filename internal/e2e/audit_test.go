package e2e_test

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/caddy-websms/websms/internal/browser"
)

//go:embed testdata/audit.js
var audit string

// A device is a viewport, in CSS pixels.
type device struct {
	width, height int64
	scale         float64 // pixels of a picture for one CSS pixel
	mobile        bool
}

var (
	smartphone = device{360, 740, 2, true}
	// WCAG 2.2, 1.4.10: at 320 CSS pixels the page scrolls in one direction only.
	narrow  = device{320, 640, 2, true}
	desktop = device{1024, 768, 1, false}
)

func (b *tab) use(d device) {
	b.T.Helper()
	browser.Call(b.Tab, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: d.width, Height: d.height, DeviceScaleFactor: d.scale, Mobile: d.mobile,
	})
	b.Until(fmt.Sprintf("Math.round(visualViewport.width * visualViewport.scale) === %d", d.width))
}

// prefer sets the user's preferences that the page sees. Without motion, no colour is measured
// halfway through a transition.
func (b *tab) prefer(scheme string) {
	b.T.Helper()
	browser.Call(b.Tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	b.Until("matchMedia('(prefers-color-scheme: " + scheme + ")').matches")
}

// inspect audits the page in light and in dark on each of the devices. If WEBSMS_SCREENSHOTS is
// set, it takes pictures on the first device.
func (b *tab) inspect(name string, devices ...device) {
	b.T.Helper()
	for i, d := range devices {
		b.use(d)
		for _, scheme := range []string{"light", "dark"} {
			b.prefer(scheme)
			for _, finding := range browser.Eval[[]string](b.Tab, audit) {
				b.T.Errorf("%s, %s, %d wide: %s", name, scheme, d.width, finding)
			}
			if i == 0 {
				b.picture(name + "-" + scheme)
			}
		}
		// If a page does not fit, the browser zooms out or scrolls.
		if widths := browser.Eval[[]int64](b.Tab, "[innerWidth, document.documentElement.scrollWidth]"); slices.Max(widths) > d.width {
			b.T.Errorf("%s is %d wide on a screen of %d", name, slices.Max(widths), d.width)
		}
	}
	b.names(name)
	b.use(devices[0])
}

// names checks that each control has a name in the tree that Chromium gives to screen readers.
func (b *tab) names(page string) {
	b.T.Helper()
	roles := []string{`"textbox"`, `"combobox"`, `"checkbox"`, `"button"`, `"link"`, `"spinbutton"`, `"Date"`, `"DisclosureTriangle"`}
	controls := 0
	for _, node := range browser.Call(b.Tab, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes {
		if node.Ignored || node.Role == nil || !slices.Contains(roles, string(node.Role.Value)) {
			continue
		}
		controls++
		if node.Name == nil || len(node.Name.Value) <= len(`""`) {
			b.T.Errorf("%s: a %s has no name", page, node.Role.Value)
		}
	}
	if controls == 0 {
		b.T.Errorf("%s: no controls were found", page)
	}
}

// picture writes the whole page as a PNG into the folder WEBSMS_SCREENSHOTS. If that is not set, it
// does nothing.
func (b *tab) picture(name string) {
	b.T.Helper()
	dir := os.Getenv("WEBSMS_SCREENSHOTS")
	if dir == "" {
		return
	}
	png := browser.Value(b.Tab, chromedp.FullScreenshot(100))
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
		b.T.Fatal(err)
	}
}

// The audit finds each kind of fault on a page that has them all.
func TestAudit(t *testing.T) {
	t.Parallel()
	b := newTab(t)
	b.prefer("light")
	b.Open(`data:text/html,<!DOCTYPE html><body style="background: rgb(255,255,255)"><h2>A</h2><h4>B</h4>` +
		`<p id=x style="color: rgb(120,120,120)">grey</p>` +
		`<p id=x style="background: linear-gradient(rgb(0,0,0), rgb(255,255,255))">gradient</p>` +
		`<input name=i aria-describedby="nowhere"><img>` +
		`<a tabindex=3 href=/ style="color: rgb(0,0,0); background: rgba(0,0,0,0.5)">half</a>`)
	findings := strings.Join(browser.Eval[[]string](b.Tab, audit), "\n")
	for _, want := range []string{
		"names no language", "no title", "levels 2,4", "level 4 heading skips", "id x is there twice", "leads to nowhere",
		"<input> has no label", "<img> has no words", "out of the order of tabs",
		"<p id=x> has rgb(120, 120, 120) on rgb(255,255,255), 4.42:1", "on rgb(0,0,0), 1.00:1",
	} {
		if !strings.Contains(findings, want) {
			t.Errorf("the audit does not say %q, only:\n%s", want, findings)
		}
	}
	if strings.Contains(findings, "127.5") {
		t.Errorf("the audit objects to black on half black, which is 5.28:1:\n%s", findings)
	}
}
