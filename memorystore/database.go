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

// unusableError says that a file is damaged, or is not a file of this store.
type unusableError struct{ reason error }

func (e *unusableError) Error() string { return e.reason.Error() }

// newerError says that a file has a version that only a later release knows.
type newerError struct{ version uint64 }

func (e *newerError) Error() string {
	return fmt.Sprintf("the version %d of the file is newer than this release", e.version)
}

// openBolt opens a database. If damage is not nil, the end of the file is
// missing: the file can be read in part, and must not be written. bbolt panics,
// or reads beyond the file, if a file is damaged in other ways; openBolt
// returns an *unusableError then.
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
				damage = fmt.Errorf("the file has %d of its %d bytes", info.Size(), tx.Size())
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
		opened.Close() // bbolt closes it, but not after a panic
	}
	var system syscall.Errno
	if errors.Is(err, bolterrors.ErrTimeout) || errors.As(err, new(*fs.PathError)) || errors.As(err, &system) {
		return nil, nil, err
	}
	return nil, nil, &unusableError{err}
}

// safely runs do, which reads a file that may be damaged. It turns a panic, or
// a fault of the mapped memory, into an *unusableError.
func safely(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = &unusableError{fmt.Errorf("the file is damaged: %v", p)}
		}
	}()
	return do()
}

// prepare sets up a new file, or checks an old one: the version must be this
// one or the one before, which becomes this one. A damaged file is not
// writable. prepare returns the buckets that an old file has lost.
func prepare(db *bbolt.DB, ring otp.Digest, version uint64, writable bool) (lost []string, err error) {
	isNew, isKnown := false, false
	err = db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			isNew = true
			if name, _ := tx.Cursor().First(); name != nil {
				return &unusableError{errors.New("another program wrote the file")}
			}
			return nil
		}
		v, err := strconv.ParseUint(string(meta.Get(metaVersion)), 10, 64)
		switch {
		case err != nil:
			return &unusableError{fmt.Errorf("the version of the file is %.20q, which is not a number", meta.Get(metaVersion))}
		case v > version:
			return &newerError{v}
		case v+1 < version:
			return &unusableError{fmt.Errorf("the file has version %d, and this release reads versions %d and %d", v, version-1, version)}
		}
		was := meta.Get(metaRing)
		isKnown = v == version && (was != nil || ring == (otp.Digest{}))
		for _, name := range rowBuckets {
			if tx.Bucket(name) == nil {
				lost, isKnown = append(lost, string(name)), false
			}
		}
		if was != nil && ring != (otp.Digest{}) && !bytes.Equal(was, ring[:]) {
			return &unusableError{errors.New("the hashes in the file were made with another key ring")}
		}
		return nil
	})
	if err != nil || !isNew && isKnown || !writable {
		return lost, err // an unchanged file is not written, because the disk may be full
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
