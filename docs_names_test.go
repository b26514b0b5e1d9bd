package websms_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// declared holds the names that the Go files of this repository declare and use.
type declared struct {
	// members has the names that may stand behind a dot. Its keys are the names of
	// packages ("otp") and of types ("Store", "otp.Store"). Packages of one name,
	// and types of one name, share an entry.
	members  map[string]map[string]bool
	packages map[string]bool // our packages
	foreign  map[string]bool // the packages of others, by the name that a file imports them under
	words    map[string]bool // every identifier
}

func (d *declared) add(key, name string) {
	if d.members[key] == nil {
		d.members[key] = map[string]bool{}
	}
	d.members[key][name] = true
}

// declareType adds a type of a package, with its fields or the methods of its
// interface. An embedded type is a member too, by its own name.
func (d *declared) declareType(pkg string, spec *ast.TypeSpec) {
	d.add(pkg, spec.Name.Name)
	var fields *ast.FieldList
	switch t := spec.Type.(type) {
	case *ast.StructType:
		fields = t.Fields
	case *ast.InterfaceType:
		fields = t.Methods
	}
	for _, key := range []string{spec.Name.Name, pkg + "." + spec.Name.Name} {
		d.add(key, "")
		if fields == nil {
			continue
		}
		for _, field := range fields.List {
			for _, name := range field.Names {
				d.add(key, name.Name)
			}
			if len(field.Names) == 0 {
				d.add(key, typeName(field.Type))
			}
		}
	}
}

// typeName returns the name of a type without its package, pointer and arguments.
func typeName(expr ast.Expr) string {
	switch t := expr.(type) {
	case *ast.StarExpr:
		return typeName(t.X)
	case *ast.IndexExpr:
		return typeName(t.X)
	case *ast.IndexListExpr:
		return typeName(t.X)
	case *ast.SelectorExpr:
		return t.Sel.Name
	case *ast.Ident:
		return t.Name
	}
	return ""
}

func (d *declared) readFile(file *ast.File) {
	pkg := strings.TrimSuffix(file.Name.Name, "_test")
	d.packages[pkg] = true
	for _, spec := range file.Imports {
		from := strings.Trim(spec.Path.Value, `"`)
		if strings.HasPrefix(from, "github.com/caddy-websms/websms") {
			continue
		}
		name := path.Base(from)
		if regexp.MustCompile(`^v\d+$`).MatchString(name) {
			name = path.Base(path.Dir(from))
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		d.foreign[name] = true
	}
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Recv == nil {
				d.add(pkg, decl.Name.Name)
				continue
			}
			of := typeName(decl.Recv.List[0].Type)
			d.add(of, decl.Name.Name)
			d.add(pkg+"."+of, decl.Name.Name)
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					d.declareType(pkg, spec)
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						d.add(pkg, name.Name)
					}
				}
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			d.words[id.Name] = true
		}
		return true
	})
}

// readDeclared parses the Go files below root.
func readDeclared(t *testing.T, root string) *declared {
	t.Helper()
	d := &declared{
		members: map[string]map[string]bool{}, packages: map[string]bool{}, foreign: map[string]bool{}, words: map[string]bool{},
	}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "testdata"):
			return fs.SkipDir
		case entry.IsDir() || filepath.Ext(name) != ".go":
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		d.readFile(file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var (
	goFile    = regexp.MustCompile(`^[\w./-]+\.go$`)
	folder    = regexp.MustCompile(`^[\w.-]+(/[\w.-]+)*/$`)
	dottedGo  = regexp.MustCompile(`^\*?([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)(?:\(\))?$`)
	mixedCase = regexp.MustCompile(`^\*?([a-z]+[0-9]*[A-Z]\w*|Test[A-Z]\w*|Benchmark[A-Z]\w*|Fuzz[A-Z]\w*)(?:\(\))?$`)
)

// staleName says why a word in backticks names nothing in the repository at root. It
// returns "" if the thing exists, or if the word is no name of ours.
func (d *declared) staleName(root, word string) string {
	if goFile.MatchString(word) || folder.MatchString(word) {
		info, err := os.Stat(filepath.Join(root, filepath.FromSlash(word)))
		if err != nil || info.IsDir() != strings.HasSuffix(word, "/") {
			return "there is no such file or folder; write its path from the root"
		}
		return ""
	}
	if found := mixedCase.FindStringSubmatch(word); found != nil {
		if !d.words[found[1]] {
			return "no Go file has this name"
		}
		return ""
	}
	found := dottedGo.FindStringSubmatch(word)
	if found == nil {
		return ""
	}
	parts := strings.Split(found[1], ".")
	first, isLower := parts[0], found[1] == strings.ToLower(found[1])
	switch {
	case isLower && (!d.packages[first] || first == "websms"):
		return "" // an option, a file or a module ID, such as keys.json and websms.stores.redis
	case d.foreign[first]:
		return "" // such as http.Hijacker
	case d.members[first] == nil:
		if _, err := os.Stat(filepath.Join(root, word)); err == nil {
			return "" // such as README.md
		}
		return "there is no package and no type " + first
	}
	key := first
	for _, part := range parts[1:] {
		if !d.members[key][part] {
			return fmt.Sprintf("%s has no %s", key, part)
		}
		if key += "." + part; d.members[key] == nil {
			key = part
		}
	}
	return ""
}

// wordsInCode returns the words in backticks of a page's prose and tables, each with its
// first line.
func wordsInCode(text string) map[string]int {
	lines := map[string]int{}
	for i, line := range proseLines(text) {
		for _, found := range quoted.FindAllStringSubmatch(line, -1) {
			if _, ok := lines[found[1]]; !ok {
				lines[found[1]] = i + 1
			}
		}
	}
	return lines
}

// The pages for programmers name files, folders, functions, types and tests that exist.
//
// These things the test does not see: a name outside of backticks or inside of a code
// block; a single word such as `Archive` or `endpoints`, because options and values look
// alike; a package of ours that has the name of an imported one; which of two types of
// one name is meant; a member that an embedded type of another package promotes. For an
// unexported function without a package, such as `newFlow`, it asks only whether any Go
// file has the word.
func TestDocsNames(t *testing.T) {
	d := readDeclared(t, ".")
	pages, err := filepath.Glob("docs/decisions/*.md")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, name := range append(pages, "docs/architecture.md", "CONTRIBUTING.md") {
		words := wordsInCode(readPage(t, name))
		for _, word := range slices.Sorted(maps.Keys(words)) {
			checked++
			if why := d.staleName(".", word); why != "" {
				t.Errorf("%s:%d names `%s`: %s", filepath.ToSlash(name), words[word], word, why)
			}
		}
	}
	if checked < 200 {
		t.Errorf("only %d words in backticks were found", checked)
	}
}

// The test sees names that are gone, and takes no other word for one.
func TestDocsNamesRules(t *testing.T) {
	d := readDeclared(t, ".")
	for word, stale := range map[string]bool{
		"otp.Store": false, "otp.Store.Reserve": false, "Store.Reserve": false, "otp.Engine.send": false, "Gate.ServeHTTP": false,
		"connexus.Client.SendOTP": false, "number.Policy.Parse": false, "adminAPI.recoveryCode": false, "otp.NewEngine()": false,
		"otp.Shop": true, "otp.Store.Sell": true, "Store.Sell": true, "Gate.postSend": true, "shop.Sell": true, "Shop.sell": true,
		"identity.scrub": true, "memoryStore.sell": true,
		"newFlow": false, "soldOut": true, "TestDocsNames": false, "TestDocsShop": true,
		"module.go": false, "shop.go": true, "otp/store.go": false, "store.go": true, "otp/": false, "shop/": true,
		"http.Hijacker": false, "caddy.UsagePool": false, "net/http": false, "golang.org/x/sync": false,
		"keys.json": false, "memory.db": false, "websms.stores.redis": false, "http.auth.user.id": false,
		"app.example.com": false, "README.md": false,
		"/public/../admin": false, "//": false, "/admin/*": false, "Retry-After": false, "websms_otp": false, "change.lua": false,
		"caddy websms doctor": false, "3/10m": false, "capacity": false, "Origin: null": false,
	} {
		if why := d.staleName(".", word); (why != "") != stale {
			t.Errorf("%s: %q", word, why)
		}
	}
}
