package pages

import (
	"fmt"
	"time"
)

// duration says a time span as people do, in one unit and rounded up: "30
// seconds", "5 minutes", "30 days". The script has the same rule for the
// countdown, so that the text does not jump when it takes over.
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
