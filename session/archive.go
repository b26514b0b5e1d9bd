package session

import (
	"context"
	"time"
)

// Archive keeps the keys of a Ring, and the revocation records, for all processes
// that share them. An implementation must be safe for concurrent use. The keys
// arrive unencrypted. An archive that is not on the operator's own disk must
// encrypt them.
type Archive interface {
	// Volatile reports whether the archive may be unreachable or lose its content
	// at any time, as a Redis server may. Its user then starts without keys, keeps
	// working with those in memory, and writes them back.
	Volatile() bool

	// Follow returns how often to read the changes of other processes.
	Follow() time.Duration

	// Keys returns the keys that ChangeKeys wrote last, or nil if there are none.
	Keys(ctx context.Context) ([]byte, error)

	// ChangeKeys calls next with the keys that are kept, nil if there are none, and
	// replaces them by the result. A result of nil changes nothing. No other
	// process can change the keys in between. ChangeKeys may call next more than
	// once. It returns an error of next, or one of its own.
	ChangeKeys(ctx context.Context, next func(keys []byte) ([]byte, error)) error

	// Records returns the names of the records that were added since mark, and the
	// mark for the next call. It returns all names for the mark "", and also where
	// the archive cannot tell which ones are new.
	//
	// If emptied is true, the archive lost its content since mark. The names are
	// then all that it has, and the caller must keep its own records again.
	//
	// With an error, Records may return the names that it has read so far, and a
	// mark to continue from. The mark "" then means that it has read none.
	Records(ctx context.Context, mark string) (names []string, next string, emptied bool, err error)

	// Record returns the value of a record, or an error that wraps fs.ErrNotExist.
	Record(ctx context.Context, name string) ([]byte, error)

	// Keep adds a record. The name consists of letters, digits and hyphens.
	Keep(ctx context.Context, name string, value []byte) error

	// Drop removes records. A name without a record is not an error.
	Drop(ctx context.Context, names ...string) error
}
