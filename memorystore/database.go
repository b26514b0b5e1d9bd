package memorystore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/caddy-websms/websms/otp"
)

// unusableError says that a file is not one of ours, or not any more.
type unusableError struct{ reason error }

func (e *unusableError) Error() string { return e.reason.Error() }

// newerError says that a file has a version that only a later release knows.
type newerError struct{ version uint64 }

func (e *newerError) Error() string { return fmt.Sprintf("it is of version %d", e.version) }

// openBolt opens a database. Its package finds some damage by panicking, or by
// reading what is not there. With damage the end of the file is missing: it can
// be read in part, and must not be written.
func openBolt(path string, wait time.Duration) (db *bbolt.DB, damage, err error) {
	var opened *os.File
	err = safely(func() (err error) {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout: wait, FreelistType: bbolt.FreelistMapType, NoStatistics: true,
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
				damage = fmt.Errorf("%d of its %d bytes are there", info.Size(), tx.Size())
			}
			return err
		})
	})
	if err == nil {
		return db, damage, nil
	}
	if db != nil {
		err = errors.Join(err, db.Close())
	} else if opened != nil {
		opened.Close() // after a panic; else it is closed
	}
	var system syscall.Errno
	if errors.Is(err, bolterrors.ErrTimeout) || errors.As(err, new(*fs.PathError)) || errors.As(err, &system) {
		return nil, nil, err
	}
	return nil, nil, &unusableError{err}
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

// prepare makes a new file ours, or sees that an old one is: of this version, or
// of the one before, which becomes this one. A file may be damaged so that it
// must not be written. It returns the buckets that an old file has lost.
func prepare(db *bbolt.DB, ring otp.Digest, version uint64, writable bool) (lost []string, err error) {
	isNew, isKnown := false, false
	err = db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			isNew = true
			if name, _ := tx.Cursor().First(); name != nil {
				return &unusableError{errors.New("it is another program's")}
			}
			return nil
		}
		v, err := strconv.ParseUint(string(meta.Get(metaVersion)), 10, 64)
		switch {
		case err != nil:
			return &unusableError{fmt.Errorf("its version is %.20q, which is no number", meta.Get(metaVersion))}
		case v > version:
			return &newerError{v}
		case v+1 < version:
			return &unusableError{fmt.Errorf("it is of version %d, and this release reads %d and %d", v, version-1, version)}
		}
		was := meta.Get(metaRing)
		isKnown = v == version && (was != nil || ring == (otp.Digest{}))
		for _, name := range rowBuckets {
			if tx.Bucket(name) == nil {
				lost, isKnown = append(lost, string(name)), false
			}
		}
		if was != nil && ring != (otp.Digest{}) && !bytes.Equal(was, ring[:]) {
			return &unusableError{errors.New("its hashes are keyed by another key ring")}
		}
		return nil
	})
	if err != nil || !isNew && isKnown || !writable {
		return lost, err // nothing is written for nothing: the disk may be full
	}
	return lost, db.Update(func(tx *bbolt.Tx) error {
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
		if len(lost) > 0 {
			if err := meta.Delete(metaName); err != nil {
				return err
			}
		}
		return meta.Put(metaVersion, strconv.AppendUint(nil, version, 10))
	})
}
