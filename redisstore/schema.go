package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/caddy-websms/websms/otp"
)

// The data in Redis has a schema version. One key holds two numbers, such as
// "2 1": the version of the newest build that has written here, and the oldest
// version that understands the data of that build.
//
// A build that adds optional fields keeps the second number, so that nodes of both
// versions work beside each other. A build raises the second number if an older build
// would misread its data. At their next beat the older builds then refuse to work, and
// change nothing.
//
//	1  the first builds; they wrote no such key
//	2  a challenge has the time of its latest sending (z). In version 1 z is
//	   missing, and the time when the challenge was made (b) stands for it
//
// A build leaves alone the fields of a hash that it does not know, and any text
// behind the two numbers.
const (
	schemaVersion = 2
	schemaOldest  = 1

	// schemaLife is the life of the schema key. It is as long as that of the
	// longest-lived keys: failures with a lock that only an operator can end.
	schemaLife = 100 * otp.FailuresLife
)

// schemaError means that this build must not touch the data in Redis.
type schemaError struct{ key, text string }

func (e *schemaError) Error() string {
	return fmt.Sprintf("%s is %.40q, and this build understands up to %d: a newer build of the plugin keeps its data here; "+
		"run that build, or give this one another key_prefix", e.key, e.text, schemaVersion)
}

// schemaKey returns the name of the schema key. It is in the slot of the key
// alive, so that one node of a cluster holds both.
func schemaKey(alive string) string {
	return strings.TrimSuffix(alive, "alive") + "{" + alive + "}:schema"
}

// readSchema parses the value of the schema key. ok is false if it is malformed.
func readSchema(text string) (version, oldest int, ok bool) {
	fields := strings.Fields(text)
	if len(fields) < 2 {
		return 0, 0, false
	}
	version, err := strconv.Atoi(fields[0])
	if err != nil {
		return 0, 0, false
	}
	oldest, err = strconv.Atoi(fields[1])
	return version, oldest, err == nil && 0 < oldest && oldest <= version
}

// checkSchema returns a *schemaError if a newer build has written data that this
// one does not understand. Otherwise it raises the stored version to this build's.
func (n *node) checkSchema(ctx context.Context, c rueidis.Client) error {
	key := schemaKey(n.alive)
	text, err := c.Do(ctx, c.B().Get().Key(key).Build()).ToString()
	if rueidis.IsRedisNil(err) {
		ours := fmt.Sprint(schemaVersion, " ", schemaOldest)
		err = c.Do(ctx, c.B().Set().Key(key).Value(ours).Nx().PxMilliseconds(schemaLife.Milliseconds()).Build()).Error()
		if rueidis.IsRedisNil(err) {
			err = nil // another node was first: the next beat reads its schema
		}
		return err
	}
	if err != nil {
		return err
	}
	version, oldest, ok := readSchema(text)
	switch {
	case !ok || oldest > schemaVersion:
		return &schemaError{key, text}
	case version < schemaVersion:
		ours := fmt.Sprint(schemaVersion, " ", max(oldest, schemaOldest))
		// If two nodes swap at once, one of them wins; the other reads the result at its next beat.
		return scriptSwap.Exec(ctx, c, []string{key}, []string{millis(schemaLife), text, ours}).Error()
	}
	return nil
}
