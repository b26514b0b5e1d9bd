// Package otp is the life of a challenge: one code that is sent to one number and
// waits for its answer.
//
// An [Engine] makes challenges ([Engine.Issue]), sends their codes again
// ([Engine.Resend]), checks answers ([Engine.Verify]) and applies delivery reports
// ([Engine.Report]). A [Policy] holds the rules of one gate. A [Store] keeps
// challenges and counters; package storetest has the tests that every store must
// pass. A [Sender], such as a connexus.Client, sends the message.
//
// The package promises:
//
//   - A sending is recorded and counted in all limits before it costs money. A
//     refused sending costs nothing.
//   - An attempt is counted before its code is compared, in constant time.
//   - The right code works once, also if many requests bring it at the same moment.
//   - A store never sees a code or a number: codes are sealed, and keys are hashes.
//   - Codes live for ten minutes at most, and have 4 to 8 digits.
//
// The sealing keys are those of a session.Ring. While the ring has no keys, and
// while the store is down, a call returns an [*UnavailableError] at once.
//
// Package otp has no HTTP and no cookies. The caller must keep the ID of a challenge
// with the browser that asked for it, and must not show whether a number is listed.
package otp
