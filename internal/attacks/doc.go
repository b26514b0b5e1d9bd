// Package attacks holds the tests that attack a whole gate: over real HTTP, with
// what an attacker can send, and without a look into the gate. docs/security.md
// names them as the proofs of its claims. The package has no other code.
package attacks
