package directory

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/caddy-websms/websms/number"
)

// readUsers reads a CSV file in the format of [File]. It reads to the end even
// after a mistake, so that its error can name several lines.
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

// skipBOM skips the byte order mark that spreadsheets write in front of UTF-8. It
// returns an error if the file is not text in UTF-8.
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

// isBlank reports whether all columns are empty. Spreadsheets leave such lines.
func isBlank(row []string) bool {
	for _, field := range row {
		if field != "" {
			return false
		}
	}
	return true
}

// isHeader reports whether row holds the names of the two columns.
func isHeader(row []string) bool {
	return len(row) == 2 && row[1] != "" && !strings.ContainsFunc(row[1], unicode.IsDigit)
}

var errQuote = errors.New("a quote stands where none can: put the whole column in quotes, and double each quote in it")

// addUser adds one line of the file to users.
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
	user := row[0]
	if n.E164 == row[1] {
		n.E164 = row[1] // one string holds the row, so both share its memory
	} else {
		user = strings.Clone(user) // and the spelling of the number can be freed
	}
	users[user] = listing{n, line}
	return nil
}
