package memorystore

import (
	"bytes"
	"cmp"
	"slices"
)

// notebook is what has changed in a memory store since it was last written to
// its file: not the change itself but where it was, so that whoever writes
// looks up how things stand by then, and writing a thing twice does no harm.
// The store's mutex guards it. A nil notebook notes nothing.
type notebook struct {
	notes   []note
	lost    bool          // there was no room for all
	changed chan struct{} // is sent to at the first note; nil: nobody writes
}

// note says that a moment of a counter has changed, or a counter as a whole,
// or what counts for a number.
type note struct {
	key  tableKey
	at   int64 // the moment, in nanoseconds since 1970
	kind noteKind
}

type noteKind uint8

const (
	noteCounter  noteKind = iota // a counter as a whole
	noteSending                  // a moment of its sendings
	noteReturn                   // a moment of what was given back
	noteFailures                 // all wrong codes of a number
)

// maxNotes bounds what waits to be written. Past it the whole file is compared
// with the store, when it can be written again.
const maxNotes = 1 << 17

func (n *notebook) add(kind noteKind, key tableKey, at int64) {
	if n == nil || n.changed == nil {
		return
	}
	if len(n.notes) >= maxNotes {
		n.lost = true
		return
	}
	n.notes = append(n.notes, note{key, at, kind})
	if len(n.notes) == 1 {
		select {
		case n.changed <- struct{}{}:
		default: // it is told already
		}
	}
}

// take empties the notebook. What is noted next goes to spare, whose memory is
// the caller's to give.
func (n *notebook) take(spare []note) (notes []note, lost bool) {
	notes, lost = n.notes, n.lost
	n.notes, n.lost = spare[:0], false
	return notes, lost
}

// sorted returns notes with each once, those of a key together, the counter as
// a whole first.
func sorted(notes []note) []note {
	slices.SortFunc(notes, func(a, b note) int {
		return cmp.Or(bytes.Compare(a.key[:], b.key[:]), cmp.Compare(a.kind, b.kind), cmp.Compare(a.at, b.at))
	})
	return slices.Compact(notes)
}
