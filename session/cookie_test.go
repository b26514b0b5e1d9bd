package session

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestValues(t *testing.T) {
	for _, c := range []struct {
		fields []string
		want   []string
	}{
		{nil, nil},
		{[]string{"sid=1"}, []string{"1"}},
		{[]string{"a=1; sid=2; b=3"}, []string{"2"}},
		{[]string{"sid=1; sid=2", "sid=3"}, []string{"1", "2", "3"}},
		{[]string{`sid="quoted"`}, []string{"quoted"}},
		{[]string{"xsid=1; sidx=2; SID=3; sid"}, nil},
		{[]string{"a=1;sid=2;b=3"}, []string{"2"}},
		{[]string{"a=sid=1; ;; sid=; sid=x=y"}, []string{"", "x=y"}},
	} {
		var got []string
		Values(c.fields, "sid", func(v string) bool { got = append(got, v); return true })
		if !slices.Equal(got, c.want) {
			t.Errorf("Values(%q) = %q, want %q", c.fields, got, c.want)
		}
	}
	Values([]string{"sid=1; sid=2"}, "sid", func(v string) bool {
		if v != "1" {
			t.Error("goes on after being told to stop")
		}
		return false
	})
}

func TestStrip(t *testing.T) {
	own := func(name string) bool { return name == "sid" }
	for _, c := range []struct{ in, want []string }{
		{nil, nil},
		{[]string{"a=1; b=2"}, []string{"a=1; b=2"}},
		{[]string{"sid=1"}, nil},
		{[]string{"sid=1; b=2"}, []string{"b=2"}},
		{[]string{"a=1; sid=1; b=2"}, []string{"a=1; b=2"}},
		{[]string{"a=1; sid=1"}, []string{"a=1"}},
		{[]string{"a=1; sid=1;"}, []string{"a=1"}},
		{[]string{"a=1;sid=1;b=2; "}, []string{"a=1;b=2; "}},
		{[]string{"a=1", "sid=2", "b=3; sid=4"}, []string{"a=1", "b=3"}},
		{[]string{`a="x sid=1"; sid = 1; sid`}, []string{`a="x sid=1"`}},
		{[]string{"sid=1; sid=2; sid=3"}, nil},
		{[]string{" odd=\x01;  ;;=;b"}, []string{" odd=\x01;  ;;=;b"}},
	} {
		h := http.Header{}
		if c.in != nil {
			h["Cookie"] = slices.Clone(c.in)
		}
		Strip(h, own)
		if got := h["Cookie"]; !slices.Equal(got, c.want) {
			t.Errorf("Strip(%q) leaves %q, want %q", c.in, got, c.want)
		}
	}
}

// Our cookies are gone whichever cookies surround them, and the others are there,
// unchanged and in order.
func TestStripProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		other := rapid.StringMatching(`[abc]{1,3}=[ -:<-~]{0,6}`)
		ours := rapid.StringMatching(`sid=[a-z]{0,5}`)
		parts := rapid.SliceOf(rapid.OneOf(other, ours)).Draw(t, "parts")
		var want []string
		for _, p := range parts {
			if !strings.HasPrefix(p, "sid=") {
				want = append(want, p)
			}
		}
		h := http.Header{"Cookie": {strings.Join(parts, "; ")}}
		Strip(h, func(name string) bool { return name == "sid" })
		got := strings.Join(h["Cookie"], "; ")
		// Spaces at the very ends of a field carry no meaning (RFC 9110, 5.5).
		if strings.Trim(got, " ;") != strings.Trim(strings.Join(want, "; "), " ;") {
			t.Fatalf("%q becomes %q, want %q", parts, got, want)
		}
	})
}

// StripTo keeps the fields that were sent, allocates nothing if the removed cookie is
// the first or the last of a single field, and shares room with nobody who appends.
func TestStripTo(t *testing.T) {
	own := func(name string) bool { return name == "sid" }
	for _, field := range []string{"sid=1; a=1; b=2", "a=1; b=2; sid=1", "a=1; b=2; sid=1; sid=2"} {
		sent := []string{field}
		h := http.Header{"Cookie": sent}
		var room [1]string
		if n := testing.AllocsPerRun(100, func() {
			h["Cookie"] = sent
			StripTo(h, own, room[:])
		}); n > 0 {
			t.Errorf("%q: %v allocations", field, n)
		}
		if got := h["Cookie"]; len(got) != 1 || got[0] != "a=1; b=2" || sent[0] != field {
			t.Errorf("StripTo(%q) leaves %q, and %q of what was sent", field, got, sent)
		}
	}
	room := []string{"", "mine"}
	h := http.Header{"Cookie": {"a=1; sid=1"}}
	StripTo(h, own, room)
	h.Add("Cookie", "b=2")
	if room[1] != "mine" {
		t.Errorf("an appended field overwrites room: %q", room)
	}
}

func BenchmarkValues(b *testing.B) {
	fields := []string{"_ga=GA1.1.1234567890.1700000000; theme=dark; __Host-websms_session=" + strings.Repeat("x", 120) + "; lang=en"}
	b.ReportAllocs()
	for b.Loop() {
		found := 0
		Values(fields, "__Host-websms_session", func(string) bool { found++; return true })
		if found != 1 {
			b.Fatal(found)
		}
	}
}
