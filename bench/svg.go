package main

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// figure is a bar chart.
type figure struct {
	title string
	bars  []bar
}

type bar struct {
	name  string
	value float64
}

// svg draws the figure. It suits light and dark pages, and has a description in words.
func (f *figure) svg() string {
	const width, left, right, height = 720, 220, 60, 30
	most := 1.0
	for _, b := range f.bars {
		most = max(most, b.value)
	}
	var described []string
	for _, b := range f.bars {
		described = append(described, fmt.Sprintf("%s %.2f", b.name, b.value))
	}
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-labelledby="title desc"
 font-family="system-ui, sans-serif" font-size="14">
<title id="title">%s</title>
<desc id="desc">%s</desc>
<style>text { fill: #1f2328 } .bar { fill: #8c959f } .ours { fill: #0969da }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .bar { fill: #6e7681 } .ours { fill: #4493f8 } }</style>
<text x="8" y="22" font-weight="600">%s</text>
`, width, 40+height*len(f.bars), escaped(f.title), escaped(strings.Join(described, "; ")), escaped(f.title))
	for i, b := range f.bars {
		y, class := 36+i*height, "bar"
		if strings.HasPrefix(b.name, "gate,") {
			class = "bar ours"
		}
		long := b.value / most * (width - left - right)
		fmt.Fprintf(&s, `<text x="%d" y="%d" text-anchor="end">%s</text>
<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/><text x="%.1f" y="%d">%.2f</text>
`, left-8, y+16, escaped(b.name), class, left, y, long, height-8, left+long+8, y+16, b.value)
	}
	s.WriteString("</svg>\n")
	return s.String()
}

func escaped(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder returns no error
	return b.String()
}
