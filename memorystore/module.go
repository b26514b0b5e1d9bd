// Package memorystore keeps challenges, limits and failures in the memory of
// one process, and in a file for the process that follows: the guest module
// websms.stores.memory, which is the default store.
//
// Live challenges are in a ristretto cache that never evicts one (see
// internal/cache). Beside it are a heap of the live challenges, the counters of
// sendings and the failures. A goroutine writes changes to the file a little
// later, so no request waits for a disk. The file holds keyed hashes and sealed
// codes. It holds no number, no address and no code in the clear.
//
// The package imports none of its callers. The app that opens a store calls its
// methods KeyedBy and Capacity through interfaces of its own.
package memorystore

import (
	"path/filepath"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"

	"github.com/caddy-websms/websms/internal/block"
	"github.com/caddy-websms/websms/internal/shared"
	"github.com/caddy-websms/websms/otp"
)

func init() {
	caddy.RegisterModule(Store{})
}

// Store keeps challenges in this process, in a ristretto cache that admits no
// more of them than it can hold. Challenges survive a reload, and a restart if
// Caddy was asked to stop, even if the stop is cut short. Sendings and wrong
// codes that count towards limits survive a crash too, except those of the
// latest second.
//
// The store's file is `websms/memory.db` below Caddy's storage if that is a
// folder (`file_system`), and below Caddy's data directory otherwise. It holds
// keyed hashes and sealed values, no number and no code. A second process at
// the same time has a file of its own, `memory-2.db` and so on. When that
// process ends, another one takes over its file. A damaged row is skipped. A
// file that is damaged as a whole, or that another key ring wrote, is renamed
// to `….unusable`. A file of a later release is left as it is, and the next
// file is used. If no file can be written, the store is in memory alone.
type Store struct {
	// How many challenges may wait for their answer at once. If there are as
	// many, a send is refused, and no live challenge is forgotten. From 1 to
	// 10000000. Default: 100000.
	Capacity int `json:"capacity,omitempty"`

	dir string // of the file
}

const (
	// DefaultCapacity is how many challenges may be live if capacity is not set.
	DefaultCapacity = 100_000
	maxCapacity     = 10_000_000
	poolKey         = "store memory" // the key in shared.Pool
)

// CaddyModule returns the Caddy module information.
func (Store) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "websms.stores.memory",
		New: func() caddy.Module { return new(Store) },
	}
}

// Provision sets the default, and finds the folder of the file.
func (s *Store) Provision(ctx caddy.Context) error {
	root := caddy.AppDataDir()
	if files, ok := ctx.Storage().(*certmagic.FileStorage); ok {
		root = files.Path
	}
	s.dir = filepath.Join(root, "websms")
	if s.Capacity == 0 {
		s.Capacity = DefaultCapacity
	}
	return s.Validate()
}

// Validate reports a capacity out of range.
func (s *Store) Validate() error { return block.Within("store memory", s.check()) }

func (s *Store) check() error {
	if s.Capacity < 0 || s.Capacity > maxCapacity {
		return block.Wrongf("capacity", "is %d: give 1 to %d", s.Capacity, maxCapacity)
	}
	return nil
}

// StoreKey identifies the store that Open returns. A process has one store, so
// the key is always the same, and a reload that changes the capacity keeps the
// challenges.
func (s *Store) StoreKey() string { return poolKey }

// Open returns the process's store, which it makes if there is none, and a
// function that lets go of it. A store that was not provisioned has no file.
func (s *Store) Open() (otp.Store, func() error, error) {
	value, _, err := shared.Pool.LoadOrNew(poolKey, func() (caddy.Destructor, error) {
		store, err := newMemory(s.Capacity)
		if err != nil {
			return nil, err
		}
		store.dir = s.dir
		return store, nil
	})
	if err != nil {
		return nil, nil, err
	}
	return value.(*memory), func() error { return shared.Release(poolKey) }, nil
}

// Start gives the store this module's capacity, and has it read its file.
func (s *Store) Start(store otp.Store) {
	store.(*memory).ready()
	store.(*memory).setUsers(func(users []*Store) []*Store { return append(users, s) })
	store.(*memory).resume()
}

// Stopping writes the pending challenges if no other configuration uses the
// store, because the process may be killed before the store is closed.
func (s *Store) Stopping(store otp.Store) { store.(*memory).keep(s) }

// Stop gives the store the capacity of the configuration that started before
// this one.
func (s *Store) Stop(store otp.Store) {
	store.(*memory).setUsers(func(users []*Store) []*Store {
		return slices.DeleteFunc(users, func(user *Store) bool { return user == s })
	})
}

// Interface guards
var (
	_ caddy.Provisioner = (*Store)(nil)
	_ caddy.Validator   = (*Store)(nil)
	_ otp.Store         = (*memory)(nil)
)
