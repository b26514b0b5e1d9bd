// Package attacks holds the tests that attack a whole gate. They send over real HTTP the
// requests that an attacker can send, and do not look into the gate. docs/security.md
// names them as the proofs of its claims. The package has no other code.
package attacks
