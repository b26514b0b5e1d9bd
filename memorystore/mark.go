package memorystore

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// metaMerged is in a file if another process has taken over its counters and failures.
// The value is a mark. Earlier releases wrote "1".
var metaMerged = []byte("merged")

// mark names the file into which the marked file was merged, and the number of
// that file's transaction with the merge. An older copy of the named file has
// fewer rows.
type mark struct {
	name string
	at   uint64
}

func (k mark) bytes() []byte { return append(binary.BigEndian.AppendUint64(nil, k.at), k.name...) }

// markOf returns a file's mark. The name is "" if there is no mark, or if an
// earlier release wrote it.
func markOf(tx *bbolt.Tx) (k mark) {
	if meta := tx.Bucket(bucketMeta); meta != nil {
		if value := meta.Get(metaMerged); len(value) > 8 {
			k = mark{string(value[8:]), binary.BigEndian.Uint64(value)}
		}
	}
	return k
}

func nameOf(tx *bbolt.Tx) string {
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		return ""
	}
	return string(meta.Get(metaName))
}

// named returns the mark for files that were merged into this one. It gives
// this file a name if it has none.
func (f *dbFile) named() (k mark, err error) {
	f.writing.Lock()
	defer f.writing.Unlock()
	if f.name == "" {
		name := rand.Text()
		err := f.updated(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(metaName, []byte(name)) })
		if err != nil {
			f.report(err)
			return k, err
		}
		f.name = name
	}
	err = safely(func() error {
		return f.db.View(func(tx *bbolt.Tx) error {
			k = mark{f.name, uint64(tx.ID())}
			return nil
		})
	})
	return k, err
}

// successor returns the path of the file that has all rows of the store's own
// file, and the later changes. It returns "" if the own file is not marked, or
// if the successor is missing, open, damaged or older than the mark. Then the
// store keeps all locks of its own file.
func (m *memory) successor(paths []string) string {
	if m.file.mark.name == "" {
		return ""
	}
	type link struct {
		path string
		at   uint64
		mark mark
		last bool
	}
	links := make(map[string]link)
	for _, path := range paths {
		db, damage, err := openBolt(path, time.Millisecond)
		if err != nil {
			continue
		}
		err = safely(func() error {
			return db.View(func(tx *bbolt.Tx) error {
				if name := nameOf(tx); name != "" {
					if _, twice := links[name]; twice {
						return fmt.Errorf("two files have the name %s", name)
					}
					links[name] = link{path, uint64(tx.ID()), markOf(tx), !isMerged(tx)}
				}
				return nil
			})
		})
		if err = errors.Join(err, damage, db.Close()); err != nil {
			return ""
		}
	}
	next := m.file.mark
	for range paths {
		l, ok := links[next.name]
		switch {
		case !ok || l.at < next.at:
			return ""
		case l.last:
			return l.path
		}
		next = l.mark
	}
	return ""
}

// forgetRows forgets the rows of the store's own file. The caller does not hold
// mu.
func (m *memory) forgetRows() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.setRows(newCounters(), newFailureTable())
}

func isMerged(tx *bbolt.Tx) bool {
	meta := tx.Bucket(bucketMeta)
	return meta != nil && meta.Get(metaMerged) != nil
}

// readMark reads the file's mark and its name.
func (f *dbFile) readMark() {
	f.marked = true // in case of an error; it does no harm to unmark twice
	err := safely(func() error {
		return f.db.View(func(tx *bbolt.Tx) error {
			f.marked, f.mark, f.name = isMerged(tx), markOf(tx), nameOf(tx)
			return nil
		})
	})
	if err != nil {
		f.report(err)
	}
}

// unmark deletes the mark before the first change of the file, because no other
// process has the changes that follow. The caller holds writing.
func (f *dbFile) unmark() error {
	if !f.marked || len(f.pending) == 0 && !f.all {
		return nil
	}
	err := f.updated(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Delete(metaMerged) })
	f.marked = err != nil
	return err
}
