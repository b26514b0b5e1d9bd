package redisstore

import (
	"testing"
	"time"

	"github.com/caddy-websms/websms/session"
)

// Redis keeps keys and revocations as long as any session lasts, even if the last node
// renewed them almost a day before it stopped. The life of failures does not matter here.
func TestArchiveLife(t *testing.T) {
	if archiveLife < session.MaxLife+24*time.Hour {
		t.Errorf("Redis keeps revocations for %s after they were renewed, and they are renewed once a day; sessions last %s",
			archiveLife, session.MaxLife)
	}
}
