package firstfactor

import (
	"sync"

	"github.com/caddy-websms/websms/number"
)

// Loading parses the numbers that a directory reads. While the directory opens, one
// call at a time is served by a [number.Parser], which reads a million numbers in E.164
// in about a second. Every other call goes to Policy.Parse. Both give the same results.
type Loading struct {
	policy *number.Policy

	mu     sync.Mutex
	parser *number.Parser // nil after Done
}

// NewLoading returns a parser for a directory that opens now.
func NewLoading(policy *number.Policy) *Loading {
	return &Loading{policy: policy, parser: policy.Parser()}
}

// Parse parses a spelling, with the result of Policy.Parse. Many goroutines may call it.
func (l *Loading) Parse(spelled string) (number.Number, error) {
	if l.mu.TryLock() {
		defer l.mu.Unlock()
		if l.parser != nil {
			return l.parser.Parse(spelled)
		}
	}
	return l.policy.Parse(spelled)
}

// Done frees the memory of the fast parser. Parse still works.
func (l *Loading) Done() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parser = nil
}
