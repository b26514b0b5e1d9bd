package redisstore

import (
	"context"
	"embed"
	"strings"

	"github.com/redis/rueidis"
)

// A change of several steps is one script, on keys of one slot: Redis runs it
// wholly, and nothing else at the same time.
//
//go:embed scripts/*.lua
var sources embed.FS

var (
	scriptReserve   = script("head", "record", "run", "counters", "reserve")
	scriptResend    = script("head", "record", "run", "counters", "resend")
	scriptAttempt   = script("attempt", "head", "record", "run", "judge")
	scriptSettle    = script("head", "counters", "report", "settle")
	scriptArrive    = script("head", "report", "arrive")
	scriptSent      = script("sent")
	scriptHeard     = script("heard")
	scriptFirst     = script("head", "first")
	scriptUnreserve = script("revive", "unreserve")
	scriptUnresend  = script("head", "unresend")
	scriptUnmeet    = script("revive", "unmeet")
	scriptLive      = script("live")
	scriptFollow    = script("follow")
	scriptKeep      = script("keep")
	scriptSwap      = script("swap")
)

// script returns the script that these pieces make, without their comments.
func script(pieces ...string) *rueidis.Lua {
	var text strings.Builder
	for _, piece := range pieces {
		source, err := sources.ReadFile("scripts/" + piece + ".lua")
		if err != nil {
			panic(err) // it is embedded
		}
		for line := range strings.Lines(string(source)) {
			line, _, _ = strings.Cut(strings.TrimRight(line, "\n"), "--")
			if line = strings.TrimSpace(line); line != "" {
				text.WriteString(line + "\n")
			}
		}
	}
	return rueidis.NewLuaScript(text.String())
}

// call runs a script on a node's Redis.
func call(s *rueidis.Lua, keys, args []string) operation {
	return func(ctx context.Context, client rueidis.Client) rueidis.RedisResult {
		return s.Exec(ctx, client, keys, args)
	}
}
