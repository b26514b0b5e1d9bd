package memorystore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/internal/logtext"
)

// dbFile is the file of a store, and the goroutine that writes it a little
// after a change. No request waits for the goroutine.
type dbFile struct {
	path   string
	db     *bbolt.DB
	update func(func(*bbolt.Tx) error) error // db.Update; tests make it fail
	log    func() *zap.Logger
	look   *time.Ticker // for looks at the files of other processes
	stop   chan struct{}
	done   chan struct{}

	// taken has the paths of other files that are merged, but could not be marked,
	// and the number (an int) of the latest transaction of each.
	taken sync.Map

	// Guarded by writing:
	writing sync.Mutex
	isCopy  bool        // another process's file, which gets no changes of this store
	leaving withdrawals // challenges whose rows are to be deleted at once
	pending []note      // not written yet
	all     bool        // notes are lost, so the whole file must be compared
	failing bool
	marked  bool   // the file is marked as merged
	mark    mark   // names the file it was merged into, if that is known
	name    string // made when the store first takes over another file
}

const (
	// formatVersion is the version of the file's format. A release reads files of
	// its own version and of the one before, and leaves files of a later version
	// alone. A new bucket, a row with another kind of key, or a field at the end of
	// a row needs no new version, because releases that do not know it keep it.
	formatVersion = 1

	maxFiles = 9 // processes that share a folder

	// writeDelay is how long a change waits for more changes. Together with the
	// writing it is well below the second that a crash may cost.
	writeDelay = 250 * time.Millisecond

	// writeAgain is the time between a failed write and the next try.
	writeAgain = 2 * time.Second

	// changesAtOnce bounds one transaction, because its pages are in memory.
	changesAtOnce = 1 << 13

	// lockTime bounds waiting for a file that another process has open.
	lockTime = 100 * time.Millisecond
)

var (
	bucketMeta     = []byte("meta")
	bucketCounters = []byte("counters")
	bucketFailures = []byte("runs")  // a former name of failures
	bucketSaved    = []byte("saved") // like challenges, written when Caddy stops
	rowBuckets     = [][]byte{bucketCounters, bucketFailures, bucketSaved}

	bucketChallenges = []byte("challenges") // made with the first challenge

	metaName    = []byte("name")
	metaVersion = []byte("version")
	metaRing    = []byte("ring")
)

// openFile opens the first file that no other process has open, and reads it.
// If there is none, the store is in memory alone.
func (m *memory) openFile() {
	if m.dir == "" {
		return
	}
	err := os.MkdirAll(m.dir, 0o700)
	if err == nil {
		unlock, _ := m.lockStart(startLockTime)
		defer unlock()
		m.mu.Lock()
		err = m.openFirst()
		m.mu.Unlock()
	}
	if err != nil {
		m.log().Warn("the memory store has no file: its counters and locks end with this process",
			zap.String("folder", m.dir), zap.Error(err))
		return
	}
	m.adopt(m.siblings(), false)
	go m.file.run(m)
}

// currentLog returns the log of the running configuration. A store outlives the
// configuration that opened it, so it must not keep that one's log.
func currentLog() *zap.Logger { return logtext.Escaping(caddy.Log().Named("websms")) }

// openFirst tries one file after another until it can use one. The caller holds
// mu.
func (m *memory) openFirst() error {
	for n := 1; n <= maxFiles; n++ {
		path := m.filePath(n)
		db, state, err := m.readFile(path)
		newer := (*newerError)(nil)
		if errors.As(err, &newer) {
			m.log().Error("the file of the memory store belongs to a later release: it is left as it is, and this process counts in another file. "+
				"Start that release again, or delete the file to forget its counters and locks",
				zap.String("file", path), zap.Uint64("version", newer.version), zap.Uint64("readable", m.version))
			continue
		}
		unusable := (*unusableError)(nil)
		salvaged := false
		if errors.As(err, &unusable) {
			if err := os.Rename(path, path+".unusable"); err != nil {
				return err
			}
			if salvaged = state != nil; salvaged {
				m.log().Warn("the file of the memory store is damaged: it is renamed, and the rows that can be read are in a new file",
					zap.String("file", path+".unusable"), zap.Error(unusable), zap.Strings("lost", state.parts),
					zap.Int("counters", len(state.counters.places)),
					zap.Int("wrong_codes", len(state.failures.places)), zap.Int("challenges", len(state.pending)))
			} else {
				m.log().Warn("the file of the memory store cannot be used: it is renamed, and its counters and locks are forgotten",
					zap.String("file", path+".unusable"), zap.Error(unusable))
			}
			old := state
			if db, state, err = m.readFile(path); salvaged && err == nil {
				state = old
			}
		}
		if errors.Is(err, bolterrors.ErrTimeout) {
			continue
		}
		if err == nil {
			m.use(path, db, state, salvaged)
		}
		return err
	}
	return fmt.Errorf("all %d files are in use by other processes, or of a later release", maxFiles)
}

// filePath returns the path of the n-th file, from 1.
func (m *memory) filePath(n int) string {
	name := "memory.db"
	if n > 1 {
		name = fmt.Sprintf("memory-%d.db", n)
	}
	return filepath.Join(m.dir, name)
}

// readFile opens one file and reads it. If it returns an *unusableError, the
// file is closed, and the state has the rows that could be read, or is nil.
func (m *memory) readFile(path string) (*bbolt.DB, *fileState, error) {
	db, damage, err := openBolt(path, lockTime)
	if err != nil {
		return nil, nil, err
	}
	state, err := m.readOpen(db, damage)
	if err != nil {
		return nil, state, err
	}
	return db, state, nil
}

// readOpen reads a file that is open. If it returns an error, the file is
// closed, and the state has the rows that could be read, or is nil.
func (m *memory) readOpen(db *bbolt.DB, damage error) (*fileState, error) {
	state := new(fileState)
	err := safely(func() (err error) {
		state.parts, err = prepare(db, m.ring, m.version, damage == nil)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := state.read(db, m.now()); err != nil || damage != nil {
		err = errors.Join(err, damage, db.Close())
		if len(state.counters.places)+len(state.failures.places)+len(state.pending) == 0 {
			state = nil
		}
		return state, &unusableError{err}
	}
	return state, nil
}

// use makes an open file the store's, and puts the rows that were read in
// place. If they are from a damaged file that was set aside (salvaged), all of
// them are written to the new file. The caller holds mu.
func (m *memory) use(path string, db *bbolt.DB, state *fileState, salvaged bool) {
	file := &dbFile{
		path: path, db: db, update: db.Update, log: m.log, all: salvaged,
		look: time.NewTicker(adoptEvery), stop: make(chan struct{}), done: make(chan struct{}),
	}
	if salvaged {
		state.bad = nil
	} else {
		file.takePending(state)
		file.readMark()
	}
	if len(state.parts) > 0 && !salvaged {
		file.log().Warn("rows of the memory store's file cannot be read and are forgotten",
			zap.String("file", path), zap.Int("rows", state.lost), zap.Strings("lost", state.parts))
		// The file has lost rows, so it must not be the successor of another one.
		state.bad = append(state.bad, change{bucket: bucketMeta, key: metaName})
		file.name = ""
		if err := file.applied(state.bad); err != nil {
			file.report(err)
		}
	}
	m.file = file
	m.notes.changed = make(chan struct{}, 1)
	m.setRows(state.counters, state.failures)
	for _, n := range state.expired {
		m.notes.add(n.kind, n.key, n.at)
	}
	m.restore(state)
	if salvaged {
		m.notes.changed <- struct{}{}
	}
}

// takePending deletes the pending challenges from the file. A code is good
// once, so its row must be gone before the code can be answered. If the rows
// cannot be deleted, they are not used.
func (f *dbFile) takePending(state *fileState) {
	if len(state.saved)+len(state.pending) == 0 {
		return
	}
	if err := f.updated(dropPending); err != nil {
		state.saved, state.pending = nil, nil
		f.report(err)
	}
}

// run writes the changes until the store is closed.
func (f *dbFile) run(m *memory) {
	defer close(f.done)
	defer f.look.Stop()
	var free []string // files of other processes, at the last look
	for {
		wait := writeDelay
		select {
		case <-m.notes.changed:
		case <-f.look.C:
			free = m.adoptLeft(free)
			continue
		case <-f.stop:
			return
		}
		for {
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-f.stop:
				timer.Stop()
				return
			}
			if f.flush(m) == nil {
				break
			}
			wait = writeAgain
		}
	}
}
