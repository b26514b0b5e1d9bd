package redisstore

import (
	"testing"

	"github.com/caddy-websms/websms/memorystore"
	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/otp/storetest"
	"github.com/caddy-websms/websms/redisstore/redistest"
)

// TestStoresAlike: the memory store and the Redis store give the same answers.
func TestStoresAlike(t *testing.T) {
	storetest.Compare(t, openMemory, func(t *testing.T) otp.Store { return openStore(t, redistest.Server(t).Addr()) })
}

// openMemory returns a memory store without a file, as a configuration opens it.
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
