package harness

// Two numbers that look alike when they are masked: one is on the list.
const (
	Listed   = "+6421234567"
	Unlisted = "+6421235567"
)

// ListGate holds the options of a gate that has Listed on its list of numbers.
const ListGate = "numbers {\n allow " + Listed + " +6421000777\n}\n"
