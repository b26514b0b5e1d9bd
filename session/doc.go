// Package session keeps the proof that a person has answered a challenge in a
// sealed cookie, and nowhere else.
//
// A [Ring] seals and opens texts. [Keys] is its stored form, which [Keys.Rotate]
// renews every 30 days. A [Session] is the content of the session cookie. [Life]
// says how long sessions last, and [Revocations] which ones were ended early. An
// [Archive] stores keys and revocation records for several processes. [Values] and
// [Strip] read and remove cookies.
//
// The package promises:
//
//   - Without the keys, a cookie can be neither read nor changed (AES-256-GCM).
//   - A value that is sealed for one purpose and one audience, such as a realm,
//     opens for no other.
//   - Opening a session takes no lock and waits for nothing.
//   - A release keeps the fields that a newer release has added, and refuses keys
//     of a newer version.
//
// Key handling is the caller's: package session never writes a key to a disk or a
// log. If the sealing keys are lost, everybody has to prove themselves again. If
// they leak, sessions can be forged until the keys are replaced.
package session
