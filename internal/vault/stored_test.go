package vault

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-websms/websms/session"
)

// contents returns the files below a folder, and what they hold.
func contents(t *testing.T, folder string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	root := os.DirFS(folder)
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(root, name)
		files[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A storage that the first release has written opens. Its sessions open, and its
// revocations count. Opening and cleaning it on the same day changes no file.
func TestStorageOfTheFirstRelease(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "stored", "storage"))); err != nil {
		t.Fatal(err)
	}
	before := contents(t, dir)
	if len(before) != 6 {
		t.Fatalf("there are %d files", len(before))
	}
	now := time.Date(2026, 8, 2, 15, 30, 0, 0, time.UTC)
	v := vaultOn(t, &certmagic.FileStorage{Path: dir}, func() time.Time { return now })
	text, err := os.ReadFile(filepath.Join("testdata", "stored", "cookies.txt"))
	if err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		for line := range strings.Lines(string(text)) {
			name, sealed, _ := strings.Cut(strings.TrimSpace(line), " ")
			s, err := session.Open(v.Ring, testRealm, sealed)
			if err != nil || !strings.HasPrefix(s.Number, "+6421") {
				t.Errorf("%s, the session %q does not open: %v", when, name, err)
				continue
			}
			good := strings.HasPrefix(name, "good") || strings.HasSuffix(name, "another-realm")
			if v.Ended(&s, testRealm) == good {
				t.Errorf("%s, the session %q is ended: %t", when, name, good)
			}
		}
		if cutoff := v.NotBefore(session.Everyone, "", ""); !cutoff.IsZero() {
			t.Errorf("%s, an entry does not open, and everybody is out until %s", when, cutoff)
		}
		for subject, want := range map[session.Subject]string{
			{Kind: session.ByNumber, Name: "+6421000002"}:                     "2026-07-01T09:00:00Z",
			{Kind: session.ByUser, Realm: testRealm, Name: "alice"}:           "2026-07-01T09:00:00Z",
			{Kind: session.ByNumber, Realm: testRealm, Name: "+6421000006"}:   "2026-08-02T15:01:00Z",
			{Kind: session.ByNumber, Realm: "elsewhere", Name: "+6421000007"}: "2026-08-02T15:01:00Z",
			{Kind: session.ByUser, Name: "carol"}:                             "2026-08-02T15:01:00Z",
		} {
			got := v.NotBefore(subject.Kind, subject.Realm, subject.Name)
			if got.UTC().Format(time.RFC3339) != want {
				t.Errorf("%s, the cutoff of %+v is %s, not %s", when, subject, got, want)
			}
		}
		if n := v.knownRevoked().len(); n != 104 {
			t.Errorf("%s, %d revocations are known", when, n)
		}
		if !maps.Equal(contents(t, dir), before) {
			t.Errorf("%s, the files are not as they were", when)
		}
	}
	check("opened")
	v.mustMaintain(t)
	check("cleaned")
}
