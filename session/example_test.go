package session_test

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddy-websms/websms/session"
)

// A session is sealed into a cookie for one realm, and opens for no other.
func ExampleSession_Seal() {
	now := time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC)
	ring, err := session.NewRing(session.NewKeys(now))
	if err != nil {
		fmt.Println(err)
		return
	}
	life := session.Life{TTL: 12 * time.Hour, Idle: time.Hour}
	s := session.Session{ID: session.NewID(), Number: "+6421234567", Region: "NZ", Means: session.SMS}
	life.Begin(&s, now)
	cookie, err := s.Seal(ring, "app.example.com")
	if err != nil {
		fmt.Println(err)
		return
	}

	opened, err := session.Open(ring, "app.example.com", cookie)
	fmt.Println(opened.Number, opened.Means, err)
	_, err = session.Open(ring, "wiki.example.com", cookie)
	fmt.Println(errors.Is(err, session.ErrSealed))
	// Output:
	// +6421234567 sms <nil>
	// true
}

// The idle limit ends a session that is not renewed. The TTL ends any session.
func ExampleLife() {
	now := time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC)
	life := session.Life{TTL: 12 * time.Hour, Idle: time.Hour}
	var s session.Session
	life.Begin(&s, now)
	fmt.Println("expires", life.Expires(&s).Format(time.TimeOnly))
	fmt.Println("after 59m:", life.Alive(&s, now.Add(59*time.Minute)))
	fmt.Println("after 60m:", life.Alive(&s, now.Add(60*time.Minute)))
	// Output:
	// expires 21:00:00
	// after 59m: true
	// after 60m: false
}

// A revocation ends the sessions that were issued at or before its cutoff.
func ExampleRevocations() {
	cutoff := time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC)
	var revoked session.Revocations
	revoked.Revoke(map[session.Subject]time.Time{
		{Kind: session.ByNumber, Name: "+6421234567"}: cutoff,
	})
	before := session.Session{ID: session.NewID(), Number: "+6421234567", Issued: cutoff.Add(-time.Hour)}
	after := session.Session{ID: session.NewID(), Number: "+6421234567", Issued: cutoff.Add(time.Hour)}
	fmt.Println(revoked.Ended(&before, "app.example.com"), revoked.Ended(&after, "app.example.com"))
	// Output: true false
}

// A new sealing key is made every 30 days. It begins to seal two hours later, when
// every process has read it.
func ExampleKeys_Rotate() {
	now := time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC)
	keys, _ := session.Keys{}.Rotate(now, session.MaxLife)
	for range 3 {
		now = now.Add(session.KeyAge)
		keys, _ = keys.Rotate(now, session.MaxLife)
	}
	for _, k := range keys.Sealing {
		fmt.Println(k.Created.Format(time.DateOnly))
	}
	fmt.Println("seals:", keys.At(now).Sealing[0].Created.Format(time.DateOnly))
	// Output:
	// 2026-09-29
	// 2026-08-30
	// 2026-07-31
	// 2026-07-01
	// seals: 2026-08-30
}

// The application behind a gate does not see the gate's own cookies.
func ExampleStrip() {
	h := http.Header{"Cookie": {"theme=dark; websms_session=abc; lang=mi"}}
	session.Strip(h, func(name string) bool { return name == "websms_session" })
	fmt.Println(h.Get("Cookie"))
	// Output: theme=dark; lang=mi
}
