package redisstore

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/url"

	"github.com/caddy-websms/websms/otp"
)

// keys names what the store keeps. What is of one scope has its name in
// braces, which puts it into one slot of a Redis Cluster.
//
//	websms:{realm:<scope>}:challenge:<id>    hash, see record.lua
//	websms:{realm:<scope>}:taken:<limit>:<digest>
//	                                         sorted set of sendings, by when they were taken
//	websms:{realm:<scope>}:returned:<limit>:<digest>
//	                                         sorted set of sendings, by when they were given back
//	websms:{realm:<scope>}:windows           hash, by limit: the longest window asked with
//	websms:{realm:<scope>}:failures:<digest> hash, see failures.lua
//	websms:{realm:<scope>}:asked:<digest>    sorted set of a number's challenges, by when they end at the latest
//	websms:live                              hash, by minute: how many challenges die in it
//	websms:message:<digest>                  string, what a message id stands for
//	websms:seen:<digest>                     string, see mark.lua
//	websms:alive                             string, written to see that Redis takes it
//	websms:{websms:alive}:schema             string, see schema.go
//	websms:wake:<id>                         channel of a challenge's changes
//
// What the archive keeps is named in archive.go.
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

// name writes an id as it stands in a key.
func name(id otp.ID) string { return hex.EncodeToString(id[:]) }

// short writes a digest at half its length, 128 bits, in 22 letters.
func short(d otp.Digest) string { return base64.RawURLEncoding.EncodeToString(d[:16]) }
