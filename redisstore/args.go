package redisstore

import (
	"crypto/rand"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-websms/websms/connexus"
	"github.com/caddy-websms/websms/otp"
)

// The functions below write the arguments of scripts.

func micros(t time.Time) string { return strconv.FormatInt(t.UnixMicro(), 10) }

// nanos writes an exact time. Scripts keep it, but do not calculate with it.
func nanos(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }

func span(d time.Duration) string { return strconv.FormatInt(d.Microseconds(), 10) }

// millis rounds up, so that Redis forgets nothing too early.
func millis(d time.Duration) string {
	return strconv.FormatInt((d + time.Millisecond - 1).Milliseconds(), 10)
}

func flag(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

// memberOf begins the members of sorted sets that stand for the sendings of a challenge.
func memberOf(id otp.ID) string { return string(id[:]) }

// newNonce identifies one change. If the node asks for a change again, the script
// sees the nonce and changes nothing more. A nonce has only letters and digits.
func newNonce() string { return rand.Text() }

// failuresOf names the failures that a wrong code counts to, as failures() in
// failures.lua reads it: "count span max field".
func failuresOf(r *otp.Failures) string {
	if r.Number == (otp.Digest{}) {
		return ""
	}
	text := make([]byte, 0, 64)
	for _, n := range []int64{int64(r.Lockout.Count), r.Lockout.For.Microseconds(), int64(r.Lockout.Max)} {
		text = append(strconv.AppendInt(text, n, 10), ' ')
	}
	if r.Device == (otp.Digest{}) {
		return string(append(text, 's'))
	}
	return string(append(append(text, 'd'), r.Device[:16]...))
}

// appendCounters appends the counters of a sending, as counters() in counters.lua
// reads them.
func (k keys) appendCounters(keys, args []string, scope string, list []otp.Counter) ([]string, []string) {
	args = append(args, strconv.Itoa(len(list)))
	for i := range list {
		c := &list[i]
		keys = append(keys, k.taken(scope, c), k.returned(scope, c))
		args = append(args, c.Limit, strconv.Itoa(len(c.Rates)))
		for _, r := range c.Rates {
			args = append(args, strconv.Itoa(r.Count), span(r.Window))
		}
	}
	return keys, args
}

// appendState appends a delivery report, as report() in report.lua reads it.
func appendState(args []string, s connexus.State) []string {
	effect := otp.Accepted // the mobile network has the message
	switch {
	case s == connexus.StateDelivered:
		effect = otp.Delivered
	case s.Final() || s == connexus.StateExpired:
		effect = otp.Failed
	}
	return append(args, strconv.Itoa(int(s)), superseded(s), string(effect))
}

// superseded lists the states that s supersedes, such as ",0,1,".
func superseded(s connexus.State) string {
	var list strings.Builder
	list.WriteByte(',')
	for old := connexus.StateUnknown; old <= connexus.StateDelivered; old++ {
		if s.Supersedes(old) {
			list.WriteString(strconv.Itoa(int(old)) + ",")
		}
	}
	return list.String()
}
