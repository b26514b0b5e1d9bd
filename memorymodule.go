package websms

import (
	"slices"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-websms/websms/otp"
)

func init() {
	caddy.RegisterModule(MemoryStore{})
}

// MemoryStore keeps challenges in this process, in a ristretto cache that
// admits no more than it can hold. They survive a reload, not a restart.
type MemoryStore struct {
	// How many challenges may await their answer at once. Past it a send is
	// refused, and none that is live is forgotten. From 1 to 10000000.
	// Default: 100000.
	Capacity int `json:"capacity,omitempty"`
}

const (
	defaultCapacity = 100_000
	maxCapacity     = 10_000_000
	memoryStoreKey  = "store memory" // in pool: a process has one
)

// CaddyModule returns the Caddy module information.
func (MemoryStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "websms.stores.memory",
		New: func() caddy.Module { return new(MemoryStore) },
	}
}

// Provision sets the default.
func (s *MemoryStore) Provision(caddy.Context) error {
	if s.Capacity == 0 {
		s.Capacity = defaultCapacity
	}
	return s.Validate()
}

// Validate reports a capacity out of range.
func (s *MemoryStore) Validate() error { return within("store memory", s.check()) }

func (s *MemoryStore) check() error {
	if s.Capacity < 0 || s.Capacity > maxCapacity {
		return wrongf("capacity", "is %d: give 1 to %d", s.Capacity, maxCapacity)
	}
	return nil
}

// StoreKey implements StoreModule. The capacity is no part of it: a reload
// that changes it goes on with the challenges there are.
func (s *MemoryStore) StoreKey() string { return memoryStoreKey }

// Open implements StoreModule.
func (s *MemoryStore) Open() (otp.Store, func() error, error) {
	value, _, err := pool.LoadOrNew(memoryStoreKey, func() (caddy.Destructor, error) {
		return newMemoryStore(s.Capacity)
	})
	if err != nil {
		return nil, nil, err
	}
	return value.(*memoryStore), func() error { return releaseShared(memoryStoreKey) }, nil
}

// Start implements StoreModule: it gives the store this module's capacity.
func (s *MemoryStore) Start(store otp.Store) {
	store.(*memoryStore).setUsers(func(users []*MemoryStore) []*MemoryStore { return append(users, s) })
}

// Stop implements StoreModule.
func (s *MemoryStore) Stop(store otp.Store) {
	store.(*memoryStore).setUsers(func(users []*MemoryStore) []*MemoryStore {
		return slices.DeleteFunc(users, func(user *MemoryStore) bool { return user == s })
	})
}

// Interface guards
var (
	_ caddy.Provisioner = (*MemoryStore)(nil)
	_ caddy.Validator   = (*MemoryStore)(nil)
	_ StoreModule       = (*MemoryStore)(nil)
	_ otp.Store         = (*memoryStore)(nil)
)
