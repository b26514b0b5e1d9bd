package memorystore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"
)

// Processes that share a folder have a file each. The order of their starts
// decides which process gets which file, and a process may end for good. So
// each process takes over the files that no other process has open:
//
//   - When it starts, it merges their counters and failures with its own. It
//     writes the result to those files too, for a process that starts later
//     and opens one of them, and marks them as merged. The mark keeps a lock
//     that an operator has lifted from coming back at each start. It also
//     names the file into which the marked one was merged. A process that
//     opens a marked file while the named one is free goes on with the named
//     file's rows, and forgets those of the marked file.
//   - While it runs, it looks at the other files every adoptEvery. A file that
//     is free at two looks in a row belongs to a process that has ended. Its
//     pending challenges are taken too. They are deleted there first, because
//     a code is good once.
//
// A merge lifts no limit. A merged counter has the moments of both counters.
// Merged failures have the larger count, the later lock and the moments of
// both.

const (
	// adoptEvery is the time between two looks at the files of other processes. A
	// restart should take less time, so that a process finds its own challenges.
	adoptEvery = 5 * time.Second

	// startLockTime bounds the wait for another process that is starting.
	startLockTime = 10 * time.Second

	startLockName = "starting.lock"
)

// lockStart waits until no other process of the folder starts or merges, for at
// most wait. It returns a function that lets the others go on, and whether it
// has the lock.
func (m *memory) lockStart(wait time.Duration) (unlock func(), ok bool) {
	var db *bbolt.DB
	err := safely(func() (err error) {
		db, err = bbolt.Open(filepath.Join(m.dir, startLockName), 0o600, &bbolt.Options{Timeout: wait, NoStatistics: true})
		return err
	})
	if err != nil {
		return func() {}, false
	}
	return func() { _ = db.Close() }, true // it holds no data, only the lock
}

// siblings returns the files of the folder that are not the store's own.
func (m *memory) siblings() (paths []string) {
	for n := 1; n <= maxFiles; n++ {
		path := m.filePath(n)
		if path == m.file.path {
			continue
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			paths = append(paths, path)
		}
	}
	return paths
}

// adoptLeft takes over the files that are free now and were free at the look
// before. It returns the other free files, for the next look.
func (m *memory) adoptLeft(freeBefore []string) (free []string) {
	m.mu.Lock()
	stops := m.keeper.on
	m.mu.Unlock()
	if stops {
		return nil
	}
	unlock, ok := m.lockStart(time.Millisecond)
	if !ok {
		return nil // another process starts, and may need its file
	}
	defer unlock()
	var left []string
	for _, path := range m.siblings() {
		if !m.isLeft(path) {
			continue
		}
		if slices.Contains(freeBefore, path) {
			left = append(left, path)
		} else {
			free = append(free, path)
		}
	}
	m.adopt(left, true)
	return free
}

// isLeft reports whether a file is not open in another process, and has rows to
// take over.
func (m *memory) isLeft(path string) (left bool) {
	db, _, err := openBolt(path, time.Millisecond)
	if err != nil {
		return false
	}
	defer func() { _ = db.Close() }() // it was only read
	err = safely(func() error {
		return db.View(func(tx *bbolt.Tx) error {
			left = !isMerged(tx)
			for _, name := range [][]byte{bucketChallenges, bucketSaved} {
				if bucket := tx.Bucket(name); bucket != nil {
					key, _ := bucket.Cursor().First()
					left = left || key != nil
				}
			}
			return nil
		})
	})
	return left || err != nil
}

// leftFile is a file that no other process has open, while it is taken over.
type leftFile struct {
	*dbFile
	state  *fileState
	merged bool // the file was merged before
	at     int  // the number of its latest transaction; 0: unknown
	aside  bool // the file is damaged, and closed
}

// adopt merges the counters and failures of files that no process has open. If
// pending is set, it also takes their pending challenges. At the start, when
// pending is not set, the successor of the own file comes first. In the end all
// the files have the rows of all. A damaged file is set aside. A file that
// cannot be used is left to the process that opens it as its own. The caller
// does not hold mu.
func (m *memory) adopt(paths []string, pending bool) {
	var files []*leftFile
	successor := ""
	if !pending {
		successor = m.successor(paths)
	}
	if i := slices.Index(paths, successor); i > 0 {
		paths[0], paths[i] = paths[i], paths[0]
	}
	for _, path := range paths {
		if left := m.openLeft(path, pending); left != nil {
			if path == successor && !left.aside && len(left.state.parts) == 0 {
				m.forgetRows()
			}
			files = append(files, left)
			m.mergeState(left.state)
		}
	}
	if len(files) == 0 {
		return
	}
	written := m.file.writeAll(m)
	var by mark
	if written == nil {
		by, written = m.file.named()
	}
	for _, left := range files {
		err := written
		switch {
		case err != nil: // the file stays as it is; the next start tries again
		case left.aside:
			err = os.Rename(left.path, left.path+".unusable")
		case !left.merged:
			if err = left.compare(m); err == nil {
				err = left.updated(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(metaMerged, by.bytes()) })
			}
		}
		m.file.remember(left, err)
		if !left.aside {
			err = errors.Join(err, left.db.Close())
		}
		m.log().Info("the memory store has taken over the file of another process",
			zap.String("file", left.path), zap.Int("counters", len(left.state.counters.places)),
			zap.Int("wrong_codes", len(left.state.failures.places)),
			zap.Int("challenges", len(left.state.pending)), zap.Bool("damaged", left.aside), zap.Error(err))
	}
}

// remember notes that a file is merged if the mark could not be written. Until
// it can be, the file must not be merged again, because an operator may have
// lifted a lock since.
func (f *dbFile) remember(left *leftFile, err error) {
	f.taken.Delete(left.path)
	if err == nil || left.merged {
		return
	}
	if !left.aside { // deleting the pending challenges was a transaction
		_ = left.readAt() // without a time, the file is read again
	}
	if left.at > 0 {
		f.taken.Store(left.path, left.at)
	}
}

// readAt reads the number of the file's latest transaction, and whether the
// file is marked.
func (l *leftFile) readAt() error {
	l.at = 0
	return safely(func() error {
		return l.db.View(func(tx *bbolt.Tx) error {
			l.merged, l.at = isMerged(tx), tx.ID()
			return nil
		})
	})
}

// openLeft opens and reads a file that no process has open. It returns nil if
// there is no such file, or nothing to take over. Pending challenges are
// deleted from the file before they are used.
func (m *memory) openLeft(path string, pending bool) *leftFile {
	db, damage, err := openBolt(path, time.Millisecond)
	if err != nil {
		return nil
	}
	left := &leftFile{dbFile: &dbFile{path: path, db: db, update: db.Update, log: m.log, isCopy: true}}
	err = left.readAt()
	at, known := m.file.taken.Load(path)
	known = known && at == left.at
	if err == nil && left.merged && !pending {
		_ = db.Close() // it was only read
		return nil
	}
	left.state, err = m.readOpen(db, damage)
	if left.state == nil {
		return nil
	}
	if left.aside = err != nil; left.aside || !pending { // nothing can be deleted from a damaged file
		left.state.saved, left.state.pending = nil, nil
	} else {
		left.takePending(left.state)
	}
	if left.merged || known {
		left.state.counters, left.state.failures = newCounters(), newFailureTable()
	}
	return left
}

// writeAll writes the present state of the whole store.
func (f *dbFile) writeAll(m *memory) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	f.all = true
	var err error
	for try := 0; try < 3 && f.all && err == nil; try++ { // the first writes the notes from before
		err = f.flushed(m)
	}
	if err == nil && f.all {
		err = errors.New("the store changes too fast to write all of it")
	}
	f.report(err)
	return err
}
