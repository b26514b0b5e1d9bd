package number

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// AllowFrom lists every number that r holds, and restricts the policy to listed
// numbers. Each line holds one number, in any spelling that Parse understands.
// Empty lines are ignored, and so is the rest of a line behind a '#'. If lines are
// bad, the error gives the numbers of the first ten and the mistakes, but never
// the text of a line. The good lines are listed all the same.
//
// A million numbers in E.164 take about a second, those in other spellings ten.
func (p *Policy) AllowFrom(r io.Reader) error {
	p.Restrict()
	var bad BadLines
	parser := p.Parser()
	lines := bufio.NewScanner(r)
	for line := 1; lines.Scan(); line++ {
		text, _, _ := bytes.Cut(lines.Bytes(), []byte{'#'})
		if line == 1 {
			text = bytes.TrimPrefix(text, []byte("\ufeff")) // spreadsheets write a byte order mark
		}
		text = bytes.TrimSpace(text)
		if len(text) == 0 {
			continue
		}
		n, err := parser.Parse(string(text))
		if err != nil {
			bad.Add(line, err)
			continue
		}
		p.allowed[n.E164] = struct{}{}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return bad.Err()
}

// BadLines collects the mistakes in a file that holds one number a line. It keeps
// the first ten and counts the rest. The zero BadLines is ready to use.
type BadLines struct {
	first []string
	total int
}

// Add adds the mistake of a line, counted from 1. The text of err must not repeat
// the text of the line.
func (b *BadLines) Add(line int, err error) {
	if b.total++; b.total <= 10 {
		b.first = append(b.first, fmt.Sprintf("line %d: %v", line, err))
	}
}

// Err returns one error for all mistakes, or nil if there are none.
func (b *BadLines) Err() error {
	if b.total == 0 {
		return nil
	}
	all := b.first
	if more := b.total - len(all); more > 0 {
		all = append(all, fmt.Sprintf("and %d more", more))
	}
	return errors.New(strings.Join(all, "; "))
}
