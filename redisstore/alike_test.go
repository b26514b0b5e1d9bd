package redisstore

import (
	"testing"

	"github.com/caddy-websms/websms/memorystore"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/otp/storetest"
	"github.com/caddy-websms/websms/redisstore/redistest"
)

// TestStoresAlike: whichever store a gate has, it answers the same.
func TestStoresAlike(t *testing.T) {
	storetest.Compare(t, openMemory, func(t *testing.T) otp.Store { return openStore(t, redistest.Server(t).Addr()) })
}

// openMemory returns a memory store, as a configuration has it, without a file.
func openMemory(t *testing.T) otp.Store {
	store, release, err := (&memorystore.Store{Capacity: 1000}).Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := release(); err != nil {
			t.Error(err)
		}
	})
	return store
}
