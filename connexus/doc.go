// Package connexus is a client of the WebSMS Connexus API, which sends one-time
// codes by SMS, and a parser of the events that WebSMS posts to a webhook.
// It stands alone: it needs no web server and no store.
//
// A [Client] sends codes with [Client.SendOTP] and other texts with [Client.SendText],
// and asks for the account's balance with [Client.Balance]. It gets the bearer token by
// itself.
// [ParseEvent] reads a webhook event: a [Reply], a delivery [Report] or an
// [Unknown]. [Report.State] and [State.Supersedes] put reports in order.
//
// The package promises:
//
//   - A message is sent at most once for each call of [Client.SendOTP] or
//     [Client.SendText]. It is tried again only if WebSMS cannot have taken it: after a
//     refused connection, after a clear refusal of the bearer token, and after HTTP 429
//     or 503 with a Retry-After. It is never sent again after a time-out, nor by the
//     HTTP transport on its own.
//   - A refusal of the token is HTTP 401, or any other refusal that says so, such as
//     HTTP 403 or 200 with invalid_token. The token is then renewed, and the message is
//     sent once more. A refusal for lack of funds or of a permission is not retried.
//   - HTTP 307 and 308 are followed, twice at most. The address must be https and in the
//     registrable domain of the base URL: from websms.co.nz to api.websms.co.nz, for
//     example. If the base URL names localhost or an IP address, host and scheme must be
//     the same, and the port may be another. No other redirect is followed, so neither
//     credentials nor messages go elsewhere.
//   - Every failure is an [*Error]. It has a kind, and it says whether the message
//     may arrive nevertheless ([Error.MaybeAccepted]).
//   - The bearer token is renewed before its end, by one request for all callers. No
//     call waits while the old token still works.
//   - Sent messages are checked strictly, and replies are read tolerantly: a field may
//     be a number or a string, absent, null, or of a wrong type. A reply of any
//     length and content is bounded and never panics.
//   - The text of an error holds no client secret, bearer token, code or telephone
//     number, even if WebSMS repeats one in its reply.
//
// The package does not receive webhook requests, check their secret or count
// messages. These are tasks of the caller.
//
// Facts about the API come from the WebSMS developer guide ("Send SMS OTP / 2FA
// Codes via the WebSMS API", https://websms.co.nz), which is cited by its steps, and
// from reports of integrators about the live service.
package connexus
