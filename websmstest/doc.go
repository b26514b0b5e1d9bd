// Package websmstest simulates WebSMS Connexus, the API that sends one-time codes by
// SMS, and the phones that receive them. It is for tests and demonstrations. No SMS
// leaves the machine.
//
// A [Simulator] is a [net/http.Handler]. Below its base path it answers as the WebSMS
// developer guide describes:
//
//   - POST /auth/token exchanges a client id and secret for a bearer token
//     (guide, step 2). Tokens expire and can be revoked.
//   - POST /sms/otp accepts a message with a code, or makes the code (step 4).
//   - POST /sms/out accepts a message without a code, and POST /sms/balance tells the
//     balance (reported by integrators).
//   - A phone that replies STOP, UNSUBSCRIBE or OPTOUT gets no more messages: they are
//     reported as blocked, until it replies START.
//   - A message with a URL or a domain in its text is held until
//     [Simulator.Whitelist] is called.
//   - Delivery reports and replies are posted to a webhook (step 6). A try takes up
//     to 5 seconds, and there are three retries.
//
// At "/" a web page shows each SMS, as the list of messages on a phone does. A person
// can answer a message there and choose how the next one is delivered.
//
// The simulator can also fail as the live service does on a bad day.
// [Simulator.Next], [Simulator.Always], [Simulator.NextToken] and
// [Simulator.NextBalance] take a [Fault]. It
// is a named one, such as [Throttled] or [HangReply], or one of your own.
//
// In a Go test, [NewServer] runs a simulator on a loopback port until the test ends:
//
//	sim := websmstest.NewServer(t, websmstest.Options{})
//	// point the client under test at sim.URL, send a code, then
//	msg, err := sim.WaitMessage(t.Context(), func(m websmstest.Message) bool {
//		return m.To == "6421234567"
//	})
//
// In a Caddy server, the directive websms_simulator ([Handler]) runs a simulator.
//
// The simulator keeps the newest 1000 messages and 1000 tokens, and at most 32768
// webhook posts that are waiting or running. It keeps them in memory only. A
// Simulator is safe for concurrent use.
//
// The simulator is not a service for real codes: the web page shows every code to
// every visitor.
package websmstest
