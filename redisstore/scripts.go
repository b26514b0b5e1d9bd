package redisstore

import (
	"context"
	"embed"
	"strings"

	"github.com/redis/rueidis"
)

// Each change of several steps is one script on the keys of one slot. Redis runs a
// script as a whole, and no other command at the same time.
//
//go:embed scripts/*.lua
var sources embed.FS

var (
	scriptReserve   = script("head", "wake", "change", "record", "failures", "counters", "reserve")
	scriptResend    = script("head", "wake", "change", "record", "failures", "counters", "resend")
	scriptAttempt   = script("wake", "attempt", "head", "change", "record", "failures", "judge")
	scriptWait      = script("head", "failures", "counters", "wait")
	scriptLook      = script("head", "change", "record", "look")
	scriptSettle    = script("head", "wake", "change", "counters", "report", "settle")
	scriptArrive    = script("head", "wake", "report", "arrive")
	scriptSecond    = script("head", "change", "record", "failures", "counters", "second")
	scriptSent      = script("sent")
	scriptHeard     = script("heard")
	scriptFirst     = script("head", "mark", "putmark", "first")
	scriptBegin     = script("head", "mark", "putmark", "begin")
	scriptDone      = script("head", "mark", "putmark", "done")
	scriptForget    = script("mark", "forget")
	scriptTry       = script("head", "counters", "try")
	scriptUnreserve = script("change", "revive", "unreserve")
	scriptUnresend  = script("head", "wake", "change", "unresend")
	scriptUnmeet    = script("wake", "change", "revive", "unmeet")
	scriptLive      = script("live")
	scriptFollow    = script("follow")
	scriptKeep      = script("keep")
	scriptDrop      = script("drop")
	scriptSwap      = script("swap")
)

// script joins the files of these names to one script, without their comments.
func script(pieces ...string) *rueidis.Lua {
	var text strings.Builder
	for _, piece := range pieces {
		source, err := sources.ReadFile("scripts/" + piece + ".lua")
		if err != nil {
			panic(err) // cannot happen: the files are embedded
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

// call returns the operation that runs a script.
func call(s *rueidis.Lua, keys, args []string) operation {
	return func(ctx context.Context, client rueidis.Client) rueidis.RedisResult {
		return s.Exec(ctx, client, keys, args)
	}
}
