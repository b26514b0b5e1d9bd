package websms

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"

	"github.com/caddy-websms/websms/otp"
)

// Processes that share a folder have a file each. Which of them gets which file
// is a matter of who starts first, and a process may end for good, so a process
// takes over what is in the files that nobody has open:
//
//   - When it starts, it merges their counters and wrong codes with its own. It
//     also writes the result to those files, for a process that starts later and
//     opens one of them, and marks them as merged. The mark keeps a lock that
//     was lifted since from coming back at each start.
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

// metaMerged is in a file whose counters and wrong codes another process has.
var metaMerged = []byte("merged")

// lockStart returns when no other process of the folder starts or merges, or
// after a time, and a function that lets others go on.
func (m *memoryStore) lockStart(wait time.Duration) (unlock func(), ok bool) {
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
func (m *memoryStore) siblings() (paths []string) {
	for n := 1; n <= maxMemoryFiles; n++ {
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
func (m *memoryStore) adoptLeft(freeBefore []string) (free []string) {
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
func (m *memoryStore) isLeft(path string) (left bool) {
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

func isMerged(tx *bbolt.Tx) bool {
	meta := tx.Bucket(bucketMeta)
	return meta != nil && meta.Get(metaMerged) != nil
}

// leftFile is a file that nobody else has open, while it is taken over.
type leftFile struct {
	*memoryFile
	state  *memoryState
	merged bool // it was before
	aside  bool // it is damaged, and closed
}

// adopt merges the counters and wrong codes of files that nobody has open, and
// takes their pending challenges if they are to be taken. Then all of them get
// what all of them had. A file that is damaged is set aside; one that cannot be
// used is left to the process that opens it as its own. The caller does not hold mu.
func (m *memoryStore) adopt(paths []string, pending bool) {
	var files []*leftFile
	for _, path := range paths {
		if left := m.openLeft(path, pending); left != nil {
			files = append(files, left)
			m.mergeState(left.state)
		}
	}
	if len(files) == 0 {
		return
	}
	written := m.file.writeAll(m)
	for _, left := range files {
		err := written
		switch {
		case err != nil: // the next start tries again
		case left.aside:
			err = os.Rename(left.path, left.path+".unusable")
		case !left.merged:
			if err = left.compare(m); err == nil {
				err = left.updated(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(metaMerged, []byte("1")) })
			}
		}
		if !left.aside {
			err = errors.Join(err, left.db.Close())
		}
		m.log().Info("the memory store goes on with what another process has left",
			zap.String("file", left.path), zap.Int("counters", len(left.state.counters.places)), zap.Int("wrong_codes", len(left.state.runs.places)),
			zap.Int("challenges", len(left.state.pending)), zap.Bool("damaged", left.aside), zap.Error(err))
	}
}

// openLeft opens and reads a file that nobody has open. It returns nil if there
// is none, or nothing to take over. What is pending is deleted there before it
// is used.
func (m *memoryStore) openLeft(path string, pending bool) *leftFile {
	db, damage, err := openBolt(path, time.Millisecond)
	if err != nil {
		return nil
	}
	left := &leftFile{memoryFile: &memoryFile{path: path, db: db, update: db.Update, log: m.log, isCopy: true}}
	err = safely(func() error {
		return db.View(func(tx *bbolt.Tx) error {
			left.merged = isMerged(tx)
			return nil
		})
	})
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
	if left.merged {
		left.state.counters, left.state.runs = newCounters(), newRuns()
	}
	return left
}

// mergeState puts in place what was read, a few rows at a time, so that nobody
// waits long.
func (m *memoryStore) mergeState(state *memoryState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rows := 0
	pause := func() {
		if rows++; rows%notesAtOnce == 0 {
			m.mu.Unlock()
			m.mu.Lock()
		}
	}
	for key, place := range state.counters.places {
		m.counters.merge(key, &state.counters.at(int(place)).value)
		pause()
	}
	for key, place := range state.runs.places {
		m.runs.merge(key, &state.runs.at(int(place)).value)
		pause()
	}
	for pending := range slices.Chunk(state.pending, 1) {
		m.restore(&memoryState{pending: pending})
		pause()
	}
	m.restore(&memoryState{saved: state.saved})
}

// writeAll writes how everything stands.
func (f *memoryFile) writeAll(m *memoryStore) error {
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

// merge adds what another counter of the same key has counted.
func (c *counters) merge(key tableKey, other *counter) {
	known := c.find(key)
	if known == nil {
		if c.room(1) {
			*c.insert(key) = counter{window: other.window, returns: other.returns, demand: c.shared(*other.demand)}
		}
		return
	}
	known.demand = c.shared(demand{
		keep: max(known.demand.keep, other.demand.keep), longest: max(known.demand.longest, other.demand.longest),
	})
	known.window = unionOf(&known.window, &other.window, known.demand.keep)
	if other.returns != nil {
		returns := unionOf(known.windowOf(noteReturn), other.returns, known.demand.keep)
		known.returns = &returns
	}
}

// unionOf returns a window with the moments of two: one that both have is the
// same sending, as often as the one has it that has it more often.
func unionOf(a, b *otp.Window, keep int) (union otp.Window) {
	i, j := countAll(a), countAll(b)
	for i > 0 || j > 0 {
		var at int64
		switch {
		case j == 0:
			at = momentAt(a, i)
		case i == 0:
			at = momentAt(b, j)
		default:
			at = min(momentAt(a, i), momentAt(b, j))
		}
		if i > 0 && momentAt(a, i) == at {
			i--
			if j > 0 && momentAt(b, j) == at {
				j--
			}
		} else {
			j--
		}
		union.Add(time.Unix(0, at), keep)
	}
	return union
}

// merge adds the wrong codes that another process has counted for a number.
func (r *runs) merge(key tableKey, other *failures) {
	known := r.find(key)
	if known == nil {
		if r.room(1) {
			*r.insert(key) = *other
		}
		return
	}
	known.strangers.merge(&other.strangers)
	for device, s := range other.devices {
		if known.devices[device] == nil && len(known.devices) >= maxDevices {
			device = others
		}
		if known.devices == nil {
			known.devices = make(map[tableKey]*streak)
		}
		if known.devices[device] == nil {
			known.devices[device] = new(streak)
		}
		known.devices[device].merge(s)
	}
}

// merge makes a streak as strict as another one is too.
func (s *streak) merge(other *streak) {
	s.count, s.until = max(s.count, other.count), max(s.until, other.until)
	moments := slices.Concat(s.moments, other.moments)
	slices.Sort(moments)
	// Two wrong codes at one moment of one streak count once here, and the count
	// is what it was.
	moments = slices.Compact(moments)
	s.moments = moments[max(0, len(moments)-min(int(s.count), maxMoments)):]
}
