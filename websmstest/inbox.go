package websmstest

import (
	"bytes"
	"embed"
	"errors"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

//go:embed inbox
var inboxFiles embed.FS

var inboxPage = template.Must(template.ParseFS(inboxFiles, "inbox/inbox.html"))

// assets serves the files that the page loads. The page refers to them by relative
// paths, so that it also works below a path prefix.
var assets = func() http.Handler {
	sub, err := fs.Sub(inboxFiles, "inbox")
	if err != nil {
		panic(err) // a constant path
	}
	return http.FileServerFS(sub)
}()

const (
	maxForm   = 8 << 10 // bytes
	maxDomain = 253     // characters
)

// inboxHandler returns the handler of the inbox page.
func (s *Simulator) inboxHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.servePage)
	mux.HandleFunc("GET /events", s.serveEvents)
	mux.HandleFunc("POST /reply", s.postReply)
	mux.HandleFunc("POST /delivery", s.postDelivery)
	mux.HandleFunc("POST /whitelist", s.postWhitelist)
	for _, name := range []string{"inbox.css", "inbox.js", "icon.svg"} {
		mux.Handle("GET /"+name, assets)
	}
	return secureHeaders(http.NewCrossOriginProtection().Handler(mux))
}

func secureHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
			"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		// With "no-referrer", browsers would send "Origin: null" with the forms of
		// the page (Fetch standard, "append a request Origin header"). They would
		// then be refused as cross-origin.
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// pageData is the data of the template "inbox.html".
type pageData struct {
	Since    string // the event ID that the page's event stream begins after
	Webhook  string // the URL of the webhook without user and query
	Choices  []choice
	Next     choice // the selected one
	Messages []bubble
}

// choice is one way of delivery that a person can select.
type choice struct {
	Value    Delivery
	Label    string
	Selected bool
}

// bubble is the data of the template "message".
type bubble struct {
	Message
	Before, After string // the parts of Body around the code
	Label         string // the text for State
	Trouble       string
}

func newBubble(m seen) bubble {
	before, after, _ := strings.Cut(m.Body, m.Code)
	if m.Code == "" {
		before, after = m.Body, ""
	}
	labels := map[string]string{
		"accepted":    "On its way",
		"queued":      "Waiting at the carrier",
		"delivered":   "Delivered",
		"undelivered": "Not delivered",
		"rejected":    "Rejected by the carrier",
		"blocked":     "Blocked",
	}
	label := labels[m.State]
	switch {
	case m.Held != "":
		label = "Held back: its text names " + m.Held + ", which is not whitelisted"
	case m.optedOut:
		label = "Blocked: this phone has answered STOP. START undoes it"
	}
	return bubble{Message: m.Message, Before: before, After: after, Label: label, Trouble: m.trouble}
}

// choices returns the ways of delivery, with the current one selected.
func (s *Simulator) choices(current Delivery) (all []choice, selected choice) {
	after := func(d time.Duration) string {
		if d == 0 {
			return ""
		}
		return " after " + d.String()
	}
	all = []choice{
		{Value: DeliverNow, Label: "delivered" + after(s.opts.DeliveryDelay)},
		{Value: DeliverLate, Label: "delivered late," + after(s.opts.LateDelay)},
		{Value: Undelivered, Label: "not delivered"},
		{Value: Rejected, Label: "rejected by the carrier"},
		{Value: Blocked, Label: "blocked by WebSMS"},
		{Value: Silent, Label: "never reported on"},
	}
	for i := range all {
		if all[i].Value == current {
			all[i].Selected = true
			selected = all[i]
		}
	}
	return all, selected
}

func (s *Simulator) servePage(w http.ResponseWriter, r *http.Request) {
	v := s.state.since(0)
	data := pageData{
		Since:    s.eventID(v.rev),
		Webhook:  publicURL(s.webhook.Load().url),
		Messages: make([]bubble, len(v.messages)),
	}
	data.Choices, data.Next = s.choices(v.delivery)
	for i, m := range v.messages {
		data.Messages[i] = newBubble(m)
	}
	var page bytes.Buffer
	if err := inboxPage.Execute(&page, data); err != nil {
		http.Error(w, "the page cannot be rendered: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(page.Len()))
	_, _ = page.WriteTo(w) // fails only if the client is gone
}

// publicURL returns a URL without its user and its query, because both may hold a
// secret.
func publicURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "an address that is malformed"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// postReply handles the form of a reply. The post to the webhook runs in the
// background, and the page shows its outcome.
func (s *Simulator) postReply(w http.ResponseWriter, r *http.Request) {
	if !parseForm(w, r) {
		return
	}
	body := strings.TrimSpace(r.PostFormValue("body"))
	if err := checkReply(body); err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	m, err := s.state.find(r.PostFormValue("id"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	if err := s.state.hooks.start(&post{sim: s, msg: m, event: s.reply(m, body)}, 0); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	seeOther(w, "./#"+m.ID)
}

// postDelivery handles the form that selects the delivery of the next message.
func (s *Simulator) postDelivery(w http.ResponseWriter, r *http.Request) {
	if !parseForm(w, r) {
		return
	}
	d := Delivery(r.PostFormValue("next"))
	if _, known := s.choices(d); known.Value == "" {
		http.Error(w, "no such way of delivery", http.StatusUnprocessableEntity)
		return
	}
	s.SetDelivery(d)
	seeOther(w, "./")
}

// postWhitelist handles the form of a message that is held.
func (s *Simulator) postWhitelist(w http.ResponseWriter, r *http.Request) {
	if !parseForm(w, r) {
		return
	}
	domain := strings.TrimSpace(r.PostFormValue("domain"))
	if domain == "" || len(domain) > maxDomain {
		http.Error(w, "no such domain", http.StatusUnprocessableEntity)
		return
	}
	s.Whitelist(domain)
	seeOther(w, "./")
}

// parseForm parses a form. If ok is false, parseForm has replied.
func parseForm(w http.ResponseWriter, r *http.Request) (ok bool) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	err := r.ParseForm()
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		http.Error(w, "the form is too large", http.StatusRequestEntityTooLarge)
		return false
	}
	if err != nil {
		http.Error(w, "the form is malformed", http.StatusBadRequest)
		return false
	}
	return true
}

// seeOther redirects to a relative reference. http.Redirect would make it absolute,
// which breaks it below a path prefix.
func seeOther(w http.ResponseWriter, location string) {
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusSeeOther)
}
