package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/caddy-websms/websms/otp"
)

// What is kept in Redis has a schema. Under one key stands which: the version of
// the newest build that has written here, and the oldest that understands what
// that writes, "2 1". A build that adds fields, and can do without them, keeps
// the second number; nodes of both work beside each other. One that writes what
// an older build would misread raises it: older builds then refuse to work, at
// the next beat, and change nothing.
//
//	1  no key says it: the first builds
//	2  a challenge has the moment of its latest sending (z); without it, as 1
//	   writes it, that is when it was made
//
// Whatever a build does not know, it leaves as it is: a field of a hash, and
// what follows the two numbers.
const (
	schemaVersion = 2
	schemaOldest  = 1

	// schemaLife is that of the keys which live longest, runs that only an
	// operator ends.
	schemaLife = 100 * otp.RunLife
)

// schemaError says that this build must not touch what is kept.
type schemaError struct{ key, text string }

func (e *schemaError) Error() string {
	return fmt.Sprintf("%s is %.40q, and this build understands up to %d: a newer build of the plugin keeps its data here; "+
		"run that one, or give this one a key_prefix of its own", e.key, e.text, schemaVersion)
}

// schemaKey names where the schema stands: in the slot of the key alive, so that
// a node is there exactly when both are.
func schemaKey(alive string) string {
	return strings.TrimSuffix(alive, "alive") + "{" + alive + "}:schema"
}

// readSchema reads what stands there. ok is false for what is not understood.
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

// checkSchema returns a *schemaError if a newer build has written what this one
// does not understand. It writes down that this build writes here.
func (n *node) checkSchema(ctx context.Context, c rueidis.Client) error {
	key := schemaKey(n.alive)
	text, err := c.Do(ctx, c.B().Get().Key(key).Build()).ToString()
	if rueidis.IsRedisNil(err) {
		ours := fmt.Sprint(schemaVersion, " ", schemaOldest)
		err = c.Do(ctx, c.B().Set().Key(key).Value(ours).Nx().PxMilliseconds(schemaLife.Milliseconds()).Build()).Error()
		if rueidis.IsRedisNil(err) {
			err = nil // another node was first: the next beat reads it
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
		// If another node writes too, one of them is in time; the next beat sees.
		return scriptSwap.Exec(ctx, c, []string{key}, []string{millis(schemaLife), text, ours}).Error()
	}
	return nil
}
