package redisstore

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/session"
)

// archive is the session.Archive of all processes that share a Redis and a
// client secret. The client secret encrypts the sealing keys. The key names in
// Redis contain a hash of it, so processes with another secret have other keys.
//
//	websms:{keys:<name>}:ring     string, the keys of the ring, sealed
//	websms:{keys:<name>}:epoch    string, a new one after Redis was emptied
//	websms:{keys:<name>}:sequence string, the number of the latest entry
//	websms:{keys:<name>}:log      sorted set, the names of the entries by number
//	websms:{keys:<name>}:values   hash, the entries by name
//
// An entry is a revocation, or other data that the caller keeps under a name.
type archive struct {
	node *node
	tag  string // begins every key
	aead cipher.AEAD
}

const (
	// followEvery is how often a node asks for the revocations of other nodes.
	followEvery = 500 * time.Millisecond

	// archiveLife is how long Redis keeps keys that no node asks for. No session
	// lasts longer than session.MaxLife. Nodes renew the keys' lives only once a
	// day (follow.lua), so a day is added: without it the revocations could expire
	// before the ring does.
	archiveLife = session.MaxLife + 24*time.Hour

	// recordsAtOnce bounds the entries in one reply of Redis.
	recordsAtOnce = 10_000
)

func newArchive(n *node, prefix, secret string) (*archive, error) {
	derive := func(use string, size int) ([]byte, error) {
		return hkdf.Key(sha256.New, []byte(secret), nil, "websms redis archive "+use, size)
	}
	called, err := derive("name", 8)
	if err != nil {
		return nil, err
	}
	key, err := derive("key", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &archive{node: n, tag: prefix + "{keys:" + hex.EncodeToString(called) + "}:", aead: aead}, nil
}

// Volatile implements session.Archive.
func (a *archive) Volatile() bool { return true }

// Follow implements session.Archive.
func (a *archive) Follow() time.Duration { return followEvery }

// Keys implements session.Archive.
func (a *archive) Keys(ctx context.Context) ([]byte, error) {
	sealed, err := a.sealedKeys(ctx)
	if err != nil {
		return nil, err
	}
	return a.open(sealed)
}

// ChangeKeys implements session.Archive.
func (a *archive) ChangeKeys(ctx context.Context, next func(keys []byte) ([]byte, error)) error {
	for range 10 {
		former, err := a.sealedKeys(ctx)
		if err != nil {
			return err
		}
		opened, err := a.open(former)
		if err != nil {
			return err
		}
		keys, err := next(opened)
		if err != nil || keys == nil {
			return err
		}
		sealed := string(a.aead.Seal(nil, nil, keys, []byte(a.tag)))
		done, err := a.node.do(call(scriptSwap, []string{a.tag + "ring"}, []string{millis(archiveLife), former, sealed})).int()
		if err != nil || done == 1 {
			return err
		}
	}
	return errors.New("changing the keys in redis: others change them all the time")
}

func (a *archive) sealedKeys(ctx context.Context) (string, error) {
	return a.node.do(func(ctx context.Context, c rueidis.Client) rueidis.RedisResult {
		return c.Do(ctx, c.B().Get().Key(a.tag+"ring").Build())
	}).string()
}

// envelope begins keys that a later release has sealed in another way. A version and
// a space follow it. This release writes no envelope, so that the release before it
// can read the keys. The keys inside have a version of their own.
const (
	envelope        = "websms keys "
	envelopeVersion = 0
)

// open returns the keys, or nil if there are none. Keys that do not open count as
// none, because somebody has changed them in Redis. A node that knows the right keys
// then writes them again. For keys of a later release, open returns a
// *session.VersionError, and no node replaces them.
func (a *archive) open(sealed string) ([]byte, error) {
	if sealed == "" {
		return nil, nil
	}
	if rest, ok := strings.CutPrefix(sealed, envelope); ok {
		text, _, _ := strings.Cut(rest, " ")
		if version, err := strconv.ParseUint(text, 10, 31); err == nil && version > envelopeVersion {
			newer := &session.VersionError{Found: int(version), Known: envelopeVersion}
			return nil, fmt.Errorf("%sring in redis: %w", a.tag, newer)
		}
	}
	keys, err := a.aead.Open(nil, nil, []byte(sealed), []byte(a.tag))
	if err != nil {
		a.node.logger().Error("the keys in redis do not open, because they were changed there; "+
			"this process puts back those it knows", zap.String("key", a.tag+"ring"))
		return nil, nil
	}
	return keys, nil
}

// Records implements session.Archive. A mark is an epoch, a space, and the number of
// an entry.
func (a *archive) Records(ctx context.Context, mark string) (names []string, next string, emptied bool, err error) {
	return allRecords(mark, a.page)
}

// allRecords reads page after page. Each page has its own timeout, so the number of
// entries has no bound. After an error, next is the mark to continue from.
func allRecords(
	mark string, page func(epoch, number string) (records, error),
) (names []string, next string, emptied bool, err error) {
	for {
		epoch, number, _ := strings.Cut(mark, " ")
		if number == "" {
			number = "0"
		}
		part, err := page(epoch, number)
		if err != nil { // the next call continues from this mark
			return names, mark, emptied, err
		}
		if part.emptied {
			names, emptied = nil, true
		}
		names = append(names, part.names...)
		if part.last == "" {
			part.last = number
			if part.emptied || epoch == "" {
				part.last = "0"
			}
		}
		mark = part.epoch + " " + part.last
		if len(part.names) < recordsAtOnce {
			return names, mark, emptied, nil
		}
	}
}

// page reads up to recordsAtOnce entries that were kept after a mark.
func (a *archive) page(epoch, number string) (records, error) {
	fresh := make([]byte, 8)
	rand.Read(fresh) // never fails: crypto/rand ends the program instead
	reply, err := a.node.do(call(scriptFollow,
		[]string{a.tag + "epoch", a.tag + "sequence", a.tag + "log", a.tag + "values", a.tag + "ring"},
		[]string{hex.EncodeToString(fresh), epoch, number, millis(archiveLife), strconv.Itoa(recordsAtOnce)})).list()
	if err != nil {
		return records{}, err
	}
	return readRecords(reply)
}

// records is a reply of follow.lua.
type records struct {
	epoch   string
	emptied bool
	names   []string
	last    string // number of the last entry; "" without entries
}

func readRecords(reply []rueidis.RedisMessage) (r records, err error) {
	if len(reply) != 3 {
		return r, errReply
	}
	if r.epoch, err = reply[0].ToString(); err != nil {
		return r, understood(err)
	}
	emptied, err := reply[1].AsInt64()
	if err != nil {
		return r, understood(err)
	}
	r.emptied = emptied == 1
	scores, err := reply[2].AsZScores()
	if err != nil {
		return r, understood(err)
	}
	for _, s := range scores {
		r.names = append(r.names, s.Member)
		r.last = strconv.FormatInt(int64(s.Score), 10)
	}
	return r, nil
}

// Record implements session.Archive.
func (a *archive) Record(ctx context.Context, name string) ([]byte, error) {
	reply := a.node.do(func(ctx context.Context, c rueidis.Client) rueidis.RedisResult {
		return c.Do(ctx, c.B().Hget().Key(a.tag+"values").Field(name).Build())
	})
	if reply.failed != nil {
		return nil, reply.failed
	}
	value, err := reply.result.AsBytes()
	if rueidis.IsRedisNil(err) {
		return nil, fmt.Errorf("record %s in redis: %w", name, fs.ErrNotExist)
	}
	return value, understood(err)
}

// Keep implements session.Archive.
func (a *archive) Keep(ctx context.Context, name string, value []byte) error {
	return a.node.do(call(scriptKeep, []string{a.tag + "sequence", a.tag + "log", a.tag + "values"},
		[]string{millis(archiveLife), name, string(value), micros(time.Now())})).err()
}

// Drop implements session.Archive.
func (a *archive) Drop(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		return nil
	}
	return a.node.do(call(scriptDrop, []string{a.tag + "log", a.tag + "values"}, names)).err()
}

var _ session.Archive = (*archive)(nil)
