package session

import (
	"fmt"
	"testing"
)

// Many old keys hardly slow Open, because a session names its key.
func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{1, 13} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			keys := NewKeys(t0)
			old, err := NewRing(keys)
			if err != nil {
				b.Fatal(err)
			}
			s := someSession()
			sealed, err := s.Seal(old, "app.example.com")
			if err != nil {
				b.Fatal(err)
			}
			for range n - 1 {
				keys.Sealing = append([]Key{newKey(t0)}, keys.Sealing...)
			}
			r, err := NewRing(keys)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Open(r, "app.example.com", sealed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOpenFields measures a session with one known and one unknown field.
func BenchmarkOpenFields(b *testing.B) {
	for name, s := range map[string]Session{
		"means":   {Number: "+6421234567", Region: "NZ", Means: RecoveryCode},
		"unknown": {Number: "+6421234567", Region: "NZ", unknown: string(AppendField(nil, 200, "newer"))},
	} {
		b.Run(name, func(b *testing.B) {
			r := newRing(b)
			sealed, err := s.Seal(r, "app.example.com")
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Open(r, "app.example.com", sealed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSeal(b *testing.B) {
	r := newRing(b)
	s := someSession()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Seal(r, "app.example.com"); err != nil {
			b.Fatal(err)
		}
	}
}
