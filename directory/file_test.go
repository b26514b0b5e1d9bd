package directory

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/internal/harness"
	"github.com/caddy-websms/websms/number"
)

// numbersOf returns the numbers of the users, without their lines.
func numbersOf(users map[string]listing) map[string]string {
	out := make(map[string]string)
	for user, l := range users {
		out[user] = l.number.E164
	}
	return out
}

func TestReadUsers(t *testing.T) {
	parse := harness.Numbers(t, []string{"NZ", "AU"}).Parse
	const one, two, au = "+6421234567", "+6421234568", "+61412345678"
	for _, c := range []struct {
		name, text string
		want       map[string]string
	}{
		{"plain", "alice,+6421234567\nbob,+6421234568\n", map[string]string{"alice": one, "bob": two}},
		{"no line end", "alice,+6421234567", map[string]string{"alice": one}},
		{"local spellings", "alice,021 234 567\nbob,(021) 234-568\nzoe,0412 345 678", map[string]string{"alice": one, "bob": two, "zoe": au}},
		{"as a spreadsheet drops the nought", "alice,21234567\n", map[string]string{"alice": one}},
		{"header", "user,number\nalice,021 234 567\n", map[string]string{"alice": one}},
		{"header alone", "user,number\n", map[string]string{}},
		{"header after comments", "# staff\n\nLogin name,Mobile\nalice,021 234 567\n", map[string]string{"alice": one}},
		{"nothing", "", map[string]string{}},
		{"comments alone", "# nobody\n#\n", map[string]string{}},
		{"comment in between", "alice,021234567\n#bob,021234568\n", map[string]string{"alice": one}},
		{"comment with a quote", "# the \"warehouse\nalice,021234567\n", map[string]string{"alice": one}},
		{"user that begins as a comment", "\"#bob\",021234568\n", map[string]string{"#bob": two}},
		{"empty lines", "\n\nalice,021234567\n\n  \n\t\n,\n , \nbob,021234568\n\n", map[string]string{"alice": one, "bob": two}},
		{"BOM", "\ufeffuser,number\nalice,021234567\n", map[string]string{"alice": one}},
		{"BOM before a user", "\ufeffalice,021234567\n", map[string]string{"alice": one}},
		{"BOM before a quote", "\ufeff\"alice\",021234567\n", map[string]string{"alice": one}},
		{"CRLF", "user,number\r\nalice,021234567\r\n\r\nbob,021234568\r\n", map[string]string{"alice": one, "bob": two}},
		{"spaces", "  alice  ,\t021 234 567 \n bob,  \"021 234 568\"\n", map[string]string{"alice": one, "bob": two}},
		{"space within quotes", "\" alice \",\" 021 234 567 \"\n", map[string]string{"alice": one}},
		{"subject", "\"CN=alice,O=Example\",021 234 567\n\"CN=bob \"\"the builder\"\",O=Example\",021234568\n",
			map[string]string{"CN=alice,O=Example": one, `CN=bob "the builder",O=Example`: two}},
		{"byte for byte", "alice,021234567\nAlice,021234568\nALICE,0412345678\n", map[string]string{"alice": one, "Alice": two, "ALICE": au}},
		{"composed and not", "Zo\u00eb,021234567\nZoe\u0308,021234568\n", map[string]string{"Zo\u00eb": one, "Zoe\u0308": two}},
		{"many share a number", "alice,021234567\nbob,021 234 567\n", map[string]string{"alice": one, "bob": one}},
		{"as long as can be", strings.Repeat("u", 255) + ",021234567\n", map[string]string{strings.Repeat("u", 255): one}},
		{"spaces in the middle", "Alice Liddell,021234567\n", map[string]string{"Alice Liddell": one}},
	} {
		users, err := readUsers(strings.NewReader(c.text), parse)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if got := numbersOf(users); !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestReadUsersMistakes(t *testing.T) {
	parse := harness.Numbers(t, []string{"NZ"}).Parse
	for _, c := range []struct{ name, text, want string }{
		{"no number", "alice,021234567\nbob,\n", "line 2: the number is missing"},
		{"no number in the first line", "alice,\n", "line 1: the number is missing"},
		{"landline", "alice,09 555 1234\n", "line 1: not a mobile number"},
		{"words where a number is due", "user,number\nalice,unknown\n", "line 2: not a mobile number"},
		{"scientific, as a spreadsheet writes it", "alice,6.42123E+10\n", "line 1: not a mobile number"},
		{"another country", "user,number\n\n# x\nalice,+61 412 345 678\n", "line 4: mobile number of a country that is not served"},
		{"no user", ",021234567\n", "line 1: the user is missing"},
		{"blank user", "\"  \",021234567\n", "line 1: the user is missing"},
		{"long user", strings.Repeat("u", 256) + ",021234567\n", "line 1: the user has 256 bytes, more than 255"},
		{"control character", "al\x07ice,021234567\n", "line 1: the user holds a control character"},
		{"C1 control character", "al\u0085ice,021234567\n", "line 1: the user holds a control character"},
		{"line break in a user", "\"al\nice\",021234567\nbob,0\n", "line 1: the user holds a control character; line 3: not a mobile number"},
		{"two files in one", "alice,021234567\n\ufeffbob,021234568\n", "line 2: the user holds a control character"},
		{"Latin-1", "Zo\xeb,021234567\n", "line 1: the user is not in UTF-8"},
		{"one column", "user,number\nalice\n", "line 2: not two columns, user,number"},
		{"three columns", "alice,021234567,the warehouse\n", "line 1: not two columns"},
		{"header of three columns", "user,number,place\n", "line 1: not two columns"},
		{"header of one column", "user\nalice,021234567\n", "line 1: not two columns"},
		{"second header", "user,number\nuser,number\n", "line 2: not a mobile number"},
		{"semicolons", "alice;021234567\n",
			"line 1: not two columns, user,number: a comma separates them, and a user with a comma stands in quotes"},
		{"subject without quotes", "CN=alice,O=Example,021234567\n", "line 1: not two columns"},
		{"twice", "alice,021234567\nbob,021234568\n\n alice ,021234569\n", "line 4: the user of line 1 again: keep one of them"},
		{"twice the same", "alice,021234567\nalice,021 234 567\n", "line 2: the user of line 1 again"},
		{"quote within", "alice,021234567\nal\"ice,021234568\nbob,0\n",
			"line 2: a quote stands where none can: put the whole column in quotes, and double each quote in it; line 3: not a"},
		{"quote without end", "alice,021234567\n\"bob,021234568\ncarol,021234569\n", "line 2: a quote stands where none can"},
		{"space behind a quote", "\"alice\" ,021234567\n", "line 1: a quote stands where none can"},
		{"old Macintosh", "alice,021234567\rbob,021234568\r", "line 1: not two columns"},
		{"UTF-16", "\xff\xfea\x00,\x000\x00", "this is text in UTF-16: save it as CSV in UTF-8"},
		{"UTF-16, other end", "\xfe\xff\x00a\x00,\x000", "this is text in UTF-16"},
		{"UTF-16 without a mark", "a\x00,\x000\x00", "this is not text: save it as CSV in UTF-8"},
		{"a spreadsheet's own format", "PK\x03\x04\x14\x00\x06\x00", "this is not text"},
		{"NUL far behind", "alice,021234567\n" + strings.Repeat("#\n", 300) + "b\x00b,021234568\n",
			"line 302: the user holds a control character"},
	} {
		users, err := readUsers(strings.NewReader(c.text), parse)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v and %v, want %s", c.name, users, err, c.want)
			continue
		}
		for _, secret := range []string{"21234", "5551234", "6.42", "412 345", "alice", "warehouse"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error repeats %q: %v", c.name, secret, err)
			}
		}
	}
}

// The error names the first ten of many mistakes.
func TestReadUsersManyMistakes(t *testing.T) {
	text := "user,number\nalice,021234567\n" + strings.Repeat("nobody\n", 1000)
	_, err := readUsers(strings.NewReader(text), harness.Numbers(t, []string{"NZ"}).Parse)
	if err == nil || !strings.HasPrefix(err.Error(), "line 3: ") || !strings.Contains(err.Error(), "line 12: ") ||
		strings.Contains(err.Error(), "line 13: ") || !strings.HasSuffix(err.Error(), "; and 990 more") {
		t.Errorf("a thousand mistakes give %v", err)
	}
}

// failingReader returns a text, and then an error.
type failingReader struct{ text *strings.Reader }

func (f failingReader) Read(p []byte) (int, error) {
	if n, err := f.text.Read(p); err == nil {
		return n, nil
	}
	return 0, errors.New("the disk is gone")
}

// A file that cannot be read to its end is refused.
func TestReadUsersBreaksOff(t *testing.T) {
	for _, n := range []int{0, 1, 100} {
		text := strings.NewReader(strings.Repeat("# x\n", n*20))
		users, err := readUsers(failingReader{text}, harness.Numbers(t, []string{"NZ"}).Parse)
		if err == nil || !strings.Contains(err.Error(), "the disk is gone") {
			t.Errorf("after %d lines: %v, %v", n*20, users, err)
		}
	}
}

// openDirectory opens a file directory, and returns its log.
func openDirectory(t testing.TB, path string) (*File, *observer.ObservedLogs, error) {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	f := &File{Path: path, logger: zap.New(core)}
	return f, logs, f.Open(harness.Numbers(t, []string{"NZ"}).Parse)
}

func TestFileDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.csv")
	harness.WriteFile(t, path, "user,number\nalice,021 234 567\n")
	f, logs, err := openDirectory(t, path)
	if err != nil {
		t.Fatal(err)
	}
	lines := logs.All()
	if len(lines) != 1 || lines[0].Level != zapcore.InfoLevel ||
		lines[0].ContextMap()["path"] != path || lines[0].ContextMap()["users"] != int64(1) {
		t.Errorf("logged: %v", lines)
	}
	if n, err := f.Number(context.Background(), "alice"); err != nil || n != (number.Number{E164: "+6421234567", Region: "NZ"}) {
		t.Errorf("alice has %v, %v", n, err)
	}
	for _, user := range []string{"Alice", "alice ", "bob", "user", ""} {
		if n, err := f.Number(context.Background(), user); !errors.Is(err, ErrNoNumber) || n != (number.Number{}) {
			t.Errorf("%q has %v, %v", user, n, err)
		}
	}
	// The directory reads the file only once.
	harness.WriteFile(t, path, "user,number\nbob,021 234 568\n")
	if _, err := f.Number(context.Background(), "alice"); err != nil {
		t.Errorf("after the file changed, alice has %v", err)
	}
}

func TestFileDirectoryCannotOpen(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.csv")
	harness.WriteFile(t, bad, "alice,021 234 567\nbob,09 555 1234\n")
	for _, c := range []struct{ path, want string }{
		{filepath.Join(dir, "none.csv"), "path: stat " + filepath.Join(dir, "none.csv") + ": no such file or directory"},
		{dir, "path: " + dir + " is a folder or a device: name a CSV file of user,number"},
		{os.DevNull, "path: " + os.DevNull + " is a folder or a device"},
		{filepath.Join(bad, "users.csv"), "path: stat " + filepath.Join(bad, "users.csv") + ": not a directory"},
		{bad, "path: " + bad + ": line 2: not a mobile number"},
	} {
		f, _, err := openDirectory(t, c.path)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.path, err, c.want)
		}
		if _, err := f.Number(context.Background(), "alice"); !errors.Is(err, ErrNoNumber) {
			t.Errorf("%s: refused, and knows alice", c.path)
		}
	}
	if os.Geteuid() == 0 {
		return // who may read every file
	}
	secret := filepath.Join(dir, "secret.csv")
	harness.WriteFile(t, secret, "alice,021 234 567\n")
	if err := os.Chmod(secret, 0); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openDirectory(t, secret); err == nil || !strings.Contains(err.Error(), "path: open "+secret+": permission denied") {
		t.Errorf("unreadable: %v", err)
	}
}

// An empty directory loads, with a warning.
func TestFileDirectoryEmpty(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.csv")
	harness.WriteFile(t, path, "user,number\n")
	_, logs, err := openDirectory(t, path)
	if err != nil {
		t.Fatal(err)
	}
	lines := logs.FilterLevelExact(zapcore.WarnLevel).All()
	if len(lines) != 1 || lines[0].Message != "the directory is empty: nobody will get a code" ||
		lines[0].ContextMap()["path"] != path {
		t.Errorf("logged: %v", lines)
	}
}

// genUser makes users that csv.Writer can write. It puts no quotes around a
// user that begins with #.
func genUser() *rapid.Generator[string] {
	return rapid.StringN(1, 60, 255).Filter(func(s string) bool { return CheckUser(s) == nil && s[0] != '#' })
}

// A file that csv.Writer has written is read back exactly.
func TestReadUsersProperty(t *testing.T) {
	parse := harness.Numbers(t, []string{"NZ"}).Parse
	spell := []func(int) string{
		func(n int) string { return fmt.Sprintf("+6421%07d", n) },
		func(n int) string { return fmt.Sprintf("021 %03d %04d", n/10000, n%10000) },
		func(n int) string { return fmt.Sprintf("0064-21-%07d", n) },
	}
	rapid.Check(t, func(t *rapid.T) {
		want := make(map[string]string)
		var file bytes.Buffer
		w := csv.NewWriter(&file)
		w.UseCRLF = rapid.Bool().Draw(t, "CRLF")
		if rapid.Bool().Draw(t, "BOM") {
			file.WriteString("\ufeff")
		}
		if rapid.Bool().Draw(t, "header") {
			_ = w.Write([]string{"user", "number"})
		}
		for _, user := range rapid.SliceOfNDistinct(genUser(), 0, 20, rapid.ID).Draw(t, "users") {
			n := rapid.IntRange(2000000, 9999999).Draw(t, "number")
			want[user] = fmt.Sprintf("+6421%07d", n)
			_ = w.Write([]string{user, rapid.SampledFrom(spell).Draw(t, "spelling")(n)})
		}
		w.Flush()
		users, err := readUsers(bytes.NewReader(file.Bytes()), parse)
		if err != nil {
			t.Fatalf("%v in\n%q", err, file.String())
		}
		if got := numbersOf(users); !maps.Equal(got, want) {
			t.Fatalf("read %v, wrote %v", got, want)
		}
	})
}

// A user takes at most 200 bytes of memory after the file is read.
func TestReadUsersMemory(t *testing.T) {
	const users, most = 100_000, 200
	var file bytes.Buffer
	for i := range users {
		fmt.Fprintf(&file, "user%06d@example.com,+6421%07d\n", i, i)
	}
	parse := func(spelled string) (number.Number, error) {
		return number.Number{E164: strings.Clone(spelled), Region: "NZ"}, nil
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	read, err := readUsers(bytes.NewReader(file.Bytes()), parse)
	if err != nil || len(read) != users {
		t.Fatalf("%d users, %v", len(read), err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / users
	t.Logf("%d bytes a user", each)
	if each > most {
		t.Errorf("%d bytes a user, more than %d", each, most)
	}
	runtime.KeepAlive(read)
	runtime.KeepAlive(&file)
}
