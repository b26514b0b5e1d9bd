// Package clock is the source of the time for everything that a configuration makes.
package clock

import "time"

// Now returns the current time. Only tests replace it, before they load a
// configuration. A structure copies it into a field of its own when it is made.
var Now = time.Now
