// Package connexus is a client of the WebSMS Connexus API, which sends one-time
// codes by SMS, and a parser of the events that WebSMS posts to a webhook.
// It stands alone: it knows nothing of any web server or store.
//
// What it promises:
//
//   - A message is sent at most once for each call of [Client.SendOTP]. It is tried
//     again only where WebSMS cannot have taken it: a connection that was
//     refused, HTTP 401, and HTTP 429 or 503 with a Retry-After. Never after a
//     time-out, nor by the HTTP transport behind the caller's back.
//   - Every failure is an [*Error] that says what kind it is and whether the
//     message may be on its way all the same ([Error.MaybeAccepted]).
//   - The bearer token is renewed ahead of its end, by one request for however
//     many callers, and nobody waits while the old one still works.
//   - It is strict in what it sends and tolerant in what it reads: fields may be
//     numbers or strings, absent, null, or of a wrong type. A reply of any length
//     and content is bounded and never panics.
//   - No client secret, bearer token, code or telephone number is in the text of
//     an error, whatever WebSMS wrote in its reply.
//
// Facts about the API are from the WebSMS developer guide ("Send SMS OTP / 2FA
// Codes via the WebSMS API", https://websms.co.nz), cited by its steps, and from
// what integrators report of the live service.
package connexus
