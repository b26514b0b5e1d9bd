package redistest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// replyTime bounds the time from sending a command to its reply.
const replyTime = 10 * time.Second

// Error is an error reply of Redis, such as "WRONGPASS invalid
// username-password pair or user is disabled.".
type Error string

func (e Error) Error() string { return string(e) }

// conn is a connection of a test to Redis. It uses only RESP2 ("Redis serialization
// protocol specification").
type conn struct {
	net.Conn
	r *bufio.Reader
}

// dial connects to a server, with TLS if config is not nil. If the password is not
// empty, it sends AUTH.
func dial(addr string, config *tls.Config, password string) (*conn, error) {
	dialer := &net.Dialer{Timeout: replyTime}
	var c net.Conn
	var err error
	if config != nil {
		c, err = tls.DialWithDialer(dialer, "tcp", addr, config)
	} else {
		c, err = dialer.Dial("tcp", addr)
	}
	if err != nil {
		return nil, err
	}
	rc := &conn{Conn: c, r: bufio.NewReader(c)}
	if password != "" {
		if _, err := rc.do("AUTH", password); err != nil {
			c.Close()
			return nil, err
		}
	}
	return rc, nil
}

// do sends one command and returns the reply: a string, an int64, nil, or a
// []any of those. An error reply is an Error.
func (c *conn) do(args ...string) (any, error) {
	if err := c.SetDeadline(time.Now().Add(replyTime)); err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	if _, err := io.WriteString(c, b.String()); err != nil {
		return nil, err
	}
	reply, err := c.read()
	if err != nil {
		return nil, err
	}
	if e, ok := reply.(Error); ok {
		return nil, e
	}
	return reply, nil
}

func (c *conn) read() (any, error) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return nil, errors.New("an empty line in place of a reply")
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+':
		return rest, nil
	case '-':
		return Error(rest), nil
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("the reply %q has no number: %w", line, err)
	}
	switch {
	case kind == ':':
		return n, nil
	case n == -1:
		return nil, nil
	case kind == '$':
		data := make([]byte, n+2) // with its CRLF
		if _, err := io.ReadFull(c.r, data); err != nil {
			return nil, err
		}
		return string(data[:n]), nil
	case kind == '*':
		list := make([]any, n)
		for i := range list {
			if list[i], err = c.read(); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	return nil, fmt.Errorf("the reply %q is of no known kind", line)
}

// flatten returns all values in a reply as a flat list of texts.
func flatten(reply any) []string {
	switch v := reply.(type) {
	case nil:
		return nil
	case []any:
		var all []string
		for _, element := range v {
			all = append(all, flatten(element)...)
		}
		return all
	default:
		return []string{fmt.Sprint(v)}
	}
}

// field returns the value of a line name:value in a reply of INFO or CLUSTER INFO.
func field(info any, name string) string {
	text, _ := info.(string)
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
