package memorystore

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-websms/websms/otp"
)

// A merge is at least as strict as each part. Merging twice, or in the other
// order, gives the same.
func TestMergeRows(t *testing.T) {
	moments := rapid.SliceOfN(rapid.Int64Range(1, 30), 0, 12)
	drawFailures := rapid.Custom(func(t *rapid.T) failures {
		s := failures{moments: moments.Draw(t, "moments"), until: rapid.Int64Range(0, 50).Draw(t, "until")}
		slices.Sort(s.moments)
		s.moments = slices.Compact(s.moments)
		s.count = int32(len(s.moments))
		if s.count == maxMoments {
			s.count += rapid.Int32Range(0, 5).Draw(t, "more")
		}
		return s
	})
	clone := func(s failures) failures {
		s.moments = slices.Clone(s.moments)
		return s
	}
	window := func(moments []int64) (w otp.Window) {
		for _, at := range moments {
			w.Add(time.Unix(0, at), 100)
		}
		return w
	}
	text := func(w otp.Window) (s string) {
		for i := countAll(&w); i > 0; i-- {
			s += fmt.Sprint(momentAt(&w, i), " ")
		}
		return s
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawFailures.Draw(t, "a"), drawFailures.Draw(t, "b")
		ab, ba := clone(a), clone(b)
		ab.merge(&b)
		ba.merge(&a)
		if fmt.Sprint(ab) != fmt.Sprint(ba) {
			t.Fatalf("%v and %v are %v, and the other way %v", a, b, ab, ba)
		}
		again := clone(ab)
		again.merge(&b)
		again.merge(&a)
		if fmt.Sprint(again) != fmt.Sprint(ab) {
			t.Fatalf("merged again, %v is %v", ab, again)
		}
		if ab.count < max(a.count, b.count) || ab.until < max(a.until, b.until) || ab.last() < max(a.last(), b.last()) {
			t.Fatalf("%v is less strict than %v or %v", ab, a, b)
		}

		x, y := window(moments.Draw(t, "x")), window(moments.Draw(t, "y"))
		keep := rapid.IntRange(1, 30).Draw(t, "keep")
		xy, yx := unionOf(&x, &y, keep), unionOf(&y, &x, keep)
		if text(xy) != text(yx) {
			t.Fatalf("the union is %s, and the other way %s", text(xy), text(yx))
		}
		if twice := unionOf(&xy, &y, keep); text(twice) != text(xy) {
			t.Fatalf("the union with one of its parts is %s, want %s", text(twice), text(xy))
		}
		for at := int64(1); at <= 30; at++ {
			if want := max(countAt(&x, at), countAt(&y, at)); keep == 30 && countAt(&xy, at) != want {
				t.Fatalf("%d events at %d, want %d", countAt(&xy, at), at, want)
			}
		}
		for _, window := range []time.Duration{5, 20} {
			rate := []otp.Rate{{Count: rapid.IntRange(1, keep).Draw(t, "count"), Window: window}}
			now := time.Unix(0, 31)
			if union, each := xy.Wait(rate, now), max(x.Wait(rate, now), y.Wait(rate, now)); union < each {
				t.Fatalf("the union waits %v, and one of its parts %v", union, each)
			}
		}
	})
}
