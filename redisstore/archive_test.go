package redisstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/caddy-websms/websms/redisstore/redistest"
	"github.com/caddy-websms/websms/session"
)

const testSecret = "hunter2 is the client secret"

// openArchive opens the archive of another process.
func openArchive(t *testing.T, addr, secret string) *archive {
	t.Helper()
	p := openProcess(t, at(addr))
	<-p.node.known
	p.node.budget = patience // the time of an answer is not tested here
	a, err := newArchive(p.node, DefaultKeyPrefix, secret)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Nodes that change the keys at once do not undo each other's changes.
func TestArchiveKeysContended(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t)
	nodes := []*archive{openArchive(t, redis.Addr(), testSecret), openArchive(t, redis.Addr(), testSecret)}
	if keys, err := nodes[0].Keys(ctx); keys != nil || err != nil {
		t.Fatalf("before there are any: %q, %v", keys, err)
	}
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			for tries := 0; ; tries++ {
				err := nodes[i%2].ChangeKeys(ctx, func(keys []byte) ([]byte, error) {
					return fmt.Appendf(slices.Clone(keys), "%d,", i), nil
				})
				if err == nil {
					return
				}
				if tries == 100 {
					t.Errorf("changer %d: %v", i, err)
					return
				}
			}
		})
	}
	all.Wait()
	keys, err := nodes[1].Keys(ctx)
	if err != nil {
		t.Fatal(err)
	}
	list := strings.Split(strings.TrimSuffix(string(keys), ","), ",")
	slices.Sort(list)
	if len(list) != 20 || len(slices.Compact(list)) != 20 {
		t.Errorf("the changes that are there: %s", keys)
	}
	if err := nodes[0].ChangeKeys(ctx, func([]byte) ([]byte, error) { return nil, nil }); err != nil {
		t.Errorf("no change: %v", err)
	}
	own := errors.New("next's own")
	if err := nodes[0].ChangeKeys(ctx, func([]byte) ([]byte, error) { return []byte("x"), own }); !errors.Is(err, own) {
		t.Errorf("next's own error: %v", err)
	}
	if after, err := nodes[0].Keys(ctx); err != nil || !bytes.Equal(after, keys) {
		t.Errorf("changed to %q, %v", after, err)
	}
}

// The keys in Redis are sealed with the client secret. A person who can write to Redis
// cannot forge them.
func TestArchiveKeysSealed(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t)
	a := openArchive(t, redis.Addr(), testSecret)
	plain := []byte("recognisable key bytes, 32 of it")
	put := func(a *archive, keys []byte) {
		t.Helper()
		if err := a.ChangeKeys(ctx, func([]byte) ([]byte, error) { return keys, nil }); err != nil {
			t.Fatal(err)
		}
	}
	put(a, plain)
	dump := redis.Dump()
	for _, secret := range []string{string(plain), testSecret, "hunter2"} {
		if bytes.Contains(dump, []byte(secret)) {
			t.Errorf("Redis holds %q in clear", secret)
		}
	}
	other := openArchive(t, redis.Addr(), "another secret")
	if keys, err := other.Keys(ctx); keys != nil || err != nil {
		t.Errorf("with another secret: %q, %v", keys, err)
	}
	put(other, []byte("others"))
	if keys, err := a.Keys(ctx); err != nil || !bytes.Equal(keys, plain) {
		t.Errorf("beside another's: %q, %v", keys, err)
	}
	sealed, ok := redis.Do("GET", a.tag+"ring").(string)
	if !ok {
		t.Fatal("there is no ring")
	}
	elsewhere, _ := redis.Do("GET", other.tag+"ring").(string)
	flip := func(i int) string {
		b := []byte(sealed)
		b[i] ^= 1
		return string(b)
	}
	for _, changed := range []string{flip(0), flip(len(sealed) / 2), flip(len(sealed) - 1), sealed[1:], sealed[:20], "x", elsewhere} {
		redis.Do("SET", a.tag+"ring", changed, "EX", "60")
		if keys, err := a.Keys(ctx); keys != nil || err != nil {
			t.Errorf("changed keys: %q, %v", keys, err)
		}
	}
	// A node that knows the right keys writes them again.
	put(a, plain)
	if keys, err := a.Keys(ctx); err != nil || !bytes.Equal(keys, plain) {
		t.Errorf("put back: %q, %v", keys, err)
	}
}

// follower asks for records as a process does.
type follower struct {
	*testing.T
	*archive
	mark string
}

func (f *follower) want(emptied bool, want ...string) {
	f.Helper()
	names, next, was, err := f.Records(ctx, f.mark)
	if err != nil {
		f.Fatal(err)
	}
	if was != emptied || !slices.Equal(names, want) {
		f.Errorf("since %q: %q, emptied %t, want %q, %t", f.mark, names, was, want, emptied)
	}
	f.mark = next
}

func (f *follower) keep(names ...string) {
	f.Helper()
	for _, name := range names {
		if err := f.Keep(ctx, name, []byte("value of "+name)); err != nil {
			f.Fatal(err)
		}
	}
}

func newFollowers(t *testing.T) (redis *redistest.Redis, a, b *follower) {
	t.Helper()
	redis = redistest.Server(t)
	open := func() *follower { return &follower{T: t, archive: openArchive(t, redis.Addr(), testSecret)} }
	return redis, open(), open()
}

// Each process gets each entry once, from any process.
func TestArchiveRecords(t *testing.T) {
	t.Parallel()
	redis, a, b := newFollowers(t)
	a.want(false)
	b.keep("one", "two")
	a.want(false, "one", "two")
	a.want(false)
	a.keep("two", "three")
	a.want(false, "three")
	b.want(false, "one", "two", "three")
	if value, err := a.Record(ctx, "two"); err != nil || string(value) != "value of two" {
		t.Errorf("Record: %q, %v", value, err)
	}
	for range 2 {
		if err := b.Drop(ctx, "two", "never"); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Drop(ctx); err != nil {
		t.Errorf("dropping nothing: %v", err)
	}
	if _, err := a.Record(ctx, "two"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a dropped record: %v", err)
	}
	a.want(false)
	(&follower{T: t, archive: b.archive}).want(false, "one", "three")
	a.keep("two")
	b.want(false, "two")
	if err := a.Drop(ctx, "one", "two", "three"); err != nil {
		t.Fatal(err)
	}
	a.want(false)
	b.keep("four")
	a.want(false, "four")
	wantLives(t, redis)
}

// There are more entries than one reply holds. Each of them comes once.
func TestArchiveManyRecords(t *testing.T) {
	t.Parallel()
	_, a, b := newFollowers(t)
	b.want(false)
	const many = 2*recordsAtOnce + 7
	client := *a.node.client.Load()
	commands := make([]rueidis.LuaExec, many)
	var want []string
	for i := range commands {
		name := strconv.Itoa(i)
		commands[i] = rueidis.LuaExec{
			Keys: []string{a.tag + "sequence", a.tag + "log", a.tag + "values"},
			Args: []string{millis(archiveLife), name, "x", micros(now())},
		}
		want = append(want, name)
	}
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for some := range slices.Chunk(commands, 500) { // the client gives up a Redis that needs more than a second
		for _, result := range scriptKeep.ExecMulti(within, client, some...) {
			if err := result.Error(); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.want(false, want...)
	b.want(false)
	a.keep("later")
	b.want(false, "later")
}

// A follower whose mark is ahead of Redis is told that entries were lost, until it
// continues from a newer mark.
func TestArchiveEmptied(t *testing.T) {
	t.Parallel()
	redis, a, b := newFollowers(t)
	a.keep("one", "two")
	a.want(false, "one", "two")
	b.want(false, "one", "two")
	redis.Do("FLUSHALL")
	old := a.mark
	a.want(true)
	a.mark = old
	a.want(true) // the reply before may have been lost
	a.want(false)
	a.keep("two")
	b.want(true, "two")
	b.keep("one")
	a.want(false, "two", "one")
	b.want(false, "one")

	// A replica without the latest entries has taken over.
	redis.Do("SET", a.tag+"sequence", "1", "EX", "60")
	redis.Do("ZREM", a.tag+"log", "one")
	redis.Do("HDEL", a.tag+"values", "one")
	a.want(true, "two")
	redis.Do("DEL", a.tag+"sequence", a.tag+"log", a.tag+"values")
	b.want(true)
	b.want(false)
	b.keep("three")
	b.want(false, "three")
}

// wantLives reports keys without a time to live.
func wantLives(t *testing.T, nodes ...*redistest.Redis) {
	t.Helper()
	for _, redis := range nodes {
		all, ok := redis.Do("KEYS", "*").([]any)
		if !ok {
			t.Fatal("KEYS returns no list")
		}
		for _, key := range all {
			// -2: the key has expired meanwhile.
			if life := redis.Do("PTTL", key.(string)); life == int64(-1) {
				t.Errorf("%q stays for ever", key)
			}
		}
	}
}

// While Redis is away, the archive returns an *otp.UnavailableError, as the store does.
func TestArchiveAway(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t)
	a := openArchive(t, redis.Addr(), testSecret)
	redis.Stop()
	redistest.Eventually(t, "it is known to be away", func() error {
		if a.node.up.Load() {
			return errors.New("it is not")
		}
		return nil
	})
	began := time.Now()
	_, err := a.Keys(ctx)
	wantUnavailable(t, err)
	_, err = a.Record(ctx, "one")
	wantUnavailable(t, err)
	_, _, _, err = a.Records(ctx, "")
	wantUnavailable(t, err)
	wantUnavailable(t, a.Keep(ctx, "one", nil))
	wantUnavailable(t, a.Drop(ctx, "one"))
	wantUnavailable(t, a.ChangeKeys(ctx, func([]byte) ([]byte, error) { return []byte("x"), nil }))
	if took := time.Since(began); took > requestBudget {
		t.Errorf("that took %v", took)
	}
}

// Keys in the envelope of a later release do not count as damaged, and no node replaces
// them.
func TestArchiveKeysOfALaterRelease(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t)
	a := openArchive(t, redis.Addr(), testSecret)
	for sealed, newer := range map[string]bool{
		"websms keys 1 sealed in another way": true, "websms keys 27 x": true,
		"websms keys 0 x": false, "websms keys x": false,
	} {
		redis.Do("SET", a.tag+"ring", sealed, "EX", "60")
		_, err := a.Keys(ctx)
		changed := a.ChangeKeys(ctx, func([]byte) ([]byte, error) { return []byte("those of this release"), nil })
		var version *session.VersionError
		if errors.As(err, &version) != newer || errors.As(changed, &version) != newer || newer && version.Known != envelopeVersion {
			t.Errorf("%q: read %v, changed %v", sealed, err, changed)
		}
		if left := redis.Do("GET", a.tag+"ring"); (left == sealed) != newer {
			t.Errorf("%q is now %q", sealed, left)
		}
	}
}

// After a page that fails, the entries of the pages before it are returned. The next call
// continues from there.
func TestArchiveGoesOnAfterAPage(t *testing.T) {
	full := make([]string, recordsAtOnce)
	for i := range full {
		full[i] = strconv.Itoa(i)
	}
	calls, away := 0, errors.New("away")
	page := func(epoch, number string) (records, error) {
		switch calls++; calls {
		case 1:
			return records{epoch: "e", names: full, last: "100"}, nil
		case 2:
			return records{}, away
		}
		if epoch != "e" || number != "100" {
			t.Errorf("it goes on from %q, %q", epoch, number)
		}
		return records{epoch: "e", names: []string{"last"}, last: "101"}, nil
	}
	names, mark, _, err := allRecords("", page)
	if !errors.Is(err, away) || len(names) != recordsAtOnce || mark != "e 100" {
		t.Errorf("the first time: %d names, mark %q, %v", len(names), mark, err)
	}
	if names, mark, _, err = allRecords(mark, page); err != nil || len(names) != 1 || mark != "e 101" {
		t.Errorf("then: %d names, mark %q, %v", len(names), mark, err)
	}
}
