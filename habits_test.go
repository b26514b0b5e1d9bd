package websms_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// CONTRIBUTING.md names files in backticks, from the root of the repository. A
// name that ends in a slash is a folder.
func TestContributingNamesFiles(t *testing.T) {
	text, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	prose := regexp.MustCompile("(?s)```.*?```").ReplaceAllString(string(text), "")
	named := regexp.MustCompile("`([A-Za-z0-9_.][A-Za-z0-9_./-]*(?:/|\\.(?:go|js|json|md|mod|txt|yml)|/run))`")
	files := make(map[string]bool)
	for _, found := range named.FindAllStringSubmatch(prose, -1) {
		files[found[1]] = true
	}
	if len(files) < 40 {
		t.Errorf("only %d files were found", len(files))
	}
	for name := range files {
		if name == "go.mod" || name == "module.go" { // several packages have a file of that name
			continue
		}
		info, err := os.Stat(filepath.FromSlash(name))
		switch {
		case err != nil:
			t.Errorf("CONTRIBUTING.md names %s: %v", name, err)
		case info.IsDir() != strings.HasSuffix(name, "/"):
			t.Errorf("CONTRIBUTING.md names %s: only the name of a folder ends in a slash", name)
		}
	}
}

// Every YAML file parses, and so do those of .github.
func TestYAMLParses(t *testing.T) {
	count := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == ".git":
			return fs.SkipDir
		case d.IsDir() || !slices.Contains([]string{".yml", ".yaml"}, filepath.Ext(path)):
			return nil
		}
		count++
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		for documents := yaml.NewDecoder(file); ; {
			var document map[string]any
			if err := documents.Decode(&document); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				t.Errorf("%s: %v", path, err)
				return nil
			}
			if len(document) == 0 {
				t.Errorf("%s: a document is empty", path)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if count < 7 { // the workflow, dependabot, three of issues, the alerts and their test
		t.Errorf("only %d YAML files were found", count)
	}
}

// Issues are public: each form says what must not be in one, before it asks for anything.
func TestIssueFormsWarn(t *testing.T) {
	for _, name := range []string{"bug.yml", "feature.yml"} {
		text, err := os.ReadFile(filepath.Join(".github", "ISSUE_TEMPLATE", name))
		if err != nil {
			t.Fatal(err)
		}
		var form struct {
			Name, Description string
			Body              []struct {
				Type       string
				Attributes struct{ Value string }
			}
		}
		if err := yaml.Unmarshal(text, &form); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if form.Name == "" || form.Description == "" || len(form.Body) < 2 {
			t.Errorf("%s has no name, no description or no questions", name)
			continue
		}
		const warning = "Do not paste phone numbers, codes, secrets, tokens or cookies."
		if first := form.Body[0]; first.Type != "markdown" || !strings.Contains(first.Attributes.Value, warning) {
			t.Errorf("%s does not begin with %q", name, warning)
		}
	}
}

// The script refuses a mistyped word. Otherwise it would run for long or do nothing.
func TestRunRefusesUnknownWords(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash on this machine")
	}
	for _, words := range [][]string{{"nonsense"}, {"quick", "nonsense"}, {"-h"}} {
		out, err := exec.Command(bash, append([]string{".ci/run"}, words...)...).CombinedOutput()
		if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != 2 {
			t.Errorf("%q ended with %v, want exit status 2", words, err)
		}
		for _, known := range []string{"quick", "cross", "full", words[len(words)-1]} {
			if !strings.Contains(string(out), known) {
				t.Errorf("%q: %q does not name %s", words, out, known)
			}
		}
	}
}
