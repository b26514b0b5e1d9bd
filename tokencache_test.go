package websms

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-websms/websms/connexus"
)

func openTokenCache(t *testing.T) *tokenCache {
	t.Helper()
	cache, err := newTokenCache()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cache.Destruct(); err != nil {
			t.Errorf("Destruct: %v", err)
		}
	})
	return cache
}

// tokenOf returns the n-th token.
func tokenOf(n int) connexus.Token {
	issued := time.Date(2030, time.January, 2, 3, 4, 5, n, time.UTC)
	return connexus.Token{Value: fmt.Sprint("token ", n), IssuedAt: issued, ExpiresAt: issued.Add(24 * time.Hour)}
}

// loads checks the token of an account. The zero Token means none.
func loads(t *testing.T, cache connexus.TokenCache, want connexus.Token) {
	t.Helper()
	if got, ok := cache.Load(); got != want || ok != (want != connexus.Token{}) {
		t.Fatalf("Load: %v, %v; want %v", got, ok, want)
	}
}

func TestTokenCache(t *testing.T) {
	none := connexus.Token{}
	cache := openTokenCache(t)
	a := cache.account("a")
	loads(t, a, none)
	a.Drop("")
	a.Drop(tokenOf(1).Value)
	loads(t, a, none)

	a.Store(tokenOf(1))
	loads(t, a, tokenOf(1))
	a.Store(tokenOf(2)) // replaces
	loads(t, a, tokenOf(2))
	a.Drop(tokenOf(1).Value) // another token, so nothing is dropped
	a.Drop("")
	loads(t, a, tokenOf(2))
	a.Drop(tokenOf(2).Value)
	loads(t, a, none)
	a.Drop(tokenOf(2).Value)
	a.Store(tokenOf(2)) // the same token again, after it was dropped
	loads(t, a, tokenOf(2))

	renewed := tokenOf(2) // the same value with a later issue time
	renewed.IssuedAt = renewed.IssuedAt.Add(time.Hour)
	a.Store(renewed)
	loads(t, a, renewed)
}

func TestTokenCacheAccounts(t *testing.T) {
	cache := openTokenCache(t)
	a, b := cache.account("a"), cache.account("b")
	a.Store(tokenOf(1))
	loads(t, b, connexus.Token{})
	b.Store(tokenOf(2))
	b.Drop(tokenOf(1).Value)
	loads(t, a, tokenOf(1))
	loads(t, b, tokenOf(2))
	b.Drop(tokenOf(2).Value)
	loads(t, a, tokenOf(1))
	loads(t, cache.account("a"), tokenOf(1)) // a new handle of the same account, as a new configuration has it

	for i := range maxAccounts - 1 {
		cache.account(fmt.Sprint("account ", i)).Store(tokenOf(i))
	}
	loads(t, a, tokenOf(1))
	for i := range maxAccounts - 1 {
		loads(t, cache.account(fmt.Sprint("account ", i)), tokenOf(i))
	}
}

// TestTokenCacheStoreVisible checks that each stored token is visible at once.
func TestTokenCacheStoreVisible(t *testing.T) {
	a := openTokenCache(t).account("a")
	for i := range 2000 {
		a.Store(tokenOf(i))
		loads(t, a, tokenOf(i))
		if i%3 == 0 {
			a.Drop(tokenOf(i).Value)
			loads(t, a, connexus.Token{})
		}
	}
}

// TestTokenCacheReplaceWithoutGap loads while the token is being replaced. There is always a token,
// so no caller requests another one.
func TestTokenCacheReplaceWithoutGap(t *testing.T) {
	a := openTokenCache(t).account("a")
	a.Store(tokenOf(0))
	var crowd sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		crowd.Go(func() {
			newest := time.Time{}
			for {
				token, ok := a.Load()
				if !ok {
					t.Error("no token while one replaces another")
					return
				}
				if token.IssuedAt.Before(newest) {
					t.Errorf("loaded %v after one issued at %v", token, newest)
					return
				}
				newest = token.IssuedAt
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range 500 {
		a.Store(tokenOf(i))
	}
	close(done)
	crowd.Wait()
}

// TestTokenCacheDropOfOld drops a token while it is being replaced. In either order, the new token
// stays.
func TestTokenCacheDropOfOld(t *testing.T) {
	a := openTokenCache(t).account("a")
	a.Store(tokenOf(0))
	for i := range 1000 {
		var both sync.WaitGroup
		both.Go(func() { a.Drop(tokenOf(i).Value) })
		both.Go(func() { a.Store(tokenOf(i + 1)) })
		both.Wait()
		loads(t, a, tokenOf(i+1))
	}
}

func TestTokenCacheCrowd(t *testing.T) {
	cache := openTokenCache(t)
	var crowd sync.WaitGroup
	for i := range 32 {
		crowd.Go(func() {
			a := cache.account(fmt.Sprint("account ", i%4))
			for j := range 200 {
				n := i*1000 + j
				switch j % 4 {
				case 0:
					a.Store(tokenOf(n))
				case 1:
					a.Drop(tokenOf(n - 1).Value)
				default:
					token, ok := a.Load()
					if ok && (token.Value != fmt.Sprint("token ", token.IssuedAt.Nanosecond()) || token.IssuedAt.Nanosecond()/1000%4 != i%4) {
						t.Errorf("loaded %v, which nobody stored for account %d", token, i%4)
					}
				}
			}
		})
	}
	crowd.Wait()
	for i := range 4 {
		a := cache.account(fmt.Sprint("account ", i))
		a.Store(tokenOf(i))
		loads(t, a, tokenOf(i))
	}
}

func TestTokenCacheDestruct(t *testing.T) {
	before := goleak.IgnoreCurrent()
	cache, err := newTokenCache()
	if err != nil {
		t.Fatal(err)
	}
	cache.account("a").Store(tokenOf(1))
	if err := cache.Destruct(); err != nil {
		t.Errorf("Destruct: %v", err)
	}
	goleak.VerifyNone(t, before)
}

func BenchmarkTokenCacheLoad(b *testing.B) {
	cache, err := newTokenCache()
	if err != nil {
		b.Fatal(err)
	}
	defer cache.Destruct()
	a := cache.account("a")
	a.Store(tokenOf(1))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, ok := a.Load(); !ok {
				b.Error("no token")
				return
			}
		}
	})
}
