package pages

import (
	"fmt"
	"time"
)

// duration writes a time span in one unit, rounded up: "30 seconds", "5 minutes", "30 days". The
// countdown in the script follows the same rule, so the text does not jump when the script takes
// over.
func duration(d time.Duration) string {
	unit, name := time.Second, "second"
	switch {
	case d > 36*time.Hour:
		unit, name = 24*time.Hour, "day"
	case d > 90*time.Minute:
		unit, name = time.Hour, "hour"
	case d > 90*time.Second:
		unit, name = time.Minute, "minute"
	}
	n := max(0, d) / unit
	if d > n*unit {
		n++
	}
	if n == 1 {
		return "1 " + name
	}
	return fmt.Sprintf("%d %ss", n, name)
}
