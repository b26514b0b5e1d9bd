// Package telemetry tells operators about decisions: metrics, the audit log, events of
// Caddy and trace spans. None of them holds a code, a secret or a whole number.
package telemetry

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
)

// The metrics belong to the process: each configuration that is loaded has a
// registry of its own, and these are in all of them, so that a reload resets
// no counter and several gates count together. None is labelled by number, user or
// address: those are countless, and somebody's.
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
		// The API's usual third of a second lies between two of them.
		Buckets: []float64{.05, .1, .2, .3, .4, .5, .75, 1, 2, 5, 10},
	}, []string{"endpoint", "result"})
	deliverySeconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: "caddy", Subsystem: "websms", Name: "delivery_seconds",
		Help: "From the sending of a code to the report that says what became of it.",
		// A code lives ten minutes at most.
		Buckets: []float64{1, 2, 3, 5, 10, 20, 30, 60, 120, 300, 600},
	})
)

func newCounter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "caddy", Subsystem: "websms", Name: name, Help: help}, labels)
}

// What became of a code that was asked for.
const (
	sendSent        = "sent"                // WebSMS has taken it
	sendFunds       = "refused_funds"       // the account cannot pay
	sendCredentials = "refused_credentials" // the API key is refused
	sendUnknown     = "unknown"             // no answer that says; it may arrive
	sendFailed      = "failed"              // for any other reason; it will not arrive
	SendLimited     = "rate_limited"        // one of the gate's limits
	SendUnavailable = "unavailable"         // store full or down, or too many in flight
	SendWithheld    = "withheld"            // the number is not listed: nothing was sent
)

var sendResults = []string{sendSent, sendFunds, sendCredentials, sendUnknown, sendFailed, SendLimited, SendUnavailable, SendWithheld}

// What a code that came back was worth.
const (
	CodeRight       = "verified"
	CodeWrong       = "wrong_code"
	codeLocked      = "locked_out" // a wrong one that led to a lock
	codeTooMany     = "too_many_attempts"
	codeExpired     = "expired"
	codeNone        = "no_challenge"
	CodeLimited     = "rate_limited" // the number is locked, or somebody tries too many recovery codes
	codeUnavailable = "unavailable"
	CodeRecovery    = "recovery_code" // an operator's, in place of an SMS
)

var codeResults = []string{CodeRight, CodeWrong, codeLocked, codeTooMany, codeExpired, codeNone, CodeLimited, codeUnavailable, CodeRecovery}

// What became of an event, and the type of one that was refused before it was read.
const (
	WebhookHandled      = "handled"
	WebhookRepeated     = "repeated"
	WebhookInWork       = "in_work" // a repetition while the first is being handled
	WebhookUnauthorized = "unauthorized"
	WebhookInvalid      = "invalid"
	WebhookTooLarge     = "too_large"
	WebhookLate         = "not_arrived"
	WebhookMethod       = "method_not_allowed"
	WebhookPassedOn     = "passed_on" // and the next handler has taken it
	WebhookNotTaken     = "not_taken" // by the next handler

	TypeReply   = "mo"
	TypeReport  = "dlr"
	TypeUnknown = "unknown"
	TypeNone    = "none"
)

func init() { // at zero, so that the first of each is seen as an increase
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

// collectors returns all metrics. live counts the challenges of all stores.
func collectors(live func(context.Context) (int, error)) []prometheus.Collector {
	return []prometheus.Collector{
		gateRequests, sends, verifications, tokenRefreshes, webhooks, apiDuration, deliverySeconds, challengesCollector{live},
	}
}

// Register adds the metrics to the registry of a configuration.
func Register(registry *prometheus.Registry, live func(context.Context) (int, error)) error {
	for _, c := range collectors(live) {
		if err := registry.Register(c); err != nil && !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			return err
		}
	}
	return nil
}

// challengesCollector counts, at each scrape, the challenges of all stores. A
// store that does not answer is left out; a sample that is missing says so.
type challengesCollector struct {
	count func(context.Context) (int, error)
}

var challengesDesc = prometheus.NewDesc("caddy_websms_challenges",
	"Challenges that take room in the store: with Redis, of all nodes together.", nil, nil)

// scrapeTime bounds what a scrape waits for stores.
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

// ObserveCall counts one exchange with the API.
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

// CountSend counts a code that was asked for. The result is one of the constants above.
func CountSend(result string) { sends.WithLabelValues(result).Inc() }

// CountCode counts a code that came back. The result is one of the constants above.
func CountCode(result string) { verifications.WithLabelValues(result).Inc() }

// CountWebhook counts a request to the webhook by the type of its event and the
// result, which are of the constants above.
func CountWebhook(kind, result string) { webhooks.WithLabelValues(kind, result).Inc() }

// ObserveDelivery records how long the report on a code took to come.
func ObserveDelivery(after time.Duration) { deliverySeconds.Observe(after.Seconds()) }

// SendResult returns what an error of a sending is counted as.
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

// CodeResult returns what an error of a verification is counted as.
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

// EndpointLabel returns an endpoint of the API as metrics and the status name it.
func EndpointLabel(endpoint string) string {
	if endpoint == connexus.EndpointToken {
		return "token"
	}
	return "otp"
}
