package pages

import (
	"fmt"
	"io"
	"iter"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// These helpers read a page as a browser does.

func parse(t *testing.T, page string) *html.Node {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func elements(doc *html.Node) iter.Seq[*html.Node] {
	return func(yield func(*html.Node) bool) {
		for n := range doc.Descendants() {
			if n.Type == html.ElementNode && !yield(n) {
				return
			}
		}
	}
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, key string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == key })
}

// find returns the elements of that name with these attributes. The attributes are key, value
// pairs.
func find(doc *html.Node, name string, attrs ...string) []*html.Node {
	var found []*html.Node
next:
	for n := range elements(doc) {
		if n.Data != name {
			continue
		}
		for i := 0; i < len(attrs); i += 2 {
			if attr(n, attrs[i]) != attrs[i+1] {
				continue next
			}
		}
		found = append(found, n)
	}
	return found
}

// one is find for an element that must be there exactly once.
func one(t *testing.T, doc *html.Node, name string, attrs ...string) *html.Node {
	t.Helper()
	found := find(doc, name, attrs...)
	if len(found) != 1 {
		t.Fatalf("%d elements <%s %q>, want 1", len(found), name, attrs)
	}
	return found[0]
}

// text returns the text of a node, with white space as a reader sees it.
func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func page(t *testing.T, v View) *html.Node {
	t.Helper()
	return parse(t, write(t, newPages(t), 200, v).Body.String())
}

// These rules hold for every page.
func TestMarkupOfEveryPage(t *testing.T) {
	p := newPages(t)
	for name, v := range everyView() {
		t.Run(name, func(t *testing.T) {
			body := write(t, p, 200, v).Body.String()
			if err := wellFormed(body); err != nil {
				t.Fatal(err)
			}
			doc := parse(t, body)
			if !strings.HasPrefix(body, "<!DOCTYPE html>\n") {
				t.Error("no doctype")
			}
			one(t, doc, "html", "lang", "en")
			one(t, doc, "h1")
			one(t, doc, "main")
			one(t, doc, "meta", "charset", "utf-8")
			one(t, doc, "meta", "name", "viewport", "content", "width=device-width, initial-scale=1")
			one(t, doc, "meta", "name", "color-scheme", "content", "light dark")
			one(t, doc, "meta", "name", "referrer", "content", "same-origin")
			if got, want := text(one(t, doc, "title")), v.title()+" – Harbour Bank"; got != want {
				t.Errorf("title %q, want %q", got, want)
			}
			if autofocus := countAttr(doc, "autofocus"); autofocus > 1 {
				t.Errorf("%d elements want the focus", autofocus)
			}
			checkReferences(t, doc)
			checkControls(t, doc)
			checkNothingForeign(t, p, doc)
		})
	}
}

func countAttr(doc *html.Node, key string) (n int) {
	for e := range elements(doc) {
		if has(e, key) {
			n++
		}
	}
	return n
}

// checkReferences checks that ids are unique, and that every reference leads to an id on the page.
func checkReferences(t *testing.T, doc *html.Node) {
	t.Helper()
	ids := make(map[string]bool)
	for n := range elements(doc) {
		if id := attr(n, "id"); id != "" {
			if ids[id] {
				t.Errorf("id %q twice", id)
			}
			ids[id] = true
		}
	}
	for n := range elements(doc) {
		for _, key := range []string{"for", "aria-describedby", "aria-labelledby", "aria-controls"} {
			for _, id := range strings.Fields(attr(n, key)) {
				if !ids[id] {
					t.Errorf("<%s %s=%q>: no such id", n.Data, key, id)
				}
			}
		}
	}
}

// checkControls checks that every form posts below the prefix, and that every field and link has a
// name.
func checkControls(t *testing.T, doc *html.Node) {
	t.Helper()
	for _, form := range find(doc, "form") {
		if attr(form, "method") != "post" || !strings.HasPrefix(attr(form, "action"), prefix+"/") {
			t.Errorf("form method=%q action=%q", attr(form, "method"), attr(form, "action"))
		}
		if len(find(form, "button")) != 1 {
			t.Errorf("form %s has %d buttons, want 1", attr(form, "action"), len(find(form, "button")))
		}
	}
	for _, input := range find(doc, "input") {
		if attr(input, "type") != "hidden" && text(one(t, doc, "label", "for", attr(input, "id"))) == "" {
			t.Errorf("input %q has an empty label", attr(input, "name"))
		}
	}
	for _, name := range []string{"a", "button"} {
		for _, n := range find(doc, name) {
			if text(n) == "" {
				t.Errorf("<%s> without words", name)
			}
		}
	}
}

// checkNothingForeign checks that the page keeps to its own Content Security Policy: no inline
// script or style, and no resource of another origin.
func checkNothingForeign(t *testing.T, p *Pages, doc *html.Node) {
	t.Helper()
	for n := range elements(doc) {
		if n.Data == "style" || (n.Data == "script" && (n.FirstChild != nil || !has(n, "defer"))) {
			t.Errorf("inline <%s>", n.Data)
		}
		for _, a := range n.Attr {
			if a.Key == "style" || strings.HasPrefix(a.Key, "on") || strings.HasPrefix(strings.TrimSpace(a.Val), "javascript:") {
				t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
			}
		}
		ref := attr(n, "src")
		if n.Data == "link" {
			ref = attr(n, "href")
		}
		if ref == "" {
			continue
		}
		name, ok := strings.CutPrefix(ref, prefix+"/assets/")
		if !ok || !p.ServeAsset(httptest.NewRecorder(), httptest.NewRequest("GET", ref, nil), name) {
			t.Errorf("<%s> loads %q, which is no asset", n.Data, ref)
		}
	}
}

// voidElements are those of the pages' elements that have no end tag (HTML, section 13.1.2).
var voidElements = []string{"meta", "link", "input"}

// wellFormed reports the first tag that is not closed where it was opened, and the first attribute
// that a tag has twice. A browser would repair both in silence.
func wellFormed(page string) error {
	var open []string
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		switch z.Next() {
		case html.ErrorToken:
			if z.Err() != io.EOF {
				return z.Err()
			}
			if len(open) > 0 {
				return fmt.Errorf("never closed: %q", open)
			}
			return nil
		case html.StartTagToken:
			tag := z.Token()
			seen := make(map[string]bool)
			for _, a := range tag.Attr {
				if seen[a.Key] {
					return fmt.Errorf("<%s>: %s twice", tag.Data, a.Key)
				}
				seen[a.Key] = true
			}
			if !slices.Contains(voidElements, tag.Data) {
				open = append(open, tag.Data)
			}
		case html.EndTagToken:
			tag := z.Token().Data
			if len(open) == 0 || open[len(open)-1] != tag {
				return fmt.Errorf("</%s> within %q", tag, open)
			}
			open = open[:len(open)-1]
		}
	}
}
