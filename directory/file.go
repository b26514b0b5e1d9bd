package directory

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/internal/block"
	"github.com/caddy-websms/websms/internal/logtext"
	"github.com/caddy-websms/websms/number"
)

func init() {
	caddy.RegisterModule(File{})
}

// File is a directory in a CSV file (RFC 4180), encoded in UTF-8. Each line has
// two columns: the user, and the number as people of the gate's countries write
// it.
//
//	user,number
//	# the warehouse
//	alice,021 234 567
//	"CN=bob,O=Example",+6421234568
//
// The rules of the format:
//
//   - The first line may be a header. A header has no digit in its second column.
//   - Empty lines are skipped, and so are lines that begin with #.
//   - Put a user in quotes if the name holds a comma or a quote, or begins with #.
//   - Spaces around a user or a number are removed.
//   - A user may have one line only.
//
// If any line has a mistake, the file is refused and the configuration does not
// load. The error gives the line numbers of the first ten mistakes, and repeats
// no user and no number.
//
// Caddy reads the file when it loads the configuration, and not again. After a
// change of the file, run `caddy reload --force`: without the flag Caddy skips a
// configuration that is the same as before.
//
// Each gate that names the file reads it and keeps it in memory. A thousand users
// take 30 milliseconds and 180 kB. A million users take 180 MB. With numbers in E.164
// they take about three seconds of CPU time, in other spellings several times that.
type File struct {
	// The path of the file. A relative path starts in Caddy's working directory.
	// Required.
	Path string `json:"path,omitempty"`

	users  map[string]listing
	logger *zap.Logger
}

// listing is the line of one user.
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
	f.logger = logtext.Escaping(ctx.Logger())
	return nil
}

// Validate returns an error if the path is missing.
func (f *File) Validate() error { return block.Within("directory file", f.check()) }

func (f *File) check() error {
	if strings.TrimSpace(f.Path) == "" {
		return block.Wrongf("path", "is missing: name a CSV file of user,number")
	}
	return nil
}

// Open reads the file.
func (f *File) Open(parse func(spelled string) (number.Number, error)) error {
	// Stat comes before Open, because opening a pipe can block for ever.
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

// Number returns the number of a user, or ErrNoNumber.
func (f *File) Number(_ context.Context, user string) (number.Number, error) {
	found, ok := f.users[user]
	if !ok {
		return number.Number{}, ErrNoNumber
	}
	return found.number, nil
}

// UnmarshalCaddyfile reads the module's name and its path. Syntax:
//
//	file <path>
func (f *File) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the module's name
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
