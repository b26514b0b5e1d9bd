package websms_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

var (
	decisionFile = regexp.MustCompile(`^(\d{4})-[a-z0-9]+(?:-[a-z0-9]+)*\.md$`)
	indexRow     = regexp.MustCompile(`(?m)^\| \[(\d{4})\]\(([^)]+)\) \| (.+?) \| (.+) \|$`)
)

// maxProse is the longest line of prose on a page, in characters.
const maxProse = 120

// TestDecisions checks docs/decisions: the numbers begin at 1 and have no gap, each
// page has its title and its four sections in order, and the index has one row
// for each page, in the order of the numbers.
func TestDecisions(t *testing.T) {
	const folder = "docs/decisions"
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	index := readPage(t, filepath.Join(folder, "README.md"))
	checkProse(t, "README.md", index)
	rows := indexRow.FindAllStringSubmatch(index, -1)

	number := 0
	for _, entry := range entries { // sorted by name
		name := entry.Name()
		if name == "README.md" {
			continue
		}
		parts := decisionFile.FindStringSubmatch(name)
		if parts == nil {
			t.Errorf("%s: name it NNNN-short-title.md", name)
			continue
		}
		number++
		if want := fmt.Sprintf("%04d", number); parts[1] != want {
			t.Fatalf("%s: the next number is %s; numbers have no gap and none is given twice", name, want)
		}
		page := readPage(t, filepath.Join(folder, name))
		checkProse(t, name, page)
		title := checkDecision(t, name, number, page)

		if number > len(rows) {
			t.Errorf("%s has no row in the table of README.md", name)
			continue
		}
		row := rows[number-1]
		if row[1] != parts[1] || row[2] != name {
			t.Errorf("row %d of the table of README.md is about [%s](%s), and not about %s", number, row[1], row[2], name)
		}
		if row[3] != title {
			t.Errorf("%s has the title %q, and %q in README.md", name, title, row[3])
		}
	}
	if number == 0 {
		t.Fatal("docs/decisions has no pages")
	}
	if len(rows) != number {
		t.Errorf("the table of README.md has %d rows, and there are %d pages", len(rows), number)
	}
}

// TestArchitectureProse checks the length of lines in docs/architecture.md and the changelog.
func TestArchitectureProse(t *testing.T) {
	for _, name := range []string{"docs/architecture.md", "CHANGELOG.md"} {
		checkProse(t, name, readPage(t, name))
	}
}

// checkDecision checks the headings of one page and returns its title.
func checkDecision(t *testing.T, name string, number int, page string) (title string) {
	t.Helper()
	first, _, _ := strings.Cut(page, "\n")
	title, ok := strings.CutPrefix(first, fmt.Sprintf("# %d. ", number))
	if !ok || title == "" {
		t.Errorf("%s begins with %q: begin it with \"# %d. Title\"", name, first, number)
	}
	var headings, empty []string
	for _, section := range strings.Split(page, "\n## ")[1:] {
		heading, text, _ := strings.Cut(section, "\n")
		headings = append(headings, heading)
		if strings.TrimSpace(text) == "" {
			empty = append(empty, heading)
		}
	}
	const want = "Context, Decision, Considered, Consequences"
	if got := strings.Join(headings, ", "); got != want {
		t.Errorf("%s has the sections %q, want %q", name, got, want)
	}
	if len(empty) > 0 {
		t.Errorf("%s has nothing in %s", name, strings.Join(empty, ", "))
	}
	return title
}

// checkProse complains of long lines of prose. Tables and code blocks may be wider.
func checkProse(t *testing.T, name, page string) {
	t.Helper()
	code := false
	for i, line := range strings.Split(page, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			code = !code
		}
		if code || strings.HasPrefix(line, "|") {
			continue
		}
		if n := utf8.RuneCountInString(line); n > maxProse {
			t.Errorf("%s:%d has %d characters, and may have %d", name, i+1, n, maxProse)
		}
	}
}

func readPage(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
