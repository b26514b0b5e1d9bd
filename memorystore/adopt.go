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

// Processes that share a folder have a file each. Which of them gets which file
// is a matter of who starts first, and a process may end for good, so a process
// takes over what is in the files that nobody has open:
//
//   - When it starts, it merges their counters and wrong codes with its own. It
//     also writes the result to those files, for a process that starts later and
//     opens one of them, and marks them as merged. The mark keeps a lock that
//     was lifted since from coming back at each start. It also says into which
//     file: a process that opens a marked file when that one is free goes on
//     with what that one says, and the marked file's rows are forgotten.
//   - While it runs, it looks every adoptEvery. A file that is free twice in a
//     row is of a process that has ended: its pending challenges are taken too,
//     deleted there first, because a code is good once.
//
// To merge lifts no limit. A counter then has the moments of both. A streak has
// the larger count, the later lock and the moments of both.

const (
	// adoptEvery is the time between two looks at the files of other processes.
	// A restart should be shorter: then a process finds its own challenges.
	adoptEvery = 5 * time.Second

	// startLockTime bounds the wait for another process that starts.
	startLockTime = 10 * time.Second

	startLockName = "starting.lock"
)

// lockStart returns when no other process of the folder starts or merges, or
// after a time, and a function that lets others go on.
func (m *memory) lockStart(wait time.Duration) (unlock func(), ok bool) {
	var db *bbolt.DB
	err := safely(func() (err error) {
		db, err = bbolt.Open(filepath.Join(m.dir, startLockName), 0o600, &bbolt.Options{Timeout: wait, NoStatistics: true})
		return err
	})
	if err != nil {
		return func() {}, false
	}
	return func() { db.Close() }, true
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

// adoptLeft takes over the pending challenges, and what is not merged yet, of
// the files that were free at the last look too. It returns those that are free now.
func (m *memory) adoptLeft(freeBefore []string) (free []string) {
	m.mu.Lock()
	stops := m.keeper.on
	m.mu.Unlock()
	if stops {
		return nil
	}
	unlock, ok := m.lockStart(time.Millisecond)
	if !ok {
		return nil // a process starts: it may need its file
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

// isLeft reports whether nobody has a file open, and there is something in it
// to take over.
func (m *memory) isLeft(path string) (left bool) {
	db, _, err := openBolt(path, time.Millisecond)
	if err != nil {
		return false
	}
	defer db.Close()
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

// leftFile is a file that nobody else has open, while it is taken over.
type leftFile struct {
	*dbFile
	state  *fileState
	merged bool // it was before
	at     int  // its latest transaction; 0: unknown
	aside  bool // it is damaged, and closed
}

// adopt merges the counters and wrong codes of files that nobody has open, and
// takes their pending challenges if they are to be taken. At the start, without
// pending ones, the successor of the own file comes first. Then all of them get
// what all of them had. A file that is damaged is set aside; one that cannot be
// used is left to the process that opens it as its own. The caller does not hold mu.
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
		case err != nil: // the next start tries again
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
		m.log().Info("the memory store goes on with what another process has left",
			zap.String("file", left.path), zap.Int("counters", len(left.state.counters.places)), zap.Int("wrong_codes", len(left.state.failures.places)),
			zap.Int("challenges", len(left.state.pending)), zap.Bool("damaged", left.aside), zap.Error(err))
	}
}

// remember notes that a file is merged, if that could not be written: what is
// lifted until it can be must not be merged again.
func (f *dbFile) remember(left *leftFile, err error) {
	f.taken.Delete(left.path)
	if err == nil || left.merged {
		return
	}
	if !left.aside { // what was pending is deleted since
		left.readAt()
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

// openLeft opens and reads a file that nobody has open. It returns nil if there
// is none, or nothing to take over. What is pending is deleted there before it
// is used.
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
		db.Close()
		return nil
	}
	left.state, err = m.readOpen(db, damage)
	if left.state == nil {
		return nil
	}
	if left.aside = err != nil; left.aside || !pending { // of a damaged file, nothing can be deleted
		left.state.saved, left.state.pending = nil, nil
	} else {
		left.takePending(left.state)
	}
	if left.merged || known {
		left.state.counters, left.state.failures = newCounters(), newFailureTable()
	}
	return left
}

// writeAll writes how everything stands.
func (f *dbFile) writeAll(m *memory) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	f.all = true
	var err error
	for try := 0; try < 3 && f.all && err == nil; try++ { // the first writes what was noted before
		err = f.flushed(m)
	}
	if err == nil && f.all {
		err = errors.New("too much changes to write all")
	}
	f.report(err)
	return err
}
