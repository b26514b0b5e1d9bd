package redisstore

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/url"

	"github.com/caddy-websms/websms/otp"
)

// keys makes the names of the keys in Redis. The names of one scope contain it in
// braces, so that all of them are in one slot of a Redis Cluster.
//
//	websms:{realm:<scope>}:challenge:<id>    hash, see record.lua
//	websms:{realm:<scope>}:taken:<limit>:<digest>
//	                                         sorted set of sendings, by the time when they were counted
//	websms:{realm:<scope>}:returned:<limit>:<digest>
//	                                         sorted set of sendings, by the time when they were given back
//	websms:{realm:<scope>}:windows           hash, by limit: the longest window of any gate
//	websms:{realm:<scope>}:failures:<digest> hash, see failures.lua
//	websms:{realm:<scope>}:asked:<digest>    sorted set of a number's challenges, by the latest time of their end
//	websms:live                              hash, by minute: how many challenges die in it
//	websms:message:<digest>                  string, the sending that has this message id
//	websms:seen:<digest>                     string, see mark.lua
//	websms:alive                             string, written by each beat
//	websms:{websms:alive}:schema             string, see schema.go
//	websms:wake:<id>                         channel, a message for each change of the challenge
//
// The keys of the archive are named in archive.go.
type keys struct{ prefix string }

func (k keys) scope(scope string) string {
	return k.prefix + "{realm:" + url.PathEscape(scope) + "}:"
}

func (k keys) challenge(scope string, id otp.ID) string {
	return k.scope(scope) + "challenge:" + name(id)
}

func (k keys) windows(scope string) string { return k.scope(scope) + "windows" }

func (k keys) taken(scope string, c *otp.Counter) string {
	return k.scope(scope) + "taken:" + c.Limit + ":" + short(c.Key)
}

func (k keys) returned(scope string, c *otp.Counter) string {
	return k.scope(scope) + "returned:" + c.Limit + ":" + short(c.Key)
}

func (k keys) failures(scope string, number otp.Digest) string {
	return k.scope(scope) + "failures:" + short(number)
}

func (k keys) asked(scope string, number otp.Digest) string {
	return k.scope(scope) + "asked:" + short(number)
}

func (k keys) message(id string) string {
	return k.prefix + "message:" + short(sha256.Sum256([]byte(id)))
}
func (k keys) seen(key otp.Digest) string { return k.prefix + "seen:" + short(key) }
func (k keys) wake(id otp.ID) string      { return k.prefix + wakeChannel + name(id) }
func (k keys) live() string               { return k.prefix + "live" }

const wakeChannel = "wake:"

// name returns an id as it is written in a key.
func name(id otp.ID) string { return hex.EncodeToString(id[:]) }

// short returns the first half of a digest, 128 bits, in 22 characters.
func short(d otp.Digest) string { return base64.RawURLEncoding.EncodeToString(d[:16]) }
