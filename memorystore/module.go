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

// Store keeps challenges in this process, in a ristretto cache that
// admits no more than it can hold. They survive a reload, and a restart if
// Caddy was asked to stop, even if the stop is cut short. What limits count,
// and wrong codes, also survive a crash, but for the latest second.
//
// They are in the file `websms/memory.db` below Caddy's storage, if that is a
// folder (`file_system`), else below Caddy's data directory. It holds keyed
// hashes and sealed values, no number and no code. A second process that runs
// at the same time has a file of its own, `memory-2.db` and so on, which is
// merged with the others when it ends. A row that is damaged is skipped. A file
// that is damaged as a whole, or of another key ring, is renamed to `….unusable`.
// A file of a later release is left as it is, and the next one is used. Without a
// file that can be written, all is in memory alone.
type Store struct {
	// How many challenges may await their answer at once. Past it a send is
	// refused, and none that is live is forgotten. From 1 to 10000000.
	// Default: 100000.
	Capacity int `json:"capacity,omitempty"`

	dir string // of the file
}

const (
	// DefaultCapacity is how many challenges may be live unless capacity says otherwise.
	DefaultCapacity = 100_000
	maxCapacity     = 10_000_000
	poolKey         = "store memory" // in pool: a process has one
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

// StoreKey implements StoreModule. The capacity is no part of it: a reload
// that changes it goes on with the challenges there are.
func (s *Store) StoreKey() string { return poolKey }

// Open implements StoreModule.
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

// Start implements StoreModule: it gives the store this module's capacity,
// and has it read its file.
func (s *Store) Start(store otp.Store) {
	store.(*memory).ready()
	store.(*memory).setUsers(func(users []*Store) []*Store { return append(users, s) })
	store.(*memory).resume()
}

// Stopping writes what is pending, if no other configuration uses the store:
// the process may be killed before it is closed.
func (s *Store) Stopping(store otp.Store) { store.(*memory).keep(s) }

// Stop implements StoreModule.
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
