package websms

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/otp"
)

// memoryFile is the file of a memory store, and what writes it: a goroutine
// of its own, a little after something has changed. Nobody waits for it.
type memoryFile struct {
	path   string
	db     *bbolt.DB
	update func(func(*bbolt.Tx) error) error // db.Update; tests have it fail
	log    func() *zap.Logger
	stop   chan struct{}
	done   chan struct{}

	// Guarded by writing:
	writing sync.Mutex
	pending []note // not written yet
	all     bool   // some notes are lost: the whole file is to be compared
	failing bool
}

const (
	memoryFileVersion = "1"
	maxMemoryFiles    = 9 // processes that share a folder

	// writeDelay is how long what has changed may wait for more; with the
	// writing itself it is well within the second that a crash may cost.
	writeDelay = 250 * time.Millisecond

	// writeAgain is how long after a failure the next try is.
	writeAgain = 2 * time.Second

	// changesAtOnce bounds one transaction: its pages are in memory.
	changesAtOnce = 1 << 13

	// lockTime bounds waiting for a file that another process has open.
	lockTime = 100 * time.Millisecond
)

var (
	bucketMeta     = []byte("meta")
	bucketCounters = []byte("counters")
	bucketRuns     = []byte("runs")
	bucketSaved    = []byte("saved") // by a store that was closed
	rowBuckets     = [][]byte{bucketCounters, bucketRuns, bucketSaved}

	metaVersion = []byte("version")
	metaRing    = []byte("ring")
)

// unusableError says that a file is not one of ours, or not any more.
type unusableError struct{ reason error }

func (e *unusableError) Error() string { return e.reason.Error() }

// openFile opens the first file that no other process has open, and reads it.
// Without one the store is in memory alone.
func (m *memoryStore) openFile() {
	if m.dir == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.openFirst(); err != nil {
		m.log().Warn("the memory store has no file: what it counts ends with this process",
			zap.String("folder", m.dir), zap.Error(err))
	}
}

// memoryLog is the log of the configuration that runs: a store outlives the one
// that opened it.
func memoryLog() *zap.Logger { return caddy.Log().Named("websms") }

func (m *memoryStore) openFirst() error {
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return err
	}
	for n := 1; n <= maxMemoryFiles; n++ {
		name := "memory.db"
		if n > 1 {
			name = fmt.Sprintf("memory-%d.db", n)
		}
		path := filepath.Join(m.dir, name)
		err := m.read(path)
		if unusable := (*unusableError)(nil); errors.As(err, &unusable) {
			if err := os.Rename(path, path+".unusable"); err != nil {
				return err
			}
			m.log().Warn("the file of the memory store cannot be used: it is set aside, and what it counted is forgotten",
				zap.String("file", path+".unusable"), zap.Error(unusable))
			err = m.read(path)
		}
		if !errors.Is(err, bolterrors.ErrTimeout) {
			return err
		}
	}
	return fmt.Errorf("%d other processes have their files there", maxMemoryFiles)
}

// read opens one file and puts in place what is in it. The caller holds mu.
func (m *memoryStore) read(path string) error {
	db, err := openBolt(path)
	if err != nil {
		return err
	}
	file := &memoryFile{
		path: path, db: db, update: db.Update, log: m.log, stop: make(chan struct{}), done: make(chan struct{}),
	}
	var state memoryState
	err = safely(func() error {
		if err := prepare(db, m.ring); err != nil {
			return err
		}
		return db.View(func(tx *bbolt.Tx) error { return state.read(tx, m.now()) })
	})
	if err != nil {
		return errors.Join(err, db.Close())
	}
	if len(state.saved) > 0 {
		// A code is good once: what was pending is gone from the file before
		// it can be answered, so that no crash brings it back.
		if err := safely(func() error { return db.Update(dropSaved) }); err != nil {
			state.saved = nil
			file.report(err)
		}
	}
	m.file = file
	m.notes.changed = make(chan struct{}, 1)
	m.setRows(state.counters, state.runs)
	for _, n := range state.expired {
		m.notes.add(n.kind, n.key, n.at)
	}
	m.restore(state.saved)
	go file.run(m)
	return nil
}

// openBolt opens a database. Its package finds some damage by panicking, or by
// reading what is not there.
func openBolt(path string) (db *bbolt.DB, err error) {
	var opened *os.File
	err = safely(func() (err error) {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout: lockTime, FreelistType: bbolt.FreelistMapType, NoStatistics: true,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				var err error
				opened, err = os.OpenFile(name, flag, mode)
				return opened, err
			},
		})
		if err != nil {
			return err
		}
		return db.View(func(tx *bbolt.Tx) error {
			info, err := opened.Stat()
			if err == nil && info.Size() < tx.Size() {
				err = &unusableError{fmt.Errorf("%d of its %d bytes are there", info.Size(), tx.Size())}
			}
			return err
		})
	})
	if err == nil {
		return db, nil
	}
	if db != nil {
		err = errors.Join(err, db.Close())
	} else if opened != nil {
		opened.Close() // after a panic; else it is closed
	}
	var system syscall.Errno
	if errors.Is(err, bolterrors.ErrTimeout) || errors.As(err, new(*fs.PathError)) || errors.As(err, &system) {
		return nil, err
	}
	return nil, &unusableError{err}
}

// safely does what reads a file that may be damaged.
func safely(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = &unusableError{fmt.Errorf("it is damaged: %v", p)}
		}
	}()
	return do()
}

// prepare makes a new file ours, or sees that an old one is.
func prepare(db *bbolt.DB, ring otp.Digest) error {
	isNew, isKnown := false, false
	err := db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			isNew = true
			if name, _ := tx.Cursor().First(); name != nil {
				return &unusableError{errors.New("it is another program's")}
			}
			return nil
		}
		if v := meta.Get(metaVersion); string(v) != memoryFileVersion {
			return &unusableError{fmt.Errorf("it is of version %.20q, and this is %q", v, memoryFileVersion)}
		}
		for _, name := range rowBuckets {
			if tx.Bucket(name) == nil {
				return &unusableError{fmt.Errorf("it has no %s", name)}
			}
		}
		was := meta.Get(metaRing)
		isKnown = was != nil || ring == (otp.Digest{})
		if was != nil && ring != (otp.Digest{}) && !bytes.Equal(was, ring[:]) {
			return &unusableError{errors.New("its hashes are keyed by another key ring")}
		}
		return nil
	})
	if err != nil || !isNew && isKnown {
		return err // nothing is written for nothing: the disk may be full
	}
	return db.Update(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucketIfNotExists(bucketMeta)
		if err != nil {
			return err
		}
		if ring != (otp.Digest{}) {
			if err := meta.Put(metaRing, ring[:]); err != nil {
				return err
			}
		}
		for _, name := range rowBuckets {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return meta.Put(metaVersion, []byte(memoryFileVersion))
	})
}

// run writes what changes until the store is closed.
func (f *memoryFile) run(m *memoryStore) {
	defer close(f.done)
	for {
		wait := writeDelay
		select {
		case <-m.notes.changed:
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
