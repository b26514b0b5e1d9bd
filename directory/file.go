package directory

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/internal/block"
	"github.com/caddy-websms/websms/number"
)

func init() {
	caddy.RegisterModule(File{})
}

// File is a directory in a CSV file (RFC 4180) in UTF-8, of two
// columns: user, and number in any spelling that people of the gate's countries
// understand.
//
//	user,number
//	# the warehouse
//	alice,021 234 567
//	"CN=bob,O=Example",+6421234568
//
// A header line may come first: its second column holds no digit. Empty lines
// and lines that begin with # are passed over; a user with a comma, a quote or
// a # in front stands in quotes. Spaces around a user or a number do not count.
// A line with a mistake, or with a user who is there already, refuses the
// whole file: the error names the first ten of them by number, and repeats
// nothing of what they hold.
//
// The file is read when the configuration is loaded, and then no more: after a
// change, run `caddy reload --force`, which loads also what has not changed. A thousand users take some 30
// milliseconds to read and 180 kB to keep, a million half a minute and 180 MB,
// for each gate that names the file.
type File struct {
	// Where the file is. A relative path starts in Caddy's working directory.
	// Required.
	Path string `json:"path,omitempty"`

	users  map[string]listing
	logger *zap.Logger
}

// listing is what the file says of a user.
type listing struct {
	number number.Number
	line   int
}

// CaddyModule returns the Caddy module information.
func (File) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  Namespace + ".file",
		New: func() caddy.Module { return new(File) },
	}
}

// Provision takes the logger.
func (f *File) Provision(ctx caddy.Context) error {
	f.logger = ctx.Logger()
	return nil
}

// Validate reports a missing path.
func (f *File) Validate() error { return block.Within("directory file", f.check()) }

func (f *File) check() error {
	if strings.TrimSpace(f.Path) == "" {
		return block.Wrongf("path", "is missing: name a CSV file of user,number")
	}
	return nil
}

// Open implements Directory: it reads the file.
func (f *File) Open(parse func(spelled string) (number.Number, error)) error {
	// A look before opening it: to open a pipe can wait for ever.
	info, err := os.Stat(f.Path)
	if err != nil {
		return fmt.Errorf("path: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("path: %s is a folder or a device: name a CSV file of user,number", f.Path)
	}
	file, err := os.Open(f.Path)
	if err != nil {
		return fmt.Errorf("path: %w", err)
	}
	defer file.Close()
	if f.users, err = readUsers(file, parse); err != nil {
		return fmt.Errorf("path: %s: %w", f.Path, err)
	}
	f.logger.Info("read the directory", zap.String("path", f.Path), zap.Int("users", len(f.users)))
	if len(f.users) == 0 {
		f.logger.Warn("the directory is empty: nobody will get a code", zap.String("path", f.Path))
	}
	return nil
}

// Number implements Directory.
func (f *File) Number(_ context.Context, user string) (number.Number, error) {
	found, ok := f.users[user]
	if !ok {
		return number.Number{}, ErrNoNumber
	}
	return found.number, nil
}

// readUsers reads the format that File describes.
func readUsers(r io.Reader, parse func(spelled string) (number.Number, error)) (map[string]listing, error) {
	text := bufio.NewReader(r)
	if err := skipBOM(text); err != nil {
		return nil, err
	}
	rows := csv.NewReader(text)
	rows.Comment, rows.FieldsPerRecord, rows.TrimLeadingSpace, rows.ReuseRecord = '#', -1, true, true
	users, bad, first := make(map[string]listing), new(number.BadLines), true
	for {
		row, err := rows.Read()
		if err == io.EOF {
			if err := bad.Err(); err != nil {
				return nil, err
			}
			return users, nil
		}
		if mistake := (*csv.ParseError)(nil); errors.As(err, &mistake) {
			bad.Add(mistake.StartLine, errQuote)
			first = false
			continue
		}
		if err != nil {
			return nil, err
		}
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
		if isBlank(row) {
			continue
		}
		if first = first && isHeader(row); first {
			first = false
			continue
		}
		line, _ := rows.FieldPos(0)
		if err := addUser(users, row, line, parse); err != nil {
			bad.Add(line, err)
		}
	}
}

// skipBOM passes over the mark that spreadsheets put before UTF-8, and refuses
// what is no text in it.
func skipBOM(r *bufio.Reader) error {
	head, err := r.Peek(512)
	if err != nil && err != io.EOF {
		return err
	}
	switch {
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		_, err := r.Discard(3)
		return err
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		return errors.New("this is text in UTF-16: save it as CSV in UTF-8")
	case bytes.IndexByte(head, 0) >= 0:
		return errors.New("this is not text: save it as CSV in UTF-8")
	}
	return nil
}

// isBlank reports a line of nothing but separators, as spreadsheets leave them.
func isBlank(row []string) bool {
	for _, field := range row {
		if field != "" {
			return false
		}
	}
	return true
}

// isHeader reports whether the first line names its columns.
func isHeader(row []string) bool {
	return len(row) == 2 && row[1] != "" && !strings.ContainsFunc(row[1], unicode.IsDigit)
}

var errQuote = errors.New("a quote stands where none can: put the whole column in quotes, and double each quote in it")

// addUser puts a line of the file into users.
func addUser(users map[string]listing, row []string, line int, parse func(string) (number.Number, error)) error {
	if len(row) != 2 {
		return errors.New("not two columns, user,number: a comma separates them, and a user with a comma stands in quotes")
	}
	if err := CheckUser(row[0]); err != nil {
		return err
	}
	if before, ok := users[row[0]]; ok {
		return fmt.Errorf("the user of line %d again: keep one of them", before.line)
	}
	if row[1] == "" {
		return errors.New("the number is missing")
	}
	n, err := parse(row[1])
	if err != nil {
		return err
	}
	// A copy, so that the rest of the line can be forgotten.
	users[strings.Clone(row[0])] = listing{n, line}
	return nil
}

// UnmarshalCaddyfile reads the file directory. Syntax:
//
//	file <path>
func (f *File) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // its name
	if !d.NextArg() || d.Val() == "" {
		return block.At(d, "directory file", errors.New("it has no path: write directory file <path>"))
	}
	f.Path = d.Val()
	if d.NextArg() {
		return block.At(d, "directory file", errors.New("it takes one path: put it in quotes if it holds spaces"))
	}
	if inner := *d; inner.NextBlock(inner.Nesting()) {
		return block.At(d, "directory file", errors.New("it takes no block: remove { … }"))
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*File)(nil)
	_ caddy.Validator       = (*File)(nil)
	_ caddyfile.Unmarshaler = (*File)(nil)
	_ Directory             = (*File)(nil)
)
