package websmstest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"
	"unicode/utf8"
)

const (
	// webhookTimeout and webhookRetries are values of the WebSMS developer guide
	// (step 6).
	webhookTimeout = 5 * time.Second
	webhookRetries = 3

	// shortCode is the number that replies are sent to.
	shortCode = "2427"

	maxReply = 1000 // characters of a reply
)

// errNoWebhook is the error of Report and Reply if there is no webhook.
var errNoWebhook = errors.New("no webhook is set: set Options.WebhookURL or call SetWebhook")

// webhook is the address of delivery reports and replies, with its secret.
type webhook struct{ url, secret string }

// reportEvent is a delivery report (WebSMS developer guide, step 6).
type reportEvent struct {
	Type       string `json:"type"`
	MessageID  any    `json:"messageId"`
	Status     string `json:"status"`
	StatusCode int    `json:"statusCode"`
	Timestamp  int64  `json:"timestamp"` // Unix seconds
}

// replyEvent is an incoming reply (guide, step 6).
type replyEvent struct {
	Type      string `json:"type"`
	MessageID string `json:"messageId"`
	From      string `json:"from"`
	To        string `json:"to"`
	Body      string `json:"body"`
	Timestamp int64  `json:"timestamp"` // Unix seconds
}

// Report posts one more delivery report of a message and changes the state of the
// message. The report may repeat or contradict another one, and statusCode may be
// unknown.
//
// Report returns nil once the webhook has answered 200, and otherwise the error of the
// last retry. It is also an error if the message is not kept, if no webhook is set, or
// if ctx ends first.
func (s *Simulator) Report(ctx context.Context, messageID string, statusCode int) error {
	m, err := s.state.find(messageID)
	if err != nil {
		return err
	}
	return s.postAndWait(ctx, &post{sim: s, msg: m, event: s.report(m, statusCode)})
}

// Reply answers a message from the phone that received it, and posts the reply to the
// webhook. The body has 1 to 1000 characters. Reply returns the same errors as
// [Simulator.Report].
func (s *Simulator) Reply(ctx context.Context, messageID, body string) error {
	m, err := s.state.find(messageID)
	if err != nil {
		return err
	}
	if err := checkReply(body); err != nil {
		return err
	}
	return s.postAndWait(ctx, &post{sim: s, msg: m, event: s.reply(m, body)})
}

func checkReply(body string) error {
	if body == "" || utf8.RuneCountInString(body) > maxReply || !utf8.ValidString(body) {
		return fmt.Errorf("a reply is 1 to %d characters", maxReply)
	}
	return nil
}

// report changes the state of m and returns the event of a delivery report.
func (s *Simulator) report(m *message, statusCode int) []byte {
	status, messageState := reportText(statusCode)
	s.state.mu.Lock()
	if messageState != "" {
		m.State = messageState
	}
	s.state.touch(m)
	s.state.mu.Unlock()
	return encode(reportEvent{"dlr", m.jsonID(), status, statusCode, s.opts.Now().Unix()})
}

// reply adds a reply to m and returns the event.
func (s *Simulator) reply(m *message, body string) []byte {
	s.state.mu.Lock()
	m.Replies = append(slices.Clip(m.Replies), body)
	s.state.hear(m.To, body)
	s.state.touch(m)
	s.state.mu.Unlock()
	return encode(replyEvent{"mo", "MO" + rand.Text()[:16], "+" + m.To, shortCode, body, s.opts.Now().Unix()})
}

// schedule starts the post of the first step. The dispatcher schedules the others
// after it.
func (s *Simulator) schedule(m *message, steps []step) {
	if len(steps) > 0 {
		// If there are too many posts, or the simulator is closed, the report is lost.
		_ = s.state.hooks.start(&post{sim: s, msg: m, steps: steps}, steps[0].after)
	}
}

func (s *Simulator) postAndWait(ctx context.Context, p *post) error {
	p.result = make(chan error, 1)
	if err := s.state.hooks.start(p, 0); err != nil {
		return err
	}
	select {
	case err := <-p.result:
		return err
	case <-ctx.Done():
		return fmt.Errorf("waiting for the webhook: %w", context.Cause(ctx))
	case <-s.state.hooks.ctx.Done():
		return errClosed
	}
}

// try posts p once. If there is to be another try, retry is the wait before it.
// Otherwise retry is 0.
func (s *Simulator) try(ctx context.Context, p *post) (retry time.Duration, err error) {
	if p.event == nil {
		p.event = s.report(p.msg, p.steps[0].statusCode)
	}
	err = s.send(ctx, p.event)
	again := err != nil && !errors.Is(err, errNoWebhook) && p.retries < webhookRetries
	var trouble string
	switch {
	case again:
		retry = s.opts.RetryPause << p.retries
		trouble = err.Error() + "; trying again"
	case err != nil && p.retries > 0:
		trouble = err.Error() + "; given up"
	}
	s.state.mu.Lock()
	if p.msg.trouble != trouble {
		p.msg.trouble = trouble
		s.state.touch(p.msg)
	}
	s.state.mu.Unlock()
	return retry, err
}

// send posts one event to the webhook. Every status but 200 is an error.
func (s *Simulator) send(ctx context.Context, event []byte) error {
	hook := s.webhook.Load()
	if hook.url == "" {
		return errNoWebhook
	}
	s.state.count(func(c *Counts) { c.WebhookPosts++ })
	ctx, cancel := context.WithTimeout(ctx, webhookTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, hook.url, bytes.NewReader(event))
	if err != nil {
		return errors.New("webhook: the URL is malformed")
	}
	req.Header.Set("Content-Type", jsonType)
	req.Header.Set("User-Agent", "websmstest")
	if hook.secret != "" {
		req.Header.Set("Authorization", "Bearer "+hook.secret)
	}
	resp, err := s.state.hooks.client.Do(req)
	if err != nil {
		// Keep the cause only, because the query of the URL may hold a secret.
		if wrapped := new(url.Error); errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return fmt.Errorf("webhook: %w", err)
	}
	defer resp.Body.Close()
	// Read the body, so that the connection can be used again. If that fails, it is not reused.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("webhook answered %d, not 200", resp.StatusCode)
	}
	return nil
}
