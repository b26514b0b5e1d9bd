package session

import "encoding/binary"

// New data in a cookie goes into fields. They follow the part that every reader
// knows, each as tag (one byte), length (two bytes) and value. A reader skips the fields that it does
// not know and keeps them, so a newer node finds its own field again after an
// older node has renewed the cookie.
//
// The version in front of a sealed cookie is the oldest one that reads the
// cookie right. A new field that older nodes may skip therefore changes no
// version. One that they must not skip takes the next version: they refuse
// such a cookie as if it were damaged.

// fieldHead is the length of a field without its value.
const fieldHead = 3

// AppendField appends a field. A value of more than 65,535 bytes is longer
// than any cookie: Ring.Seal refuses the result.
func AppendField(plain []byte, tag byte, value string) []byte {
	plain = append(plain, tag)
	plain = binary.BigEndian.AppendUint16(plain, uint16(len(value)))
	return append(plain, value...)
}

// CutField returns the first of some fields, the number of bytes that it takes
// up, and whether it is whole.
func CutField(fields string) (tag byte, value string, size int, ok bool) {
	if len(fields) < fieldHead {
		return 0, "", 0, false
	}
	size = fieldHead + int(fields[1])<<8 + int(fields[2])
	if len(fields) < size {
		return 0, "", 0, false
	}
	return fields[0], fields[fieldHead:size], size, true
}

// AreFields reports whether text is whole fields and nothing else. An empty text
// counts as such.
func AreFields(text string) bool {
	for text != "" {
		_, _, size, ok := CutField(text)
		if !ok {
			return false
		}
		text = text[size:]
	}
	return true
}
