package memorystore

import (
	"encoding/binary"
	"slices"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
)

// row returns the value of a challenge's row. The key is the challenge's id. A
// later release may append fields.
func (r *record) row() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	row := make([]byte, 0, challengeRow+len(r.status)+len(r.sealed)+binary.MaxVarintLen32)
	row = binary.BigEndian.AppendUint64(row, r.tag)
	row = append(row, r.proof[:]...)
	settled := uint8(0)
	if r.settled {
		settled = 1
	}
	row = append(row, r.length, r.left, r.sending, r.begun, r.possible, r.made, settled, uint8(r.state))
	for _, at := range []instant{r.born, r.dies, r.sent, r.resend} {
		row = binary.BigEndian.AppendUint64(row, uint64(at))
	}
	row = append(append(row, uint8(len(r.status))), r.status...)
	return append(binary.AppendUvarint(row, uint64(len(r.sealed))), r.sealed...)
}

// challengeRow is the length of the fixed fields, and of the length of status.
const challengeRow = 8 + len(otp.Digest{}) + 8 + 4*8 + 1

// recordOf reads a row that row wrote, and returns the fields of a later
// release that follow.
func recordOf(id otp.ID, row []byte) (rec *record, unknown []byte, err error) {
	if len(row) < challengeRow {
		return nil, nil, errRow
	}
	rec = &record{id: id, place: -1, tag: binary.BigEndian.Uint64(row)}
	row = row[8+copy(rec.proof[:], row[8:]):]
	rec.length, rec.left, rec.sending, rec.begun, rec.possible, rec.made = row[0], row[1], row[2], row[3], row[4], row[5]
	rec.settled, rec.state = row[6] != 0, connexus.State(row[7])
	row = row[8:]
	for _, at := range []*instant{&rec.born, &rec.dies, &rec.sent, &rec.resend} {
		*at = instant(binary.BigEndian.Uint64(row))
		row = row[8:]
	}
	status, row, ok := cut(row[1:], uint64(row[0]))
	if !ok {
		return nil, nil, errRow
	}
	rec.status = otp.Status(status)
	length, row := uvarint(row)
	sealed, row, ok := cut(row, length)
	if !ok {
		return nil, nil, errRow
	}
	if length > 0 {
		rec.sealed = slices.Clone(sealed)
	}
	return rec, slices.Clone(row), nil
}

// cut returns the first n bytes of row, and the rest, which is not nil.
func cut(row []byte, n uint64) (first, rest []byte, ok bool) {
	if row == nil || n > uint64(len(row)) {
		return nil, nil, false
	}
	return row[:n], row[n:], true
}
