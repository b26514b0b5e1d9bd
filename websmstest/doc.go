// Package websmstest simulates WebSMS Connexus, the API that sends one-time
// codes by SMS, together with the phone that receives them. No SMS leaves
// the machine.
//
// A [Simulator] is an [net/http.Handler]. Below its base path it answers as
// the WebSMS developer guide describes:
//
//   - POST /auth/token exchanges a client id and secret for a bearer token
//     (guide, step 2). Tokens expire and can be revoked.
//   - POST /sms/otp accepts a code for delivery, or makes one up (step 4).
//   - Delivery reports and replies are posted to a webhook (step 6), within
//     5 seconds a try and with three retries.
//
// At "/" it shows each SMS on a web page that looks like a phone's list of
// messages. A person can answer a message there and choose how the next one
// is delivered.
//
// What the live service does only on a bad day is available on demand:
// [Simulator.Next] and its siblings take a [Fault], be it one of the named
// ones, such as [Throttled] and [HangReply], or one of your own.
//
// In a Go test, [NewServer] gives a simulator on a loopback port that ends
// with the test:
//
//	sim := websmstest.NewServer(t, websmstest.Options{})
//	// point the client under test at sim.URL, send a code, then
//	msg, err := sim.WaitMessage(t.Context(), func(m websmstest.Message) bool {
//		return m.To == "6421234567"
//	})
//
// In a Caddy server, [Handler] is the same thing as the directive
// websms_simulator.
//
// The simulator holds a bounded number of everything: the newest 1000
// messages and tokens, and 32768 webhook posts under way. A Simulator is safe
// for use by many goroutines at once.
package websmstest
