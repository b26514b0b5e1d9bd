// Package pages writes the web pages of a gate: the number form, the code form, the recovery code
// form, and the pages that report an error and its next step.
//
// Its promises:
//
//   - Every page works without JavaScript. With it, the code page also takes the code from the SMS
//     (WebOTP), counts down to the next resend, and follows the delivery of the message.
//   - Every page loads files of this origin only: no framework, no font and no image of another
//     site. It has no inline script or style, so the Content Security Policy forbids all of them.
//   - html/template escapes all data for its context.
//   - No page holds a code.
//
// The package imports the standard library only. It knows no request, no session and no challenge:
// a caller fills a [View] and chooses where to write it.
package pages

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

//go:embed templates assets
var files embed.FS

// Pages holds the parsed templates and the fingerprinted assets of one gate. It is safe for
// concurrent use.
type Pages struct {
	company   string
	templates map[string]*template.Template // by View.view
	assets    map[string]asset              // by fingerprinted name
	buffers   sync.Pool
}

// A View is one page: a [Login], a [Verify], a [Recover] or a [Message].
type View interface {
	view() string  // name of the template
	title() string // text before the company in the browser's title bar
	model() any    // data for the template
}

// New parses the pages of one gate. All links and assets begin with prefix. It is an absolute path
// without a slash at its end, such as "/.websms". The company heads every page and must not be
// empty.
func New(prefix, company string) (*Pages, error) {
	if !strings.HasPrefix(prefix, "/") || strings.HasPrefix(prefix, "//") || strings.HasSuffix(prefix, "/") {
		return nil, fmt.Errorf("pages: prefix %q: use an absolute path without a slash at its end, such as /.websms", prefix)
	}
	if strings.TrimSpace(company) == "" {
		return nil, errors.New("pages: company is empty: say whose pages these are")
	}

	assets, names, err := fingerprint()
	if err != nil {
		return nil, err
	}
	below := func(path string) string { return prefix + "/" + path }
	layout, err := template.New("layout.html").Funcs(template.FuncMap{
		"below": below,
		"asset": func(name string) (string, error) {
			if fingerprinted, ok := names[name]; ok {
				return below("assets/" + fingerprinted), nil
			}
			return "", fmt.Errorf("no asset %q", name)
		},
		"href": func(href string) string {
			if strings.HasPrefix(href, "/") && !strings.HasPrefix(href, "//") {
				return href
			}
			return below(href)
		},
		"duration": duration,
		"plain":    plain,
	}).ParseFS(files, "templates/layout.html")
	if err != nil {
		return nil, fmt.Errorf("pages: layout: %w", err)
	}

	p := &Pages{
		company:   company,
		templates: make(map[string]*template.Template),
		assets:    assets,
		buffers:   sync.Pool{New: func() any { return new(bytes.Buffer) }},
	}
	for _, v := range []View{Login{}, Verify{}, Recover{}, Message{}} {
		t, err := layout.Clone()
		if err == nil {
			t, err = t.ParseFS(files, "templates/problem.html", "templates/"+v.view()+".html")
		}
		if err != nil {
			return nil, fmt.Errorf("pages: %s: %w", v.view(), err)
		}
		p.templates[v.view()] = t
	}
	return p, nil
}

// plain escapes s for the text of an element. html/template would also escape a plus sign, which
// the text of an element does not need. Without that, the page's source shows a masked number as
// the reader sees it.
func plain(s string) template.HTML { return template.HTML(html.EscapeString(s)) }

// Write answers with the view as an HTML page: headers, status and body. It keeps headers that the
// caller has set before, such as Set-Cookie and Retry-After. Write renders the whole page before it
// writes the first byte. So if rendering fails, nothing has been written.
func (p *Pages) Write(w http.ResponseWriter, status int, v View) error {
	buf := p.buffers.Get().(*bytes.Buffer)
	defer p.buffers.Put(buf)
	buf.Reset()

	err := p.templates[v.view()].Execute(buf, struct {
		Company, Title, Name string
		View                 any
	}{p.company, v.title(), v.view(), v.model()})
	if err != nil {
		return fmt.Errorf("pages: rendering %s: %w", v.view(), err)
	}

	setHeaders(w.Header(), v)
	w.Header().Set("Content-Length", strconv.Itoa(buf.Len()))
	w.WriteHeader(status)
	if _, err := w.Write(buf.Bytes()); err != nil {
		return fmt.Errorf("pages: writing %s: %w", v.view(), err)
	}
	return nil
}
