package directory

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-websms/websms/internal/harness"
)

// mistakes matches every error about a file. No part of it comes from the file.
var mistakes = func() *regexp.Regexp {
	line := `line \d+: (` + strings.Join([]string{
		`not two columns, user,number: [a-z, ]+`, `a quote stands where none can: [a-z, ]+`, `the user is missing`, `the number is missing`,
		`the user has \d+ bytes, more than 255`, `the user is not in UTF-8`, `the user holds a control character`,
		`the user of line \d+ again: keep one of them`, `not a mobile number`, `mobile number of a country that is not served`,
	}, "|") + `)`
	return regexp.MustCompile(`^(this is (not text|text in UTF-16): save it as CSV in UTF-8|` +
		line + `(; ` + line + `){0,9}(; and \d+ more)?)$`)
}()

// FuzzReadUsers reads any bytes as a file. If the file is accepted, each user is
// one that a first factor can name, each number is of the gate's countries, and
// a written copy reads the same. If it is refused, the error names line numbers
// and repeats nothing of the file.
func FuzzReadUsers(f *testing.F) {
	for _, text := range []string{
		"user,number\nalice,021 234 567\n", "\"CN=alice,O=Example\",+6421234567\r\n", "\ufeffa,021234567", "#\n\n,\na,0\na,0",
		"\"a\"\"b\",021234567", "\"a\nb\",021234567", "a,\"021234567", "a\"b,1\nc,2", "\xff\xfea\x00", "a\x00,021234567", " a , 021234567 ",
		"a;021234567", "a,021234567\na,021234567", strings.Repeat("x\n", 20),
		strings.Repeat("u", 300) + ",021234567", "\"#a\",021234567", "\r\r\n,\r",
	} {
		f.Add([]byte(text))
	}
	parse := harness.Numbers(f, []string{"NZ", "AU"}).Parse
	f.Fuzz(func(t *testing.T, file []byte) {
		users, err := readUsers(bytes.NewReader(file), parse)
		if err != nil {
			if !mistakes.MatchString(err.Error()) {
				t.Fatalf("the error is %v", err)
			}
			return
		}
		lines := bytes.Count(file, []byte("\n")) + 1
		var again bytes.Buffer
		w := csv.NewWriter(&again)
		for user, l := range users {
			if err := CheckUser(user); err != nil {
				t.Fatalf("%q: %v", user, err)
			}
			if n, err := parse(l.number.E164); err != nil || n != l.number {
				t.Fatalf("the number %v is %v, %v", l.number, n, err)
			}
			if l.line < 1 || l.line > lines {
				t.Fatalf("%q is in line %d of %d", user, l.line, lines)
			}
			if user[0] == '#' { // which the writer does not quote
				w.Flush()
				fmt.Fprintf(&again, "\"%s\",%s\n", strings.ReplaceAll(user, `"`, `""`), l.number.E164)
				continue
			}
			if err := w.Write([]string{user, l.number.E164}); err != nil {
				t.Fatal(err)
			}
		}
		w.Flush()
		reread, err := readUsers(&again, parse)
		if err != nil || !maps.Equal(numbersOf(reread), numbersOf(users)) {
			t.Fatalf("%v becomes %v, %v", users, reread, err)
		}
	})
}
