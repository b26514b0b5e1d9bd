package memorystore

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-websms/websms/internal/block"
)

// UnmarshalCaddyfile reads the store. Syntax:
//
//	memory {
//		capacity <challenges>
//	}
func (s *Store) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // its name
	if d.NextArg() {
		return block.At(d, "store memory", block.ErrInline)
	}
	return block.Read(d, "store memory", block.Options{"capacity": block.Whole(&s.Capacity)}, s.check)
}

// Interface guards
var _ caddyfile.Unmarshaler = (*Store)(nil)
