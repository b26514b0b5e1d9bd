package session

import "encoding/binary"

// New data in a cookie goes into fields. They follow the part that every reader
// knows. Each field is a tag (one byte), a length (two bytes) and a value. A reader
// skips the fields that it does not know, and keeps them. So a newer node finds its
// own field again after an older node has renewed the cookie.
//
// The version in front of a sealed cookie is the oldest version that can read the
// cookie correctly. So a new field that older nodes may skip does not change the
// version. A field that they must not skip takes the next version: older nodes
// refuse such a cookie as they refuse a damaged one.

// fieldHead is the length of a field without its value.
const fieldHead = 3

// AppendField appends a field to plain and returns the result. The value may have
// 65,535 bytes. Ring.Seal refuses a longer one, since it does not fit a cookie.
func AppendField(plain []byte, tag byte, value string) []byte {
	plain = append(plain, tag)
	plain = binary.BigEndian.AppendUint16(plain, uint16(len(value)))
	return append(plain, value...)
}

// CutField returns the tag and value of the first of some fields, and the number
// of bytes that the field takes up. If the field is cut short, ok is false.
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

// AreFields reports whether text consists of whole fields. An empty text does.
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
