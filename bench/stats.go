package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// median returns the middle sample, or the mean of the two middle samples.
func median(samples []float64) float64 {
	if len(samples) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(samples))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// ratios divides samples of one target by those of another, round by round. A
// disturbance of the machine then affects both samples of a ratio.
func ratios(of, by []float64) []float64 {
	n := min(len(of), len(by))
	list := make([]float64, n)
	for i := range n {
		list[i] = of[i] / by[i]
	}
	return list
}

// atLeast and atMost say whether a value meets a budget.
func atLeast(value, bar float64) string { return verdict(value >= bar, "≥", bar) }
func atMost(value, bar float64) string  { return verdict(value <= bar, "≤", bar) }

func verdict(met bool, sign string, bar float64) string {
	if met {
		return fmt.Sprintf("%s %s, met", sign, figures(bar))
	}
	return fmt.Sprintf("%s %s, **missed**", sign, figures(bar))
}

// figures formats a number with few digits and with commas.
func figures(v float64) string {
	switch abs := math.Abs(v); {
	case math.IsNaN(v):
		return "–"
	case abs >= 1000:
		text := fmt.Sprintf("%.0f", v)
		for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
			text = text[:i] + "," + text[i:]
		}
		return text
	case abs >= 100 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case abs >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// table is a table in Markdown.
type table struct {
	head []string
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) String() string {
	var b strings.Builder
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(t.head)
	b.WriteString("|---" + strings.Repeat("|---:", len(t.head)-1) + "|\n")
	for _, row := range t.rows {
		line(row)
	}
	return b.String()
}
