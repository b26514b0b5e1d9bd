package websms_test

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mayImportCaddy are the only packages that may import Caddy. The architecture page cannot add one.
var mayImportCaddy = []string{
	".", "cmd/caddy/", "directory/", "memorystore/", "redisstore/", "websmstest/",
	"internal/block/", "internal/doctor/", "internal/firstfactor/", "internal/flow/", "internal/harness/", "internal/identity/",
	"internal/operator/", "internal/request/", "internal/routes/", "internal/secret/", "internal/shared/",
	"internal/telemetry/", "internal/vault/",
}

// room is a package, in the code or in the architecture page.
type room struct {
	imports []string // of this module, sorted, as the page writes them
	caddy   bool
}

var quoted = regexp.MustCompile("`([^`]+)`")

// drawnRooms returns the rows of the first table of rooms, from top to bottom.
func drawnRooms(t *testing.T, page string) (order []string, rooms map[string]room) {
	t.Helper()
	_, table, found := strings.Cut(page, "| place | promise | imports of ours | Caddy |\n|---|---|---|---|\n")
	if !found {
		t.Fatal("docs/architecture.md has no table of rooms")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	rooms = map[string]room{}
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 4 {
			t.Fatalf("docs/architecture.md: the row %q has not four cells", line)
		}
		name := quoted.FindStringSubmatch(cells[0])[1]
		if _, twice := rooms[name]; twice {
			t.Errorf("docs/architecture.md has two rows for %s", name)
		}
		r := room{caddy: strings.TrimSpace(cells[3]) == "yes"}
		for _, word := range quoted.FindAllStringSubmatch(cells[2], -1) {
			r.imports = append(r.imports, word[1])
		}
		order, rooms[name] = append(order, name), r
	}
	return order, rooms
}

// builtRooms returns the packages of this module with the imports of their code,
// tests left out.
func builtRooms(t *testing.T) map[string]room {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	const module = "github.com/caddy-websms/websms"
	place := func(path string) string {
		if path == module {
			return "."
		}
		return strings.TrimPrefix(path, module+"/") + "/"
	}
	rooms := map[string]room{}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); decoder.More(); {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := decoder.Decode(&p); err != nil {
			t.Fatal(err)
		}
		var r room
		for _, path := range p.Imports {
			switch {
			case path == module || strings.HasPrefix(path, module+"/"):
				r.imports = append(r.imports, place(path))
			case strings.HasPrefix(path, "github.com/caddyserver/caddy/"):
				r.caddy = true
			}
		}
		slices.Sort(r.imports)
		rooms[place(p.ImportPath)] = r
	}
	return rooms
}

// The architecture page has each package, with its imports. All of them stand below it
// in the table, so no package knows its caller.
func TestHouse(t *testing.T) {
	page, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	order, drawn := drawnRooms(t, string(page))
	built := builtRooms(t)
	for _, name := range slices.Sorted(maps.Keys(built)) {
		has, said := built[name], drawn[name]
		if !slices.Contains(order, name) {
			t.Errorf("docs/architecture.md has no row for %s, which imports %s", name, strings.Join(has.imports, ", "))
			continue
		}
		if !slices.Equal(has.imports, said.imports) {
			t.Errorf("%s imports %q; docs/architecture.md says %q", name, has.imports, said.imports)
		}
		if has.caddy != said.caddy {
			t.Errorf("%s imports Caddy: %t; docs/architecture.md says %t", name, has.caddy, said.caddy)
		}
		if has.caddy && !slices.Contains(mayImportCaddy, name) {
			t.Errorf("%s must not import Caddy", name)
		}
		for _, below := range has.imports {
			if slices.Index(order, below) < slices.Index(order, name) {
				t.Errorf("%s imports %s, which stands above it", name, below)
			}
		}
	}
	for _, name := range order {
		if _, ok := built[name]; !ok {
			t.Errorf("docs/architecture.md has a row for %s, which there is not", name)
		}
	}
}

// The root stays small: at most 20 files, each named by the architecture page.
func TestRoot(t *testing.T) {
	page, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "| file | content |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var named []string
	for _, word := range quoted.FindAllStringSubmatch(table, -1) {
		if strings.HasSuffix(word[1], ".go") {
			named = append(named, word[1])
		}
	}
	slices.Sort(named)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	files = slices.DeleteFunc(files, func(name string) bool { return strings.HasSuffix(name, "_test.go") })
	if len(files) > 20 {
		t.Errorf("the root has %d production files; it must not have more than 20", len(files))
	}
	if !slices.Equal(files, named) {
		t.Errorf("the root has %q; docs/architecture.md names %q", files, named)
	}
	for _, name := range []string{
		"go.mod", "go.sum", "module.go", "caddyfile.go", "otp_handler.go", "webhook_handler.go", "tokencache.go",
		"Caddyfile.example", "caddy_test.go", "README.md",
	} {
		if _, err := os.Stat(name); err != nil {
			t.Errorf("the root lacks %s: %v", name, err)
		}
	}
}
