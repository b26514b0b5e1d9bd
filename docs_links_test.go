package websms_test

import (
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-websms/websms"
	_ "github.com/caddy-websms/websms/redisstore"
)

// markdownFiles returns the text of every Markdown file of the repository. The key is the path from
// the root.
func markdownFiles(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (name == ".git" || d.Name() == "node_modules") {
			return fs.SkipDir
		}
		if d.IsDir() || path.Ext(name) != ".md" {
			return nil
		}
		text, err := os.ReadFile(filepath.FromSlash(name))
		files[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if files["README.md"] == "" || files["docs/caddyfile.md"] == "" {
		t.Fatal("README.md or docs/caddyfile.md was not found")
	}
	return files
}

// isGuide reports whether a file is for users of the plugin.
func isGuide(name string) bool { return name == "README.md" || strings.HasPrefix(name, "docs/") }

// proseLines returns the lines of a Markdown file. Lines of code blocks are empty, so the line
// numbers stay right.
func proseLines(text string) []string {
	lines, fence := strings.Split(text, "\n"), ""
	for i, line := range lines {
		mark := strings.TrimLeft(line, " ")
		switch {
		case fence == "" && (strings.HasPrefix(mark, "```") || strings.HasPrefix(mark, "~~~")):
			fence, lines[i] = mark[:3], ""
		case fence != "":
			if strings.HasPrefix(mark, fence) {
				fence = ""
			}
			lines[i] = ""
		}
	}
	return lines
}

var (
	inlineCode  = regexp.MustCompile("`[^`]*`")
	inlineLink  = regexp.MustCompile(`\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)`)
	linkTarget  = regexp.MustCompile(`^\[[^\]]+\]:\s+<?([^\s>]+)>?`)
	linkInTitle = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
	heading     = regexp.MustCompile(`^#{1,6}\s+(.*?)\s*#*\s*$`)
	namedAnchor = regexp.MustCompile(`<a\s+(?:id|name)="([^"]+)"`)
)

// anchorOf returns the anchor that GitHub makes from a heading. Letters become lower case, spaces
// become hyphens, and all characters except letters, digits, hyphens and underscores are removed.
func anchorOf(title string) string {
	title = linkInTitle.ReplaceAllString(title, "$1")
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r):
			return unicode.ToLower(r)
		}
		return -1
	}, title)
}

// anchorsOf returns all anchors of a page. GitHub adds numbers to headings that repeat.
func anchorsOf(text string) map[string]bool {
	anchors := map[string]bool{}
	for _, line := range proseLines(text) {
		for _, named := range namedAnchor.FindAllStringSubmatch(line, -1) {
			anchors[named[1]] = true
		}
		found := heading.FindStringSubmatch(line)
		if found == nil {
			continue
		}
		anchor := anchorOf(found[1])
		for n, unique := 1, anchor; ; n++ {
			if !anchors[unique] {
				anchors[unique] = true
				break
			}
			unique = anchor + "-" + strconv.Itoa(n)
		}
	}
	return anchors
}

// linksOf returns the targets of a page's links and pictures.
func linksOf(text string) (targets []string) {
	for _, line := range proseLines(text) {
		line = inlineCode.ReplaceAllString(line, "``")
		for _, found := range inlineLink.FindAllStringSubmatch(line, -1) {
			targets = append(targets, found[1])
		}
		if found := linkTarget.FindStringSubmatch(line); found != nil {
			targets = append(targets, found[1])
		}
	}
	return targets
}

// brokenLink says why a link does not resolve, or returns "".
func brokenLink(files map[string]string, from, target string) string {
	u, err := url.Parse(target)
	if err != nil {
		return err.Error()
	}
	if u.Scheme != "" || u.Host != "" {
		return "" // on another site
	}
	name := from
	if u.Path != "" {
		name = path.Join(path.Dir(from), u.Path)
	}
	if path.IsAbs(u.Path) || strings.HasPrefix(name, "..") {
		return "it leads out of the repository"
	}
	if _, err := os.Stat(filepath.FromSlash(name)); err != nil {
		return "there is no such file"
	}
	if u.Fragment != "" && !anchorsOf(files[name])[u.Fragment] {
		return "there is no such heading"
	}
	return ""
}

// Every relative link in a Markdown file leads to an existing file and heading.
func TestDocsLinks(t *testing.T) {
	files, count := markdownFiles(t), 0
	for name, text := range files {
		for _, target := range linksOf(text) {
			count++
			if why := brokenLink(files, name, target); why != "" {
				t.Errorf("%s: %s: %s", name, target, why)
			}
		}
	}
	if count < 50 {
		t.Errorf("only %d links were found", count)
	}
}

// Anchors and links follow the rules of GitHub.
func TestDocsLinkRules(t *testing.T) {
	page := "# The `store redis`\n## Again\n## Again\n## A [link](x.md), and more\n### Über 1 & 2_3 - x\n```\n" +
		"# no heading\n[no](link.md)\n```\n" +
		"[a](b.md#c \"title\") `[no](link.md)` ![p](<d.png>)\n[ref]: e.md\n"
	for _, want := range []string{"the-store-redis", "again", "again-1", "a-link-and-more", "über-1--2_3---x"} {
		if !anchorsOf(page)[want] {
			t.Errorf("no anchor %s in %v", want, anchorsOf(page))
		}
	}
	if anchorsOf(page)["no-heading"] {
		t.Error("a comment in a code block is taken for a heading")
	}
	if got := strings.Join(linksOf(page), " "); got != "x.md b.md#c d.png e.md" {
		t.Errorf("the links are %s", got)
	}
	files := map[string]string{"README.md": "# Here\n", "docs/x.md": "# There\n"}
	for target, broken := range map[string]bool{
		"#here": false, "#gone": true, "README.md#here": false, "LICENSE": false, "docs": false, "gone.md": true,
		"../README.md": true, "/README.md": true, "https://example.com/gone#gone": false,
	} {
		if why := brokenLink(files, "README.md", target); (why != "") != broken {
			t.Errorf("%s: %q", target, why)
		}
	}
}

// wrapBlock completes a part of a Caddyfile. By the first word it adds a site, a gate or an app
// around it. It returns other blocks unchanged.
func wrapBlock(block string) string {
	site := func(text string) string { return "app.example.com {\n" + text + "\n}\n" }
	first, _, _ := strings.Cut(strings.TrimSpace(block), " ")
	switch first {
	case "websms_otp", "websms_webhook", "basic_auth", "forward_auth", "tls", "log":
		return site(block)
	case "code", "numbers", "second_factor", "session", "limits", "bypass", "headers":
		return site("websms_otp {\ncompany Acme\n" + block + "\n}")
	case "store":
		return "{\nwebsms {\nclient_id x\nclient_secret x\n" + block + "\n}\n}\n"
	}
	return block
}

// Every Caddyfile of README.md and of docs/ adapts.
func TestDocsCaddyfiles(t *testing.T) {
	adapter, count := caddyconfig.GetAdapter("caddyfile"), 0
	for name, text := range markdownFiles(t) {
		if !isGuide(name) {
			continue
		}
		for _, found := range regexp.MustCompile("(?ms)^```caddyfile\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
			count++
			_, _, err := adapter.Adapt([]byte(wrapBlock(found[1])), map[string]any{"filename": "Caddyfile"})
			if err != nil && !strings.Contains(err.Error(), "events.handlers.exec") { // another plugin has this module
				t.Errorf("%s: %v in\n%s", name, err, found[1])
			}
		}
	}
	if count < 20 {
		t.Errorf("only %d Caddyfiles were found", count)
	}
}

// maxDocsLine is the most characters of a line in the documentation.
const maxDocsLine = 120

// No line of the documentation is too long, outside of tables and code blocks.
// The address of a link cannot be broken, so it does not count.
func TestDocsLineLength(t *testing.T) {
	address := regexp.MustCompile(`\]\([^)]*\)|<https?://[^>]*>`)
	for name, text := range markdownFiles(t) {
		if !isGuide(name) && name != "SECURITY.md" && name != "CONTRIBUTING.md" {
			continue
		}
		for i, line := range proseLines(text) {
			if strings.HasPrefix(strings.TrimSpace(line), "|") {
				continue
			}
			if n := utf8.RuneCountInString(address.ReplaceAllString(line, "]")); n > maxDocsLine {
				t.Errorf("%s:%d has %d characters: wrap it at %d", name, i+1, n, maxDocsLine)
			}
		}
	}
}
