package redistest

import (
	"fmt"
	"strings"
)

// dumpKeys returns the names and values of all keys of all databases.
func dumpKeys(c *conn) ([]string, error) {
	keyspace, err := c.do("INFO", "keyspace")
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.Lines(keyspace.(string)) {
		db, _, ok := strings.Cut(line, ":") // db0:keys=1,expires=0,avg_ttl=0
		number, isDB := strings.CutPrefix(db, "db")
		if !ok || !isDB {
			continue
		}
		if _, err := c.do("SELECT", number); err != nil {
			return nil, err
		}
		of, err := dumpDatabase(c)
		if err != nil {
			return nil, err
		}
		lines = append(lines, of...)
	}
	return lines, nil
}

func dumpDatabase(c *conn) ([]string, error) {
	var lines []string
	for cursor := "0"; ; {
		reply, err := c.do("SCAN", cursor, "COUNT", "1000")
		if err != nil {
			return nil, err
		}
		page := reply.([]any)
		for _, key := range flatten(page[1]) {
			value, err := dumpValue(c, key)
			if err != nil {
				return nil, fmt.Errorf("key %q: %w", key, err)
			}
			lines = append(append(lines, key), value...)
		}
		if cursor = page[0].(string); cursor == "0" {
			return lines, nil
		}
	}
}

// dumpValue returns the value of a key. A key that has expired meanwhile has none.
func dumpValue(c *conn, key string) ([]string, error) {
	kind, err := c.do("TYPE", key)
	if err != nil {
		return nil, err
	}
	read, ok := map[any][]string{
		"none":   nil,
		"string": {"GET", key},
		"hash":   {"HGETALL", key},
		"list":   {"LRANGE", key, "0", "-1"},
		"set":    {"SMEMBERS", key},
		"zset":   {"ZRANGE", key, "0", "-1", "WITHSCORES"},
		"stream": {"XRANGE", key, "-", "+"},
	}[kind]
	if !ok {
		return nil, fmt.Errorf("a key of the unknown type %v", kind)
	}
	if read == nil {
		return nil, nil
	}
	value, err := c.do(read...)
	return flatten(value), err
}
