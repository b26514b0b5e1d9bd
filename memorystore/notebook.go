package memorystore

import (
	"bytes"
	"cmp"
	"slices"
)

// notebook lists the changes of a store that its file does not have yet. A note
// says where something changed, not how. The writer looks up the present state,
// so it does no harm to write a change twice. The store's mutex guards the
// notebook. A nil notebook notes nothing.
type notebook struct {
	notes   []note
	lost    bool          // there was no room for all notes
	changed chan struct{} // wakes the writer at the first note; nil: there is no writer
}

// note names a changed moment of a counter, a changed counter as a whole, or
// the changed failures of a number.
type note struct {
	key  tableKey
	at   int64 // the moment, in nanoseconds since 1970
	kind noteKind
}

type noteKind uint8

const (
	noteCounter  noteKind = iota // a counter as a whole
	noteSending                  // a moment of its sendings
	noteReturn                   // a moment at which a sending was given back
	noteFailures                 // all failures of a number
)

// maxNotes bounds the notes that wait to be written. If there are more, the
// writer compares the whole file with the store when the file can be written
// again.
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
		default: // the writer will wake already
		}
	}
}

// take empties the notebook and returns its notes. The caller may give the
// memory of a slice, spare, for the notes that follow.
func (n *notebook) take(spare []note) (notes []note, lost bool) {
	notes, lost = n.notes, n.lost
	n.notes, n.lost = spare[:0], false
	return notes, lost
}

// sorted returns notes without duplicates. Those of one key are together, and
// the note of the counter as a whole comes first.
func sorted(notes []note) []note {
	slices.SortFunc(notes, func(a, b note) int {
		return cmp.Or(bytes.Compare(a.key[:], b.key[:]), cmp.Compare(a.kind, b.kind), cmp.Compare(a.at, b.at))
	})
	return slices.Compact(notes)
}
