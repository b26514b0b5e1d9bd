package redisstore

import (
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/otp"
	"github.com/caddy-websms/websms/redisstore/redistest"
)

// strange are scopes that could end a hash tag too early, or begin another one.
var strange = []string{
	"", "app.example.com", "{", "}", "{}", "}{", "a}:{b", "}:challenge:", "a:b",
	"%7D", "%", "\x00", "ā", "日本", " ", "\r\n", "realm:a", "*", "/",
}

// ofScope returns the names of all keys of a scope.
func ofScope(k keys, scope string, id otp.ID, d otp.Digest) []string {
	c := otp.Counter{Limit: "per_number", Key: d}
	return []string{
		k.challenge(scope, id), k.windows(scope), k.taken(scope, &c), k.returned(scope, &c), k.failures(scope, d), k.asked(scope, d),
	}
}

// tag returns the part of a key that a cluster hashes: the text between the first opening
// brace and the next closing one ("Redis cluster specification", hash tags).
func tag(key string) string {
	_, rest, opened := strings.Cut(key, "{")
	inside, _, closed := strings.Cut(rest, "}")
	if !opened || !closed || inside == "" {
		return key
	}
	return inside
}

// All keys of a scope have one hash tag, for any name of the scope. No two scopes share
// one.
func TestKeysOfScopes(t *testing.T) {
	scope := rapid.OneOf(rapid.SampledFrom(strange), rapid.String(),
		rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) }),
		rapid.StringMatching(`[{}:%a\x00]{0,12}`))
	rapid.Check(t, func(t *rapid.T) {
		k := keys{"websms:"}
		a, b := scope.Draw(t, "a"), scope.Draw(t, "b")
		var id otp.ID
		var d otp.Digest
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		copy(d[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "digest"))
		known := make(map[string]bool)
		for _, key := range ofScope(k, a, id, d) {
			if tag(key) != tag(k.windows(a)) || tag(key) == key {
				t.Fatalf("%q is hashed by %q, want %q", key, tag(key), tag(k.windows(a)))
			}
			if known[key] {
				t.Fatalf("%q is two keys", key)
			}
			known[key] = true
		}
		if a == b {
			return
		}
		for _, key := range ofScope(k, b, id, d) {
			if known[key] {
				t.Fatalf("%q is of both scopes", key)
			}
		}
	})
}

// A cluster hashes keys as tag says.
func TestKeysSlots(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf")
	k := keys{"websms:"}
	for _, scope := range strange {
		want := redis.Do("CLUSTER", "KEYSLOT", tag(k.windows(scope)))
		for _, key := range ofScope(k, scope, otp.ID{1}, otp.Digest{2}) {
			if got := redis.Do("CLUSTER", "KEYSLOT", key); got != want {
				t.Errorf("scope %s: %q is of slot %v, want %v", strconv.Quote(scope), key, got, want)
			}
		}
	}
}

// Challenges in scopes with strange names work in a real cluster.
func TestKeysInCluster(t *testing.T) {
	t.Parallel()
	s := openStore(t, redistest.Cluster(t).Addrs()...)
	made := make(map[string]*otp.Reservation)
	for _, scope := range strange {
		r := reservation(perNumber("+64210000001", otp.Rate{Count: 1, Window: otp.MaxLife}))
		r.Scope = scope
		if err := s.Reserve(ctx, r); err != nil {
			t.Fatalf("scope %q: %v", scope, err)
		}
		made[scope] = r
	}
	for scope, r := range made {
		if _, err := s.Attempt(ctx, r.ID, &otp.Answer{Scope: scope + "x", Proof: r.Proof, Now: now()}); err == nil {
			t.Errorf("a code of scope %q is right in another", scope)
		}
		if _, err := s.Attempt(ctx, r.ID, &otp.Answer{Scope: scope, Proof: r.Proof, Now: now()}); err != nil {
			t.Errorf("scope %q: %v", scope, err)
		}
	}
}
