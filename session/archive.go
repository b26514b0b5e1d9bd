package session

import (
	"context"
	"time"
)

// Archive is where the keys of a Ring and its revocations are kept for all
// processes that share them. It is safe for concurrent use. Keys come to it in
// clear, so who keeps them elsewhere than on the operator's own disk seals them.
type Archive interface {
	// Volatile reports whether the archive may be away, or lose all it has, at
	// any time: then who uses it begins without keys, goes on with what it
	// knows, and puts that back.
	Volatile() bool

	// Follow is how often to ask for what other processes have changed.
	Follow() time.Duration

	// Keys returns what ChangeKeys has written last, or nil if there is nothing.
	Keys(ctx context.Context) ([]byte, error)

	// ChangeKeys replaces the keys by what next returns for those that are
	// there, nil if there are none; if it returns nil, they stay. Nobody else
	// changes them in between. It may call next more than once. If it returns
	// an error, that may be next's own.
	ChangeKeys(ctx context.Context, next func(keys []byte) ([]byte, error)) error

	// Records returns the names of the records that were kept since mark, and
	// the mark to go on from; with mark "", and where an archive cannot tell,
	// all of them. It reports whether the archive has been emptied since: then
	// the names are all there are, and who asks is to keep again what it knows.
	// With an error it may return what it had read by then, and a mark to go on
	// from; a mark of "" says that there is nothing yet.
	Records(ctx context.Context, mark string) (names []string, next string, emptied bool, err error)

	// Record returns what was kept under name, or an error that wraps
	// fs.ErrNotExist.
	Record(ctx context.Context, name string) ([]byte, error)

	// Keep keeps a record. Its name is of letters, digits and hyphens.
	Keep(ctx context.Context, name string, value []byte) error

	// Drop removes records. It is no error if one is not there.
	Drop(ctx context.Context, names ...string) error
}
