// Package telemetry reports decisions to operators: as metrics, audit entries, events of
// Caddy and trace spans. None of them holds a code or a secret. Numbers are masked in
// the audit log and in the events of a gate, and are in no metric or span.
package telemetry

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
)

// The metrics belong to the process. Each configuration has a registry of its own, and
// all registries hold these same metrics. So a reload resets no counter, and several
// gates count together. No label is a number, a user or an address: those have too many
// values, and are personal data.
var (
	gateRequests = newCounter("gate_requests_total",
		"Requests that a gate has decided on, its own pages left out.", "decision")
	RequestsPassed   = gateRequests.WithLabelValues("passed")
	RequestsBypassed = gateRequests.WithLabelValues("bypassed")
	RequestsDenied   = gateRequests.WithLabelValues("challenged")

	sends = newCounter("sends_total",
		"Codes asked for, by what became of them.", "result")
	verifications = newCounter("verifications_total",
		"Codes that came back, by what they were worth.", "result")
	tokenRefreshes = newCounter("token_refreshes_total",
		"Requests for a bearer token.", "result")
	webhooks = newCounter("webhooks_total",
		"Requests to the webhook, by the type of event and what became of it.", "type", "result")

	apiDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "caddy", Subsystem: "websms", Name: "api_duration_seconds",
		Help: "How long calls of the WebSMS API took, by endpoint and result.",
		// A usual call takes a third of a second, which is between two buckets.
		Buckets: []float64{.05, .1, .2, .3, .4, .5, .75, 1, 2, 5, 10},
	}, []string{"endpoint", "result"})
	deliverySeconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: "caddy", Subsystem: "websms", Name: "delivery_seconds",
		Help: "From the sending of a code to the report that says what became of it.",
		// A code lasts at most ten minutes.
		Buckets: []float64{1, 2, 3, 5, 10, 20, 30, 60, 120, 300, 600},
	})
)

// newCounter returns a counter with the prefix caddy_websms_.
func newCounter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "caddy", Subsystem: "websms", Name: name, Help: help}, labels)
}

// The results of a request for a code.
const (
	sendSent        = "sent"                // WebSMS has taken it
	sendFunds       = "refused_funds"       // the account cannot pay
	sendCredentials = "refused_credentials" // the API key is refused
	sendUnknown     = "unknown"             // WebSMS gave no clear answer; the code may arrive
	sendFailed      = "failed"              // any other error; the code will not arrive
	SendLimited     = "rate_limited"        // a limit of the gate refused it
	SendUnavailable = "unavailable"         // the store is full or down, or too many sends are in flight
	SendWithheld    = "withheld"            // the number is unlisted, so nothing was sent
)

var sendResults = []string{sendSent, sendFunds, sendCredentials, sendUnknown, sendFailed, SendLimited, SendUnavailable, SendWithheld}

// The results of a code that a browser posted.
const (
	CodeRight       = "verified"
	CodeWrong       = "wrong_code"
	CodeIncomplete  = "incomplete_code"
	CodeOther       = "other_challenge"
	codeLocked      = "locked_out" // a wrong code that locked the number
	codeTooMany     = "too_many_attempts"
	codeExpired     = "expired"
	codeNone        = "no_challenge"
	CodeLimited     = "rate_limited" // the number is locked, or too many recovery codes were tried
	codeUnavailable = "unavailable"
	CodeRecovery    = "recovery_code" // a right recovery code, from an operator in place of an SMS
)

var codeResults = []string{
	CodeRight, CodeWrong, CodeIncomplete, CodeOther, codeLocked, codeTooMany, codeExpired, codeNone, CodeLimited,
	codeUnavailable, CodeRecovery,
}

// The results of a request to the webhook, and the types of its event. TypeNone is the
// type of a request that was refused before its body was parsed.
const (
	WebhookHandled      = "handled"
	WebhookRepeated     = "repeated"
	WebhookInWork       = "in_work" // a repetition while the first is being handled
	WebhookUnauthorized = "unauthorized"
	WebhookInvalid      = "invalid"
	WebhookTooLarge     = "too_large"
	WebhookLate         = "not_arrived"
	WebhookMethod       = "method_not_allowed"
	WebhookPassedOn     = "passed_on" // the next handler answered with a success
	WebhookNotTaken     = "not_taken" // the next handler did not answer with a success

	TypeReply   = "mo"
	TypeReport  = "dlr"
	TypeUnknown = "unknown"
	TypeNone    = "none"
)

func init() { // each counter begins at zero, so that Prometheus sees its first count as an increase
	for _, result := range sendResults {
		sends.WithLabelValues(result)
	}
	for _, result := range codeResults {
		verifications.WithLabelValues(result)
	}
	for _, result := range []string{"ok", "failed"} {
		tokenRefreshes.WithLabelValues(result)
	}
	for _, result := range []string{WebhookUnauthorized, WebhookInvalid, WebhookTooLarge, WebhookLate, WebhookMethod} {
		webhooks.WithLabelValues(TypeNone, result)
	}
	for _, kind := range []string{TypeReply, TypeReport, TypeUnknown} {
		for _, result := range []string{WebhookHandled, WebhookRepeated, WebhookInWork} {
			webhooks.WithLabelValues(kind, result)
		}
	}
}

// Sources are the functions that metrics are read from at each scrape. They return by the
// end of ctx.
type Sources struct {
	Live    func(ctx context.Context) (int, error)              // the challenges in all stores
	Balance func(ctx context.Context) (amount float64, ok bool) // the lowest balance of all accounts
}

// collectors returns all metrics.
func collectors(from Sources) []prometheus.Collector {
	return []prometheus.Collector{
		gateRequests, sends, verifications, tokenRefreshes, webhooks, apiDuration, deliverySeconds,
		challengesCollector{from.Live}, balanceCollector{from.Balance},
	}
}

// Register adds the metrics to the registry of a configuration.
func Register(registry *prometheus.Registry, from Sources) error {
	for _, c := range collectors(from) {
		if err := registry.Register(c); err != nil && !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			return err
		}
	}
	return nil
}

// challengesCollector counts the challenges of all stores at each scrape. If a store
// does not answer, it reports no sample, rather than a wrong one.
type challengesCollector struct {
	count func(context.Context) (int, error)
}

var challengesDesc = prometheus.NewDesc("caddy_websms_challenges",
	"Challenges that take room in the store: with Redis, of all nodes together.", nil, nil)

// scrapeTime is how long a scrape waits for the stores.
const scrapeTime = time.Second

// Describe implements prometheus.Collector.
func (challengesCollector) Describe(to chan<- *prometheus.Desc) { to <- challengesDesc }

// Collect implements prometheus.Collector.
func (l challengesCollector) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	sum, err := l.count(ctx)
	if err != nil {
		return
	}
	to <- prometheus.MustNewConstMetric(challengesDesc, prometheus.GaugeValue, float64(sum))
}

// ObserveCall counts one call of the API. endpoint is one of the connexus.Endpoint
// constants.
func ObserveCall(endpoint string, took time.Duration, err error) {
	label, result := EndpointLabel(endpoint), "ok"
	var failure *connexus.Error
	switch {
	case errors.As(err, &failure):
		result = failure.Kind.String()
	case err != nil:
		result = connexus.Kind(0).String()
	}
	if endpoint == connexus.EndpointToken {
		refreshed := "ok"
		if err != nil {
			refreshed = "failed"
		}
		tokenRefreshes.WithLabelValues(refreshed).Inc()
	}
	apiDuration.WithLabelValues(label, result).Observe(took.Seconds())
}

// CountSend counts a request for a code. result is one of the Send constants.
func CountSend(result string) { sends.WithLabelValues(result).Inc() }

// CountCode counts a code that a browser posted. result is one of the Code constants.
func CountCode(result string) { verifications.WithLabelValues(result).Inc() }

// CountWebhook counts a request to the webhook. kind is one of the Type constants, and
// result one of the Webhook constants.
func CountWebhook(kind, result string) { webhooks.WithLabelValues(kind, result).Inc() }

// ObserveDelivery records the time from the send of a code to its delivery report.
func ObserveDelivery(after time.Duration) { deliverySeconds.Observe(after.Seconds()) }

// SendResult returns the result for CountSend that belongs to an error of a send.
func SendResult(err error) string {
	var failure *connexus.Error
	switch {
	case err == nil:
		return sendSent
	case errors.Is(err, connexus.ErrFunds):
		return sendFunds
	case errors.Is(err, connexus.ErrCredentials):
		return sendCredentials
	case errors.As(err, &failure) && failure.MaybeAccepted:
		return sendUnknown
	case errors.As(err, new(*otp.LimitError)):
		return SendLimited
	case errors.As(err, new(*otp.UnavailableError)):
		return SendUnavailable
	}
	return sendFailed
}

// CodeResult returns the result for CountCode that belongs to an error of a
// verification.
func CodeResult(err error) string {
	locked := errors.As(err, new(*otp.LimitError))
	switch {
	case err == nil:
		return CodeRight
	case errors.Is(err, otp.ErrWrongCode) && locked:
		return codeLocked
	case errors.Is(err, otp.ErrWrongCode):
		return CodeWrong
	case locked:
		return CodeLimited
	case errors.Is(err, otp.ErrTooManyAttempts):
		return codeTooMany
	case errors.Is(err, otp.ErrExpired):
		return codeExpired
	case errors.Is(err, otp.ErrNoChallenge):
		return codeNone
	}
	return codeUnavailable
}

// EndpointLabel returns the name of an API endpoint in metrics and in the overview.
func EndpointLabel(endpoint string) string {
	switch endpoint {
	case connexus.EndpointToken:
		return "token"
	case connexus.EndpointBalance:
		return "balance"
	case connexus.EndpointText:
		return "text"
	}
	return "otp"
}
